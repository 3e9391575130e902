"""A region's own report, as its /status gives it: counts, phases and plan names, nothing about a customer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Part(BaseModel):
    # Unknown fields are let through: a newer region may say more than this operator knows.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class ConsumerReport(_Part):
    """How far the consumer is; `lag` in records, None while Kafka cannot be reached."""

    lag: int | None = None


class RefusedContract(_Part):
    """A contract file that was refused: its position, the start of its hash, and why, without its values."""

    position: int = 0
    sha256: str = ""
    reason: str = ""


class ContractsReport(_Part):
    """The contract files of the region's Secrets."""

    loaded: int = 0
    refused: tuple[RefusedContract, ...] = ()


class BackfillReport(_Part):
    """The backfill that the spec names."""

    id: str = ""
    state: str = ""


class PeriodReport(_Part):
    """One billing period in the ledger."""

    contract_periods: int = 0
    open: int = 0
    sealing: int = 0
    final: int = 0
    events: int = 0
    late: int = 0
    quarantined: int = 0
    duplicates: int = 0
    invoices: int = 0
    boundary_candidates: int = 0
    boundary_undecided: int = 0
    missing: int = 0
    silent_devices: int = 0
    sealable: bool = False
    waiting_for: str = ""
    message: str = ""
    cut_off: datetime | None = None


class RegionReport(_Part):
    """All of /status that the operator reads."""

    consumer: ConsumerReport = ConsumerReport()
    contracts: ContractsReport = ContractsReport()
    plans_in_use: tuple[str, ...] = ()
    quarantined: dict[str, int] = Field(default_factory=dict[str, int])
    backfill: BackfillReport | None = None
    periods: dict[str, PeriodReport] = Field(default_factory=dict[str, PeriodReport])
