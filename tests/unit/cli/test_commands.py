"""The command as a whole: what it offers, and that it starts without what it does not need."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from fleetmeter_cli.main import app

RUN = CliRunner()
NAMES = list(get_group(app).commands)


def test_help_names_every_command() -> None:
    told = RUN.invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    assert NAMES
    assert all(f"│ {name} " in told for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name: str) -> None:
    told = RUN.invoke(app, [name, "-h"])
    assert told.exit_code == 0
    assert f"Usage: fleetmeter {name} " in told.output


def test_version() -> None:
    assert RUN.invoke(app, ["--version"]).output == f"fleetmeter {version('fleetmeter')}\n"


def test_a_slip_is_told_the_near_name() -> None:
    told = RUN.invoke(app, ["prise"])
    assert told.exit_code == 2
    assert "Did you mean 'price'?" in told.output


def test_a_list_needs_neither_the_models_nor_the_broker() -> None:
    program = (
        "import sys\nfrom fleetmeter_cli.main import app\n"
        "try: app(['invoices', 'list'])\n"
        "finally: print(*sorted({'fleetmeter_api.region', 'paho', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "No region is named" in done.stderr
    assert done.stdout.split() == ["httpx"]
