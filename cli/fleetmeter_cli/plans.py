"""`fleetmeter plans check`: whether the cluster would take a plan, and where more usage would cost less."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer
import yaml
from pydantic import ValidationError
from rich.text import Text

from fleetmeter_api.base import problems
from fleetmeter_api.plan import Charge, PlanDocument
from fleetmeter_cli.amount import money, number
from fleetmeter_cli.problem import REFUSED, Problem, told
from fleetmeter_cli.table import console
from fleetmeter_rules.pricing import cliffs
from fleetmeter_rules.rounding import UnknownCurrencyError, minor_units

app = typer.Typer(help="Check pricing plans.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One PricingPlan of a file: read, or the reasons why it would be refused."""

    place: str
    plan: PlanDocument | None
    reasons: tuple[str, ...] = ()


@app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(help="Manifests; other kinds in them are passed over.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings too.")] = False,
) -> None:
    """Check pricing plans as the cluster would, and warn where more usage costs less.

    Example: fleetmeter plans check plans/*.yaml
    """
    out = console()
    with told():
        found = [manifest for file in files for manifest in read_plans(file)]
        if not found:
            raise Problem("The files hold no PricingPlan.", "Name files with `kind: PricingPlan`.")
    bad = warned = 0
    for manifest in found:
        warnings = _warnings(manifest.plan) if manifest.plan else ()
        bad += bool(manifest.reasons)
        warned += bool(warnings)
        word, style = (
            ("refused", "red")
            if manifest.reasons
            else ("warning", "yellow")
            if warnings
            else ("ok     ", "green")
        )
        out.print(Text(word, style=style), Text(manifest.place))
        for text in (*manifest.reasons, *warnings):
            out.print(Text(f"        {text}"))
    out.print(f"{len(found) - bad} of {len(found)} plans would be taken, {warned} with a warning.")
    if bad or (strict and warned):
        raise typer.Exit(REFUSED)


def read_plans(file: Path) -> Iterator[Manifest]:
    """Each PricingPlan of a YAML file. Raises Problem for a file that can't be read at all."""
    try:
        documents: list[Any] = list(yaml.safe_load_all(file.read_bytes()))
    except OSError as error:
        raise Problem(f"{file} can't be read: {error.strerror}.", "Check the file's name.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise Problem(f"{file} is not YAML{where}.", "Check indentation and quotes.") from None
    for document in documents:
        if isinstance(document, dict) and cast("Mapping[str, Any]", document).get("kind") == "PricingPlan":
            yield _manifest(file, cast("Mapping[str, Any]", document))


def _manifest(file: Path, document: Mapping[str, Any]) -> Manifest:
    metadata: Any = document.get("metadata")
    name = cast("Mapping[str, Any]", metadata).get("name") if isinstance(metadata, dict) else None
    place = f"{file}: {name or 'a plan without a name'}"
    try:
        plan = PlanDocument.from_resource(document)
        minor_units(plan.spec.currency)
    except ValidationError as error:
        return Manifest(place, None, problems(error))
    except UnknownCurrencyError as error:
        return Manifest(place, None, (f"spec.currency: {error}",))
    return Manifest(place, plan)


def _warnings(plan: PlanDocument) -> tuple[str, ...]:
    return tuple(
        f"version {version.version}, charge {charge.name}: {text}"
        for version in plan.spec.versions
        for charge in version.charges
        for text in _cliffs(charge, plan.spec.currency)
    )


def _cliffs(charge: Charge, currency: str) -> Iterator[str]:
    if charge.model != "Volume":
        return
    least = minor_units(currency)
    for cliff in cliffs(charge.tiers or ()):
        until = "for any quantity" if cliff.until is None else f"until {number(cliff.until)}"
        yield (
            f"more usage costs less: {number(cliff.at)} cost {money(cliff.before, currency, least)},"
            f" just over it {money(cliff.after, currency, least)}, and less {until};"
            " model Graduated has no such step"
        )
