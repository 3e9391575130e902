"""Rendering of the charts by the real helm."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetmeter_cluster import binaries

CHARTS = Path(__file__).resolve().parents[3] / "charts"

Helm = Callable[..., "subprocess.CompletedProcess[str]"]
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs helm and returns its outcome."""
    program = binaries.path("helm")

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([program, *words], capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def template(helm: Helm) -> Helm:
    """Renders a chart with `--set` words, whatever comes of it."""

    def run(chart: str, *values: str) -> "subprocess.CompletedProcess[str]":
        words = [word for value in values for word in ("--set-json", value)]
        return helm(
            "template", "eu", str(CHARTS / chart), "--namespace=metering", "--kube-version=1.34.0", *words
        )

    return run


@pytest.fixture
def render(template: Helm) -> Render:
    """Renders a chart and returns its objects."""

    def run(chart: str, *values: str) -> list[dict[str, Any]]:
        done = template(chart, *values)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run
