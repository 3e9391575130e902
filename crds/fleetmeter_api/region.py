"""BillingRegion: one region's calendar, metrics, rules for late usage, engines and workers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, Strict, StringConstraints

from fleetmeter_api.base import Model, Rule, immutable, keyed_by, unordered_set
from fleetmeter_api.calendar import Calendar
from fleetmeter_api.conditions import Condition
from fleetmeter_api.contract import GraceSeconds, LateUsagePolicy
from fleetmeter_api.document import Document
from fleetmeter_api.engines import Broker, Mqtt, Resources, Store
from fleetmeter_api.values import (
    BoundText,
    Count,
    DecimalText,
    Flag,
    Instant,
    MetricCode,
    Name,
    SecretName,
)

MetricKind = Literal["Delta", "Cumulative", "Gauge"]
Aggregation = Literal["Max", "Last", "TimeWeighted"]
TimeFallback = Literal["Quarantine", "Received", "Hybrid"]
IdentityMethod = Literal[
    "ProducerId", "EpochSequence", "Lorawan", "Sparkplug", "HttpKey", "CdcPosition", "ContentHash", "BrokerId"
]
ResidencyMode = Literal["Isolated", "FederatedTotals"]
DeletionPolicy = Literal["Retain", "Delete"]

REGION_NAME_LENGTH = 40
DEFAULT_CLASS = "default"
DEFAULT_MAX_OFFLINE_SECONDS = 604_800
_LONGEST_BACKFILL = timedelta(days=3660)

Jurisdiction = Annotated[
    str, StringConstraints(min_length=2, max_length=32, pattern=r"^[A-Z][A-Za-z0-9-]{1,31}$")
]
Series = Annotated[str, StringConstraints(min_length=1, max_length=16, pattern=r"^[A-Z][A-Z0-9]*$")]
Unit = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=r"^[!-~]+$")]
CamelWord = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9]*$")]


class LateUsage(Model):
    """What happens to usage that comes after its period has ended."""

    grace_period_seconds: GraceSeconds = Field(
        default=259_200,
        description="How long after a period's end late usage still counts for it, in seconds.",
    )
    policy: LateUsagePolicy = Field(
        default="Grace",
        description="Usage after the cut-off: Grace sets it aside, Defer bills it next, Reopen amends.",
    )


class Metric(Model):
    """What is counted."""

    code: MetricCode = Field(description="The metric's code, unique in the region, for example messages.")
    kind: Annotated[MetricKind, immutable("a metric's kind")] = Field(
        description="Delta (amounts add up), Cumulative (a register's readings) or Gauge (a level)."
    )
    unit: Unit = Field(description="The unit that invoices show, for example message or kW.h.")
    rollover: DecimalText | None = Field(
        default=None,
        description="The value at which a Cumulative register starts again at 0, a decimal string.",
    )
    aggregation: Aggregation | None = Field(
        default=None, description="How a Gauge becomes one quantity a period: Max, Last or TimeWeighted."
    )
    sentinels: Annotated[tuple[BoundText, ...], Field(max_length=8), unordered_set()] = Field(
        default=(),
        description="Readings that mean an error and are skipped, for example 16777215.",
    )

    RULES = (
        Rule(
            "!has(self.rollover) || self.kind == 'Cumulative'",
            "rollover belongs to kind Cumulative only; remove it or change the new metric's kind",
            lambda metric: metric.rollover is None or metric.kind == "Cumulative",
        ),
        Rule(
            "!has(self.rollover) || !self.rollover.matches('^0([.]0*)?$')",
            "rollover must be greater than 0; it is the value at which the register starts again",
            lambda metric: metric.rollover is None or metric.rollover > 0,
        ),
        Rule(
            "(self.kind == 'Gauge') == has(self.aggregation)",
            "kind Gauge needs aggregation (Max, Last or TimeWeighted); with other kinds leave it out",
            lambda metric: (metric.kind == "Gauge") == (metric.aggregation is not None),
        ),
        Rule(
            "!has(self.sentinels) || size(self.sentinels) == 0 || self.kind != 'Delta'",
            "sentinels are readings; with kind Delta, whose amounts add up, leave them out",
            lambda metric: not metric.sentinels or metric.kind != "Delta",
        ),
    )


_METRICS_STAY = Rule(
    "oldSelf.all(o, self.exists(m, m.code == o.code))",
    "a metric cannot be removed, since its events stay in the ledger; take it out of the plans instead",
)


class DeviceClass(Model):
    """How far the clocks and identities of a kind of device are trusted."""

    name: Name = Field(description="The class's name; the class default exists even if it is not listed.")
    time_fallback: TimeFallback = Field(
        default="Quarantine",
        description="What an implausible device time leads to: Quarantine, Received or Hybrid.",
    )
    tolerance_seconds: Annotated[int, Strict(), Field(ge=0, le=86_400)] = Field(
        default=300,
        description="How far device time and receive time may differ and still agree, in seconds.",
    )
    max_offline_seconds: Annotated[int, Strict(), Field(ge=0, le=31_536_000)] = Field(
        default=DEFAULT_MAX_OFFLINE_SECONDS,
        description="How long a device may store usage before it sends it, in seconds.",
    )
    future_tolerance_seconds: Annotated[int, Strict(), Field(ge=0, le=86_400)] = Field(
        default=300, description="How far ahead of the receive time a device's time may be, in seconds."
    )
    identity_methods: Annotated[
        tuple[IdentityMethod, ...], Field(min_length=1, max_length=8), unordered_set()
    ] = Field(
        default=("ProducerId", "EpochSequence", "Lorawan", "Sparkplug", "HttpKey", "CdcPosition"),
        description="The accepted proofs that two messages are one event; ContentHash and BrokerId are weak.",
    )


class Contracts(Model):
    """Where the region's contracts are."""

    secret_names: Annotated[tuple[SecretName, ...], Field(max_length=16), unordered_set()] = Field(
        default=(), description="The Secrets of the same namespace that hold contracts, one file a contract."
    )


