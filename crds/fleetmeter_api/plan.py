"""PricingPlan: a currency and append-only versions of prices."""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fleetmeter_api.base import Model, Rule, immutable, keyed_by
from fleetmeter_api.conditions import Condition
from fleetmeter_api.document import Document
from fleetmeter_api.values import BoundText, Code, Count, DecimalText, Flag, Instant, Line, MetricCode, Name

Measure = Literal["Quantity", "ActiveDevices"]
PricingModel = Literal["PerUnit", "Graduated", "Volume"]
Currency = Annotated[str, StringConstraints(min_length=3, max_length=3, pattern=r"^[A-Z]{3}$")]
Hash = Annotated[str, StringConstraints(max_length=64, pattern=r"^[0-9a-f]*$")]

# A tier's bound as a text that sorts like the number: its whole part padded with zeros to ten digits. Exact,
# since a BoundText has no trailing zeros; quantity() rounds below 1e-9, and plain texts put "9" after "10".
_SORT_KEY = "'0000000000'.substring(({0} + '.').indexOf('.')) + {0}"


class Tier(Model):
    """A step of a graduated or volume price."""

    up_to: BoundText | None = Field(
        default=None,
        description="The tier's last quantity, inclusive, without trailing zeros; absent on the last.",
    )
    unit_price: DecimalText = Field(description="The price of one unit in this tier, a decimal string.")
    flat_fee: DecimalText | None = Field(
        default=None, description="A fixed amount charged once when the tier is reached, a decimal string."
    )


def _only_the_last_is_open(charge: "Charge") -> bool:
    if charge.tiers is None:
        return True
    return all((tier.up_to is None) == (tier is charge.tiers[-1]) for tier in charge.tiers)


def _tiers_ascend(charge: "Charge") -> bool:
    bounds = [tier.up_to for tier in charge.tiers or () if tier.up_to is not None]
    return all(low < high for low, high in pairwise([Decimal(0), *bounds]))


class Charge(Model):
    """One line of the invoice: how a metric is measured and priced."""

    name: Code = Field(description="The charge's name, unique in the version.")
    description: Line | None = Field(default=None, description="What the invoice's line says.")
    metric: MetricCode = Field(description="The code of the metric that is priced.")
    measure: Measure = Field(
        default="Quantity", description="What is counted: the metric's quantity, or the devices with usage."
    )
    model: PricingModel = Field(
        description="How it is priced: PerUnit, Graduated (tier by tier) or Volume (all at the reached tier)."
    )
    unit_price: DecimalText | None = Field(
        default=None, description="The price of one unit with model PerUnit, a decimal string."
    )
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=32)] | None = Field(
        default=None, description="The tiers of model Graduated or Volume, ascending, the last without upTo."
    )

    RULES = (
        Rule(
            "(self.model == 'PerUnit') == has(self.unitPrice)",
            "model PerUnit needs unitPrice; with Graduated or Volume leave it out and price the tiers",
            lambda charge: (charge.model == "PerUnit") == (charge.unit_price is not None),
        ),
        Rule(
            "(self.model != 'PerUnit') == has(self.tiers)",
            "model Graduated or Volume needs tiers; with PerUnit leave them out and set unitPrice",
            lambda charge: (charge.model != "PerUnit") == (charge.tiers is not None),
        ),
        Rule(
            "!has(self.tiers) || self.tiers.all(i, t, has(t.upTo) == (i < size(self.tiers) - 1))",
            "every tier but the last needs upTo, and the last must have none: any quantity needs a price",
            _only_the_last_is_open,
        ),
        Rule(
            "!has(self.tiers) || self.tiers.all(i, t, !has(t.upTo) || (i > 0 && !has(self.tiers[i - 1].upTo))"
            f" || (i > 0 ? {_SORT_KEY.format('self.tiers[i - 1].upTo')} : '0000000000')"
            f" < {_SORT_KEY.format('t.upTo')})",
            "tiers must ascend: each upTo greater than the one before it, the first greater than 0",
            _tiers_ascend,
        ),
    )


