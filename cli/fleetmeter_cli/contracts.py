"""`fleetmeter contracts`: what a region loaded, and whether files would be taken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.text import Text

from fleetmeter_api.base import problems
from fleetmeter_api.contract import Contract
from fleetmeter_cli.problem import REFUSED, Problem, told
from fleetmeter_cli.region_api import region_api
from fleetmeter_cli.table import Output, OutputOption, console, moment, show, show_json
from fleetmeter_rules.contracts import overlaps

app = typer.Typer(help="List a region's contracts; check contract files.", no_args_is_help=True)


@app.command("list")
def list_contracts(context: typer.Context, output: OutputOption = Output.table) -> None:
    """List the contracts that a region loaded, and the files that it refused.

    Example: fleetmeter --region eu contracts list
    """
    with told(), region_api(context) as api:
        found = api.get("/v1/contracts")
    if output is Output.json:
        show_json(found)
        return
    show(
        ("Contract", "Version", "Customer", "Plan", "From", "To", "Loaded (UTC)"),
        [
            (
                each["contract"],
                str(each["version"]),
                each["customer"],
                each["plan"],
                each["validFrom"],
                each["validTo"] or "",
                moment(each["loadedAt"]),
            )
            for each in found["contracts"]
        ],
        empty="No contract is loaded; the region's spec.contracts names the Secrets with the files.",
    )
    for each in found["refused"]:
        typer.echo(f"refused: file {each['position']} ({each['sha256']}…): {each['reason']}", err=True)


@app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(help="Contract files, or directories of them.")],
) -> None:
    """Check contract files as a region would, without one. Exit code 1 if one would be refused.

    Example: fleetmeter contracts check contracts/*.yaml
    """
    out = console()
    taken: dict[str, tuple[Path, Contract]] = {}
    bad: dict[Path, list[str]] = {}
    with told():
        paths = list(_expand(files))
        if not paths:
            raise Problem("There is no file to check.", "Name contract files or a directory of them.", 2)
    for path in paths:
        contract, reasons = read_contract(path)
        if contract is not None and contract.contract in taken:
            reasons.append(
                f"contract: {taken[contract.contract][0]} has the same code; one file holds one contract"
            )
        elif contract is not None:
            taken[contract.contract] = (path, contract)
        if reasons:
            bad[path] = reasons
    for clash in overlaps(contract for _, contract in taken.values()):
        first, second = taken[clash.first][0], taken[clash.second][0]
        reason = (
            f"validFrom: from {clash.since} on the customer has the contract of {first} too; end one first"
        )
        bad.setdefault(second, []).append(reason)
    for path in paths:
        out.print(
            Text("refused" if path in bad else "ok     ", style="red" if path in bad else "green"),
            Text(str(path)),
        )
        for reason in bad.get(path, ()):
            out.print(Text(f"        {reason}"))
    out.print(f"{len(paths) - len(bad)} of {len(paths)} files would be taken.")
    if bad:
        raise typer.Exit(REFUSED)


def read_contract(path: Path) -> tuple[Contract | None, list[str]]:
    """The contract of a file, or None and what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        return None, [f"the file can't be read: {error.strerror}"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        return None, [f"the file is not YAML{where}; check indentation, quotes and encoding"]
    try:
        return Contract.model_validate(document), []
    except ValidationError as error:
        return None, list(problems(error))


def _expand(files: list[Path]) -> Iterator[Path]:
    for file in files:
        if file.is_dir():
            yield from sorted(
                path for path in file.iterdir() if path.is_file() and not path.name.startswith(".")
            )
        else:
            yield file