class Invoicing(Model):
    """Who invoices, and under which numbers."""

    seller_secret_name: SecretName = Field(description="The Secret whose key seller.yaml names the seller.")
    series: Series = Field(description="The prefix of the gapless invoice numbers, for example EU.")


class Backfill(Model):
    """A range of history that is being loaded; the periods that it touches wait for it."""

    from_: Instant = Field(alias="from", description="The start of the range, RFC 3339, inclusive.")
    to: Instant = Field(description="The end of the range, RFC 3339, exclusive.")

    RULES = (
        Rule(
            "self.from < self.to",
            "backfill.from must be before backfill.to",
            lambda backfill: backfill.from_ < backfill.to,
        ),
        Rule(
            "self.to - self.from <= duration('87840h')",
            "a backfill covers at most 3660 days; load longer history as several backfills, oldest first",
            lambda backfill: backfill.to - backfill.from_ <= _LONGEST_BACKFILL,
        ),
    )

    @property
    def backfill_id(self) -> str:
        """The id in topics and paths: the range's UTC days, for example `20230101-20231001`."""
        return f"{self.from_.astimezone(UTC):%Y%m%d}-{self.to.astimezone(UTC):%Y%m%d}"

    def covers(self, instant: datetime) -> bool:
        """Whether an instant lies in the range."""
        return self.from_ <= instant < self.to


class Workers(Model):
    """How many pods of a stage run, and what each may use."""

    replicas: Annotated[int, Strict(), Field(ge=0, le=64)] = Field(
        default=1, description="How many pods run."
    )
    resources: Resources | None = Field(default=None, description="What each pod may use.")


class Api(Model):
    """The region's HTTP interface."""

    tokens_secret_name: SecretName | None = Field(
        default=None, description="The Secret whose key tokens.yaml lists names, roles and token hashes."
    )
    customer_metrics: Flag = Field(
        default=True,
        description="Whether metrics tell duplicates by hour for single contracts, by their codes.",
    )
    resources: Resources | None = Field(default=None, description="What the pod may use.")


class Retention(Model):
    """How long data stays."""

    queue_hours: Annotated[int, Strict(), Field(ge=1, le=20_000)] = Field(
        default=360,
        description="How long Kafka keeps usage, in hours: at least 1.5 times offline plus grace.",
    )
    event_years: Annotated[int, Strict(), Field(ge=1, le=30)] = Field(
        default=10, description="How long the ledger keeps events, in years; 6 and 10 are usual."
    )
    legal_hold: Flag = Field(default=False, description="Whether nothing may be deleted, whatever its age.")


class Residency(Model):
    """What may leave the region."""

    mode: ResidencyMode = Field(
        default="Isolated",
        description="Isolated: nothing leaves. FederatedTotals: signed totals by customer and period do.",
    )


def _queue_outlasts(spec: "BillingRegionSpec") -> bool:
    offline = max(device_class.max_offline_seconds for device_class in spec.all_device_classes())
    return spec.retention.queue_hours * 7200 >= 3 * (offline + spec.late_usage.grace_period_seconds)


