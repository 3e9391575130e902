"""BillingPeriod: one period of a region's calendar, from its start to its invoices."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fleetmeter_api.base import Model, Rule, immutable, keyed_by
from fleetmeter_api.conditions import Condition
from fleetmeter_api.document import Document
from fleetmeter_api.values import Count, Flag, Instant, Name

CloseMode = Literal["Auto", "Manual"]
PeriodPhase = Literal["Pending", "Open", "Grace", "Waiting", "Closing", "Final", "Failed"]
PERIOD_NAME_LENGTH = 52
_LONGEST = timedelta(hours=1512)


class BillingPeriodSpec(Model):
    """The bounds of a period, and how it closes."""

    region_name: Annotated[Name, immutable("regionName")] = Field(
        description="The BillingRegion that the period belongs to."
    )
    start: Annotated[Instant, immutable("start")] = Field(
        description="The first moment of the period, RFC 3339."
    )
    end: Annotated[Instant, immutable("end")] = Field(
        description="The first moment after the period, RFC 3339."
    )
    cut_off: Instant | None = Field(
        default=None,
        description="Until when late usage counts for the period, RFC 3339: its end plus the grace.",
    )
    close: CloseMode = Field(
        default="Auto", description="Auto closes after the cut-off; Manual waits until it is set to Auto."
    )
    suspend: Flag = Field(default=False, description="Whether the close pauses.")

    RULES = (
        Rule(
            "self.end > self.start",
            "end must be later than start",
            lambda spec: spec.end > spec.start,
        ),
        Rule(
            "self.end - self.start <= duration('1512h')",
            "a period lasts at most 63 days; see the region's calendar for its bounds",
            lambda spec: spec.end - spec.start <= _LONGEST,
        ),
        Rule(
            "!has(self.cutOff) || self.cutOff >= self.end",
            "cutOff must not be before end",
            lambda spec: spec.cut_off is None or spec.cut_off >= spec.end,
        ),
    )


class BillingPeriodStatus(Model):
    """What the operator observed of a period; counts only, nothing about a customer."""

    observed_generation: Count | None = Field(
        default=None, description="The generation of the spec that the status describes."
    )
    phase: PeriodPhase | None = Field(
        default=None, description="One word for people, from Pending to Final; programs read conditions."
    )
    final_at: Instant | None = Field(default=None, description="When the last contract period became final.")
    events: Count | None = Field(default=None, description="Billed events.")
    late: Count | None = Field(default=None, description="Billed events that came after the period's end.")
    quarantined: Count | None = Field(default=None, description="Events set aside with a reason.")
    duplicates: Count | None = Field(default=None, description="Repeated messages, counted and not billed.")
    invoices: Count | None = Field(default=None, description="Invoices made.")
    boundary_candidates: Count | None = Field(
        default=None, description="Billed events that may have happened in a neighbouring period."
    )
    boundary_undecided: Count | None = Field(
        default=None, description="Of these, events that nobody has decided; see fleetmeter review list."
    )
    missing: Count | None = Field(
        default=None,
        description="Messages that devices counted and that did not arrive; see fleetmeter completeness.",
    )
    silent_devices: Count | None = Field(
        default=None, description="Devices under contract from which nothing arrived in the period."
    )
    contract_periods: Count | None = Field(default=None, description="Contract periods of this period.")
    final_contract_periods: Count | None = Field(default=None, description="Contract periods that are final.")
    waiting_for: Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9]*$")] | None = Field(
        default=None, description="What the close waits for, in one CamelCase word; absent when nothing."
    )
    attempts: Count | None = Field(default=None, description="How many close Jobs have been started.")
    job_name: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        default=None, description="The latest close Job."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), keyed_by("type")] = Field(
        default=(), description="What holds for the period: Ready, Reconciling, Stalled."
    )


def _named_after_region(period: "Period") -> bool:
    return bool(re.fullmatch(re.escape(period.spec.region_name) + "-[0-9]{6}([0-9]{2})?", period.name))


class Period(Document):
    """A BillingPeriod without its metadata."""

    name: Name = Field(description="The period's name: the region's, a hyphen, and yyyymm or yyyymmdd.")
    spec: BillingPeriodSpec = Field(description="The bounds of the period, and how it closes.")

    RULES = (
        Rule(
            f"size(self.metadata.name) <= {PERIOD_NAME_LENGTH}",
            f"a period's name has at most {PERIOD_NAME_LENGTH} characters, as its close Jobs bear it",
            lambda period: len(period.name) <= PERIOD_NAME_LENGTH,
        ),
        Rule(
            "self.metadata.name.startsWith(self.spec.regionName + '-') &&"
            " self.metadata.name.substring(size(self.spec.regionName)).matches('^-[0-9]{6}([0-9]{2})?$')",
            "a period is named after its region and first day: <regionName>-yyyymm or <regionName>-yyyymmdd",
            _named_after_region,
        ),
    )
