"""The chart of the definitions: the generated files, whole, and kept when the release goes."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "fleetmeter-crds"
KEEP = "helm.sh/resource-policy"


def test_lint_is_strict(helm):
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_the_generated_ones():
    ours = {file.name: file.read_text() for file in (CHART / "files").glob("*.yaml")}
    generated = {file.name: file.read_text() for file in (ROOT / "crds").glob("*.yaml")}
    assert ours == generated, "run: python -m fleetmeter_api.generate charts/fleetmeter-crds/files"


def test_definitions_are_rendered_whole(render):
    rendered = {each["metadata"]["name"]: each["spec"] for each in render("fleetmeter-crds")}
    generated = [yaml.safe_load(file.read_text()) for file in (ROOT / "crds").glob("*.yaml")]
    assert len(rendered) == 3
    assert rendered == {each["metadata"]["name"]: each["spec"] for each in generated}


@pytest.mark.parametrize(("keep", "policy"), [("true", "keep"), ("false", None)])
def test_uninstall_leaves_them_unless_told(render, keep, policy):
    for each in render("fleetmeter-crds", f"keep={keep}"):
        assert each["metadata"].get("annotations", {}).get(KEEP) == policy


def test_can_be_left_to_another_tool(render):
    assert render("fleetmeter-crds", "enabled=false") == []


def test_unknown_value_is_refused(template):
    done = template("fleetmeter-crds", "kept=true")
    assert done.returncode != 0
    assert "kept" in done.stderr
