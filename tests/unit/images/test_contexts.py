"""What an image's context holds: whole files, wherever they come from."""

from pathlib import Path
from typing import cast

import pytest

from fleetmeter_cluster.images_catalogue import FOLDER, IMAGES
from fleetmeter_cluster.progress import Step

NO_STEP = cast(Step, None)


@pytest.mark.parametrize("engine", ["kafka", "postgres", "mosquitto"])
def test_the_operator_brings_the_engines_start_scripts(tmp_path: Path, engine: str) -> None:
    """They are links among the sources, and files in the image, where the links would lead nowhere."""
    source = next(part for part in IMAGES["operator"].parts if part.target == "source")
    source.bring(tmp_path, NO_STEP)
    script = tmp_path / "fleetmeter_operator" / "engines" / f"start-{engine}"
    assert not script.is_symlink()
    assert script.read_bytes() == (FOLDER / engine / f"start-{engine}").read_bytes()