class BillingRegionSpec(Model):
    """What a region bills, and what it runs on."""

    jurisdiction: Annotated[Jurisdiction, immutable("jurisdiction")] = Field(
        description="The legal area whose data stays in this cluster, for example EU."
    )
    calendar: Calendar = Field(description="When billing periods start and end.")
    late_usage: LateUsage = Field(
        default=LateUsage(), description="What happens to usage that comes after its period has ended."
    )
    metrics: Annotated[
        tuple[Metric, ...], Field(min_length=1, max_length=64), keyed_by("code", _METRICS_STAY)
    ] = Field(description="What is counted; usage of other metrics is not kept.")
    device_classes: Annotated[tuple[DeviceClass, ...], Field(max_length=64), keyed_by("name")] = Field(
        default=(), description="How far the clocks and identities of each kind of device are trusted."
    )
    contracts: Contracts = Field(default=Contracts(), description="Where the region's contracts are.")
    invoicing: Invoicing = Field(description="Who invoices, and under which numbers.")
    backfill: Backfill | None = Field(
        default=None, description="A range of history that is being loaded; absent when there is none."
    )
    broker: Annotated[Broker, Field(description="The Kafka that carries usage.")]
    store: Annotated[Store, Field(description="The PostgreSQL that holds the ledger.")]
    mqtt: Mqtt = Field(default=Mqtt(), description="The MQTT broker that devices publish to, if any.")
    gateway: Workers = Field(default=Workers(), description="The entrance for devices.")
    consumers: Workers = Field(default=Workers(), description="The workers that write usage into the ledger.")
    api: Api = Field(default=Api(), description="The region's HTTP interface.")
    retention: Retention = Field(default=Retention(), description="How long data stays.")
    residency: Residency = Field(default=Residency(), description="What may leave the region.")
    deletion_policy: DeletionPolicy = Field(
        default="Retain", description="What becomes of the data when the region is deleted: Retain or Delete."
    )
    suspend: Flag = Field(default=False, description="Whether closing pauses; usage is still taken in.")

    RULES = (
        Rule(
            "self.deviceClasses.all(c, self.retention.queueHours * 7200"
            " >= 3 * (c.maxOfflineSeconds + self.lateUsage.gracePeriodSeconds))"
            f" && (self.deviceClasses.exists(c, c.name == '{DEFAULT_CLASS}') || self.retention"
            f".queueHours * 7200 >= 3 * ({DEFAULT_MAX_OFFLINE_SECONDS} + self.lateUsage.gracePeriodSeconds))",
            "retention.queueHours must be at least 1.5 times the longest maxOfflineSeconds (604800 for class"
            " default, unless it is listed) plus gracePeriodSeconds; raise it or lower those",
            _queue_outlasts,
        ),
    )

    def all_device_classes(self) -> tuple[DeviceClass, ...]:
        """The listed classes, and the class `default` where it is not listed."""
        if any(device_class.name == DEFAULT_CLASS for device_class in self.device_classes):
            return self.device_classes
        return (*self.device_classes, DeviceClass(name=DEFAULT_CLASS))

    def device_class(self, name: str) -> DeviceClass | None:
        """The class of this name, or None; `default` always exists."""
        return next((found for found in self.all_device_classes() if found.name == name), None)


class BillingRegionStatus(Model):
    """What the operator observed of a region; counts only, nothing about a customer."""

    observed_generation: Count | None = Field(
        default=None, description="The generation of the spec that the status describes."
    )
    phase: CamelWord | None = Field(
        default=None, description="One word for people; programs read conditions."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32), keyed_by("type")] = Field(
        default=(), description="What holds for the region: Ready, Reconciling, Stalled and its parts."
    )
    backfill_id: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        default=None, description="The id of the backfill in spec, for topics, paths and commands."
    )
    lag: Count | None = Field(
        default=None, description="Messages in Kafka that the ledger does not hold yet."
    )
    quarantined: Count | None = Field(default=None, description="Usage set aside that waits for a decision.")
    contracts: Count | None = Field(default=None, description="Contracts loaded.")
    contracts_refused: Count | None = Field(
        default=None, description="Contract files refused; see conditions."
    )
    contract_periods: Count | None = Field(default=None, description="Contract periods in the ledger.")
    plans: Count | None = Field(default=None, description="Pricing plans that the contracts name.")
    periods: Count | None = Field(default=None, description="Billing periods made so far.")
    final_periods: Count | None = Field(default=None, description="Billing periods that are final.")
    next_period: Annotated[str, StringConstraints(max_length=52)] | None = Field(
        default=None, description="The name of the oldest billing period that is not final."
    )


class Region(Document):
    """A region as it reaches the workers: `region.json`, and a BillingRegion without its metadata."""

    name: Name = Field(description="The region's name.")
    spec: BillingRegionSpec = Field(description="What the region bills, and what it runs on.")

    RULES = (
        Rule(
            f"size(self.metadata.name) <= {REGION_NAME_LENGTH}"
            " && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            f"a region's name has at most {REGION_NAME_LENGTH} characters, lower case, digits and hyphens, a"
            " letter first, since the names of its parts and periods begin with it",
            lambda region: len(region.name) <= REGION_NAME_LENGTH,
        ),
    )

    @property
    def backfill_id(self) -> str | None:
        """The id of the backfill in spec, or None when there is none."""
        return None if self.spec.backfill is None else self.spec.backfill.backfill_id