def _charge_names_differ(version: "PlanVersion") -> bool:
    return len({charge.name for charge in version.charges}) == len(version.charges)


class PlanVersion(Model):
    """The prices from one instant on. A published version never changes."""

    version: Annotated[Code, Field(max_length=32)] = Field(
        description="The version's name, unique in the plan."
    )
    effective_from: Instant = Field(description="From when the version prices periods, RFC 3339.")
    charges: Annotated[tuple[Charge, ...], Field(min_length=1, max_length=32)] = Field(
        description="The charges, in the order of the invoice's lines."
    )

    RULES = (
        Rule(
            "self.charges.all(c, self.charges.exists_one(d, d.name == c.name))",
            "charge names must be unique within a version; rename one of the two",
            _charge_names_differ,
        ),
        Rule(
            "self == oldSelf", "a published version cannot change; add a version with a later effectiveFrom"
        ),
    )


_VERSION_RULES = (
    Rule(
        "oldSelf.all(o, self.exists(v, v.version == o.version))",
        "a published version cannot be removed; put it back and add a version with a later effectiveFrom",
    ),
    Rule(
        "self.all(i, v, i >= size(oldSelf) || oldSelf.exists(o, o.version == v.version))",
        "new versions go after the published ones; move the new version to the end of the list",
    ),
)


def _versions_ascend(spec: "PricingPlanSpec") -> bool:
    starts = [version.effective_from for version in spec.versions]
    return all(earlier < later for earlier, later in pairwise(starts))


class PricingPlanSpec(Model):
    """What a plan charges."""

    currency: Annotated[Currency, immutable("currency")] = Field(
        description="The ISO 4217 code of all prices."
    )
    description: Line | None = Field(default=None, description="What the plan is for.")
    versions: Annotated[
        tuple[PlanVersion, ...], Field(min_length=1, max_length=64), keyed_by("version", *_VERSION_RULES)
    ] = Field(description="The versions, oldest first; published ones stay as they are.")

    RULES = (
        Rule(
            "self.versions.all(i, v, i == 0 || self.versions[i - 1].effectiveFrom < v.effectiveFrom)",
            "versions must be ordered by effectiveFrom, each later than the one before it",
            _versions_ascend,
        ),
    )


class PricingPlanStatus(Model):
    """What the operator observed of a plan."""

    observed_generation: Count | None = Field(
        default=None, description="The generation of the spec that the status describes."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), keyed_by("type")] = Field(
        default=(), description="What holds for the plan: Ready and warnings."
    )
    latest_version: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        default=None, description="The version with the latest effectiveFrom."
    )
    versions: Count | None = Field(default=None, description="How many versions are published.")
    published_hash: Hash | None = Field(default=None, description="SHA-256 of the published document.")
    config_map_name: Annotated[str, StringConstraints(max_length=253)] | None = Field(
        default=None, description="The immutable ConfigMap that carries the plan to the workers."
    )
    in_use: Flag | None = Field(default=None, description="Whether a contract of a region names the plan.")
    used_by: Annotated[tuple[Name, ...], Field(max_length=64)] = Field(
        default=(), description="The regions whose contracts name the plan."
    )


class PlanDocument(Document):
    """A plan as it reaches the workers: `plan.json`, and a PricingPlan without its metadata."""

    name: Name = Field(description="The plan's name.")
    spec: PricingPlanSpec = Field(description="What the plan charges.")

    RULES = (
        Rule(
            "size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "a plan's name has at most 63 characters, lower case, digits and hyphens, a letter first",
        ),
    )

    @property
    def config_map_name(self) -> str:
        """The name of the immutable ConfigMap that holds this content."""
        return f"plan-{self.name}-{self.content_hash[:10]}"
