"""Completeness: what devices counted and the ledger does not hold, and which devices are silent."""

import time
from collections.abc import Sequence
from datetime import datetime

import msgspec
from starlette.responses import Response

from fleetmeter_api.contract import IncompleteUsagePolicy
from fleetmeter_rules.seal import WaitingFor
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import completeness, contracts, doubts, periods
from fleetmeter_workers.ledger.completeness import Check, Finding
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod, Phase

MOST_BYTES = 4096
_SILENT = "silent: nothing arrived in the period"
_MORE = " and more"
_PAGE_SECONDS = 5.0
"""After so long a page ends where it is, so that nobody waits for a large region's whole month."""


class PeriodCompleteness(msgspec.Struct, frozen=True, rename="camel"):
    """A contract period as just looked at: numbers counted by its devices, held, and silent devices.

    `incompleteUsage`: what its contract does about it; `waits`: whether its seal waits for the usage or a
    person.
    """

    contract: str
    billing_period: str
    start: datetime
    end: datetime
    phase: Phase
    incomplete_usage: IncompleteUsagePolicy
    counted: int
    held: int
    missing: int
    silent_devices: int
    waits: bool


class DeviceFinding(msgspec.Struct, frozen=True, rename="camel"):
    """A device with gaps in one epoch or session, or a silent one; `missing` are the first few ranges."""

    contract: str
    billing_period: str
    device: str
    epoch: str
    silent: bool
    counted: int
    held: int
    missing: list[str]
    summary: str


class CompletenessList(msgspec.Struct, frozen=True, rename="camel"):
    """Contract periods that were looked at on this page, and what was found in them."""

    periods: list[PeriodCompleteness]
    devices: list[DeviceFinding]
    next: str | None = None


class TakeRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Take the billing period (of the contract) as it is."""

    billing_period: str
    contract: str | None = None


class TakeResult(msgspec.Struct, frozen=True, rename="camel"):
    """How many contract periods were taken as they are just now, with what is missing from them."""

    taken: int
    missing: int
    silent_devices: int


def list_completeness(call: Call) -> Response:
    """GET /v1/completeness."""
    name, limit = call.text("billingPeriod"), call.limit()
    after_period, after_device = _after(call.text("after"))
    deadline = time.monotonic() + _PAGE_SECONDS
    looked: list[PeriodCompleteness] = []
    found: list[DeviceFinding] = []
    with call.parts.ledger.connection() as connection:
        rows = _rows(connection, name, call.text("contract"))
        for row in rows:
            if row.period_id < after_period:
                continue
            if looked and (len(found) >= limit or time.monotonic() > deadline):
                return json_response(CompletenessList(looked, found, f"{row.period_id}.0"))
            after = after_device if row.period_id == after_period else 0
            book = _book(connection, call, row)
            window = completeness.window_of(book.terms(row.contract, row.cutoff_at), row)
            survey = completeness.survey(connection, row, window, after, limit - len(found))
            if after == 0:
                looked.append(_looked(connection, book, row, survey.check))
            page = survey.findings
            found += [_finding(row, each) for each in page]
            if len(found) >= limit:
                return json_response(CompletenessList(looked, found, f"{row.period_id}.{page[-1].device_id}"))
    return json_response(CompletenessList(looked, found))


def take(call: Call) -> Response:
    """POST /v1/completeness/accept."""
    wish = call.wish(TakeRequest, 'Send {"billingPeriod": …}.')
    taken = missing = silent = 0
    with call.parts.ledger.connection() as connection:
        for row in _rows(connection, wish.billing_period, wish.contract):
            if row.phase == "final":
                continue
            terms = _book(connection, call, row).terms(row.contract, row.cutoff_at)
            found = completeness.look(connection, row, completeness.window_of(terms, row))
            if (found.missing or found.silent) and completeness.take(
                connection, row.period_id, found, call.actor
            ):
                taken, missing, silent = taken + 1, missing + found.missing, silent + found.silent
    return json_response(TakeResult(taken, missing, silent))


def _looked(
    connection: Connection, book: ContractBook, row: ContractPeriod, found: Check
) -> PeriodCompleteness:
    versions = [book.version(row.contract, row.cutoff_at)]
    waiting_for = doubts.of_period(connection, row.period_id).awaits(versions).waiting_for
    return PeriodCompleteness(
        contract=row.contract,
        billing_period=row.billing_period,
        start=row.starts_at,
        end=row.ends_at,
        phase=row.phase,
        incomplete_usage=versions[0].contract.incomplete_usage or "Bill",
        counted=found.counted,
        held=found.held,
        missing=found.missing,
        silent_devices=found.silent,
        waits=row.phase != "final" and waiting_for is WaitingFor.COMPLETE_USAGE,
    )


def _rows(connection: Connection, name: str | None, contract: str | None) -> Sequence[ContractPeriod]:
    if name is None:
        raise RefusalError(400, "no billing period is named", "Name one like eu-202301.")
    rows = periods.of_billing_period(connection, name)
    wanted = [row for row in rows if contract in (None, row.contract)]
    return sorted(wanted, key=lambda row: row.period_id)


def _book(connection: Connection, call: Call, row: ContractPeriod) -> ContractBook:
    return ContractBook(call.parts.region, contracts.versions_of(connection, [row.contract]))


def _finding(row: ContractPeriod, each: Finding) -> DeviceFinding:
    known = each.found
    shown = 0 if known is None else sum(gap.size for gap in known.gaps)
    return DeviceFinding(
        contract=row.contract,
        billing_period=row.billing_period,
        device=each.alias,
        epoch=each.epoch,
        silent=known is None,
        counted=0 if known is None else known.counted,
        held=0 if known is None else known.held,
        missing=[] if known is None else [str(gap) for gap in known.gaps],
        summary=_SILENT if known is None else f"{known}{_MORE if shown < known.missing else ''}",
    )


def _after(token: str | None) -> tuple[int, int]:
    period, _, device = (token or "0.0").partition(".")
    if not (period.isascii() and period.isdigit() and device.isascii() and device.isdigit()):
        raise RefusalError(400, "after names no device", "Take it from `next` of the page before.")
    return int(period[:9]), int(device[:9])
