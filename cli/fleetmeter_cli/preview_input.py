"""Preview's input: a registry, a plan and a region, read from files into what the rules take."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import yaml
from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import DEFAULT_CLASS, BillingRegionSpec, Metric, Region
from fleetmeter_cli.trial import Device, Setting
from fleetmeter_rules.calendar import billed_time
from fleetmeter_rules.contracts import defaults_of
from fleetmeter_rules.device import device_uid
from fleetmeter_rules.instant import EPOCH
from fleetmeter_rules.ownership import Binding

_ALWAYS = EPOCH - timedelta(days=365)
_METRIC_FORM: Final = (
    "write energy=Cumulative, energy=Cumulative:rollover=1000000:sentinel=16777215 or storage=Gauge:Max"
)


class InputError(ValueError):
    """A file that can't be used; the text says which, where, and what to do."""


def read_registry(path: Path) -> dict[str, Device]:
    """Devices by uid, from NDJSON as `fleetmeter devices import` takes it. Raises InputError, OSError."""
    found: dict[str, Device] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            uid, device_class, binding = _registered(json.loads(line), number)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"{path}: line {number}: {error}; write "
                '{"uid": "…", "customer": "…", "validFrom": "2023-01-01T00:00:00Z"}'
            ) from None
        before = found.get(uid)
        found[uid] = Device(device_class, (*(before.bindings if before else ()), binding))
    return found


def _registered(parsed: object, number: int) -> tuple[str, str, Binding]:
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    entry = cast("dict[str, Any]", parsed)
    uid = entry.get("uid") or entry.get("device")
    customer = entry.get("customer")
    if not isinstance(uid, str) or not isinstance(customer, str) or not customer:
        raise ValueError("uid and customer must be text")
    device_class = entry.get("deviceClass") or entry.get("device_class") or DEFAULT_CLASS
    since = _instant(entry.get("validFrom") or entry.get("valid_from")) or _ALWAYS
    until = _instant(entry.get("validTo") or entry.get("valid_to"))
    return device_uid(uid), str(device_class), Binding(customer, since, until, number)


def _instant(text: object) -> datetime | None:
    if text is None:
        return None
    instant = datetime.fromisoformat(str(text))
    if instant.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return instant


def read_plan(path: Path, name: str | None) -> PlanDocument:
    """The plan of a YAML file, the one of that name where it holds several. Raises InputError, OSError."""
    manifests = [entry for entry in _manifests(path) if entry.get("kind", "PricingPlan") == "PricingPlan"]
    try:
        plans = [PlanDocument.from_resource(entry) for entry in manifests]
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(problems(error))}") from None
    chosen = [plan for plan in plans if name is None or plan.name == name]
    if len(chosen) != 1:
        names = ", ".join(plan.name for plan in plans) or "none"
        raise InputError(f"{path} holds these plans: {names}; choose one with --plan-name")
    return chosen[0]


def read_region(path: Path) -> Setting:
    """What the BillingRegion in a YAML file bills by. Raises InputError, OSError."""
    manifests = [entry for entry in _manifests(path) if entry.get("kind") == "BillingRegion"]
    if len(manifests) != 1:
        raise InputError(f"{path} holds {len(manifests)} BillingRegions; give a file with one")
    try:
        spec = Region.from_resource(manifests[0]).spec
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(problems(error))}") from None
    return region_setting(spec)


def region_setting(spec: BillingRegionSpec) -> Setting:
    """What a region bills by, for contracts that say nothing of their own."""
    terms = defaults_of(spec)
    kinds = {metric.code: metric for metric in spec.metrics}
    return Setting(
        terms,
        classes=spec.all_device_classes(),
        metrics=frozenset(kinds),
        kinds=kinds,
        billed=billed_time(terms.calendar, spec.calendar.first_period, spec.calendar.last_period),
    )


def read_metric(text: str) -> Metric:
    """The metric that an option states: CODE=KIND, then an aggregation, `rollover=` or `sentinel=`, each
    after a colon. Raises InputError."""
    code, found, rest = text.partition("=")
    kind, *more = rest.split(":")
    if not found or not code or not kind:
        raise InputError(f"--metric {text}: {_METRIC_FORM}")
    given: dict[str, Any] = {"code": code, "kind": kind, "unit": "1"}
    sentinels: list[str] = []
    for entry in more:
        name, found, value = entry.partition("=")
        if not found:
            given["aggregation"] = name
        elif name == "rollover":
            given["rollover"] = value
        elif name == "sentinel":
            sentinels.append(value)
        else:
            raise InputError(f"--metric {text}: {name} is unknown; {_METRIC_FORM}")
    try:
        return Metric.model_validate(given | {"sentinels": sentinels})
    except ValidationError as error:
        raise InputError(f"--metric {text}: {'; '.join(problems(error))}; {_METRIC_FORM}") from None


def _manifests(path: Path) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    return [cast("dict[str, Any]", entry) for entry in documents if isinstance(entry, dict)]
