"""The close Job: seals the contract periods of one billing period, in contract order."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from fleetmeter_rules.calendar import billing_periods, calendar_of, period_name
from fleetmeter_rules.conservation import violations
from fleetmeter_workers.close import readiness
from fleetmeter_workers.close.late import NotYetError
from fleetmeter_workers.close.plans import DataError, load_plans, load_seller
from fleetmeter_workers.close.seal import Book, amend, seal
from fleetmeter_workers.ledger import contracts, periods, registry, reopenings
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import AWAY, NOT_MIGRATED, RETRY, Connection, connect, reason
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.queue import Queue, QueueAwayError
from fleetmeter_workers.settings import Settings, load_settings, read_region, require
from fleetmeter_workers.telemetry import configure_logging

_EX_DATAERR: Final = 65
_EX_TEMPFAIL: Final = 75
_LONGEST_LINE: Final = 190
_SECOND: Final = 1.0


@dataclass(slots=True)
class Outcome:
    """What a run came to: invoices written and amended, periods verified, why others wait or cannot be
    sealed."""

    sealed: int = 0
    amended: int = 0
    verified: int = 0
    waiting: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    @property
    def status(self) -> int:
        """The exit code: 65 for bad data, 75 for not yet, 0 for final."""
        if self.faults:
            return _EX_DATAERR
        return _EX_TEMPFAIL if self.waiting else 0

    @property
    def line(self) -> str:
        """One short line for the Job's status, without customer data."""
        if self.faults:
            return self.faults[0]
        if self.waiting:
            return self.waiting[0]
        amended = f" {self.amended} amended," if self.amended else ""
        return f"final: {self.sealed} invoices written,{amended} {self.verified} verified"


def run(billing_period: str) -> int:
    """Close the billing period: 0 final, 75 some contract period cannot be sealed yet, 65 data error."""
    log = configure_logging("close")
    settings = load_settings()
    deadline = time.monotonic() + settings.engine_deadline_seconds
    while True:
        try:
            outcome = _close(settings, billing_period, log)
            break
        except DataError as error:
            outcome = Outcome(faults=[str(error)])
            break
        except (QueueAwayError, *AWAY, *NOT_MIGRATED) as error:
            part = "Kafka" if isinstance(error, QueueAwayError) else "Postgres"
            if time.monotonic() > deadline:
                outcome = Outcome(waiting=[_missing(part, error)])
                break
            log.warning(
                "waiting", part=part, reason=reason(error), seconds_left=round(deadline - time.monotonic())
            )
            time.sleep(_SECOND)
    _tell(settings, outcome, billing_period, log)
    return outcome.status


def _missing(part: str, error: Exception) -> str:
    if isinstance(error, NOT_MIGRATED):
        return f"SchemaNotMigrated: {reason(error)}; see the migrations Job"
    return f"EngineAway: {part} did not answer"


def _tell(settings: Settings, outcome: Outcome, billing_period: str, log: Any) -> None:
    """The last word: to the log, and to the file that Kubernetes shows as the pod's message."""
    log.info(
        "closed" if outcome.status == 0 else "not closed",
        billing_period=billing_period,
        status=outcome.status,
        message=outcome.line,
        sealed=outcome.sealed,
        amended=outcome.amended,
        verified=outcome.verified,
        waiting=len(outcome.waiting),
        faults=len(outcome.faults),
    )
    # Outside a pod there is no such file, and nobody misses it.
    with suppress(OSError):
        settings.termination_log.write_text(outcome.line[:_LONGEST_LINE] + "\n", encoding="utf-8")


def _close(settings: Settings, billing_period: str, log: Any) -> Outcome:
    region = read_region(settings)
    plans = load_plans(require(settings.plans_dir, "FLEETMETER_PLANS_DIR"))
    seller = load_seller(require(settings.seller_file, "FLEETMETER_SELLER_FILE"))
    queue = Queue(settings.kafka)
    with connect("close") as connection:
        book = Book(region, ContractBook(region, contracts.all_versions(connection)), plans, seller)
        progress = readiness.look(connection, queue, region)
        _check_conservation(progress)
        if not _started(book, billing_period, progress):
            raise DataError(f"{billing_period} is no billing period of this region, or has not begun")
        if not len(book.contracts):
            return Outcome(waiting=["ContractsMissing: no contract is loaded"])
        rows = _ensure_rows(connection, book, billing_period, progress)
        return _seal_all(connection, book, rows, progress, queue, log)


def _check_conservation(progress: readiness.Progress) -> None:
    """Raises DataError where a partition's counters do not add up: something was lost or invented."""
    for partition, row in sorted(progress.stored.items()):
        for law in violations(row.counters):
            raise DataError(f"partition {partition}: {law}; restore the ledger: nothing is sealed on it")


def _started(book: Book, billing_period: str, progress: readiness.Progress) -> bool:
    calendar = book.region.spec.calendar
    known = billing_periods(calendar_of(calendar), calendar.first_period, calendar.last_period, progress.now)
    return billing_period in {period_name(book.region.name, bounds, calendar.interval) for bounds in known}


def _ensure_rows(
    connection: Connection, book: Book, billing_period: str, progress: readiness.Progress
) -> list[ContractPeriod]:
    """The contract periods of the billing period, also of contracts without any usage, in contract order."""
    wanted = [
        period
        for contract in book.contracts.contracts
        for period in book.contracts.periods_of(contract, billing_period, progress.now)
    ]
    with connection.transaction():
        customers = registry.find_customers(connection, {period.customer for period in wanted})
        periods.ensure(connection, wanted, customers)
    return periods.of_billing_period(connection, billing_period)


def _seal_all(
    connection: Connection,
    book: Book,
    rows: Sequence[ContractPeriod],
    progress: readiness.Progress,
    queue: Queue,
    log: Any,
) -> Outcome:
    """Seal what can be sealed; neither a hold nor bad data of one contract stops another.

    Where all are final and some are to be amended, the others are left alone.
    """
    outcome = Outcome()
    due = {each.period_id for each in reopenings.pending(connection) if each.due_at <= progress.now}
    if all(row.phase == "final" for row in rows) and any(row.period_id in due for row in rows):
        rows = [row for row in rows if row.period_id in due]
    for place, row in enumerate(rows, start=1):
        told = log.bind(contract_period=row.period_id, place=place, of=len(rows))
        if row.phase != "final":
            ready = readiness.judge(progress, queue, row.starts_at, row.ends_at, row.cutoff_at)
            if ready.sealable:
                ready = readiness.awaited(connection, book.contracts, row)
            if not ready.sealable:
                outcome.waiting.append(f"{ready.waiting_for}: {ready.message}")
                continue
        try:
            _close_one(connection, book, row, progress, queue, outcome, told)
        except NotYetError as error:
            outcome.waiting.append(str(error))
        except DataError as error:
            outcome.faults.append(str(error))
            told.error("cannot seal", error=str(error))
    return outcome


def _close_one(
    connection: Connection,
    book: Book,
    row: ContractPeriod,
    progress: readiness.Progress,
    queue: Queue,
    outcome: Outcome,
    log: Any,
) -> None:
    """Seal or verify one contract period, then every amendment of it that is due."""
    number = _again(lambda: seal(connection, book, row.period_id))
    if number is None:
        outcome.verified += 1
    else:
        outcome.sealed += 1
        log.info("sealed", number=number)
    while due := reopenings.next_of(connection, row.period_id):
        ready = readiness.judge(progress, queue, row.starts_at, row.ends_at, due.due_at)
        if not ready.sealable:
            # Until it is due the last version stands; afterwards the period waits for what is still read.
            if progress.now >= due.due_at:
                outcome.waiting.append(f"{ready.waiting_for}: {ready.message}")
            return
        amended = _again(partial(amend, connection, book, due))
        if amended is not None:
            outcome.amended += 1
            log.info("amended", number=amended, revision=due.revision)


def _again(sealing: Callable[[], str | None]) -> str | None:
    """Do it; a closer that met a consumer in a circle simply tries again."""
    while True:
        try:
            return sealing()
        except RETRY:
            time.sleep(0.1)
