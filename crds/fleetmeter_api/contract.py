"""Contracts and the seller: the files in the Secrets that a region names; never custom resources."""

from typing import Annotated, Literal

from pydantic import Field, Strict, StringConstraints

from fleetmeter_api.base import Model, Rule
from fleetmeter_api.values import Code, Day, Line, Name, TimeZone

LateUsagePolicy = Literal["Grace", "Defer", "Reopen"]
LateAfterFinalPolicy = Literal["Hold", "WriteOff"]
IncompleteUsagePolicy = Literal["Bill", "Hold"]

Address = Annotated[tuple[Line, ...], Field(min_length=1, max_length=8)]
Email = Annotated[
    str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
]
TaxId = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9 .\-/]*$")
]
Iban = Annotated[
    str, StringConstraints(min_length=15, max_length=42, pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9 ]+$")
]
GraceSeconds = Annotated[int, Strict(), Field(ge=0, le=7_776_000)]


class Customer(Model):
    """Who pays, as the invoice names them."""

    code: Code = Field(
        description="The customer's code in the ledger, in Kafka keys and in the device registry."
    )
    name: Line = Field(description="The customer's legal name on the invoice.")
    address: Address = Field(description="The customer's postal address, line by line.")
    tax_id: TaxId | None = Field(default=None, description="The customer's tax number, where they have one.")
    email: Email | None = Field(default=None, description="Where to send the invoice.")


class Contract(Model):
    """One contract: a customer on a plan from one day to another. One file holds one contract.

    What is absent (zone, anchor day, grace, late usage) is the region's.
    """

    contract: Code = Field(description="The contract's code, unique in the region.")
    customer: Customer = Field(description="Who pays.")
    plan: Name = Field(description="The name of the PricingPlan that prices the usage.")
    valid_from: Day = Field(description="The first day of the contract, in its time zone.")
    valid_to: Day | None = Field(default=None, description="The day after the last; absent while it runs.")
    time_zone: TimeZone | None = Field(default=None, description="The IANA zone of the contract's periods.")
    anchor_day: Annotated[int, Strict(), Field(ge=1, le=31)] | None = Field(
        default=None, description="The day that starts a period, clamped to the month's end."
    )
    grace_period_seconds: GraceSeconds | None = Field(
        default=None, description="How long after a period's end late usage still counts, in seconds."
    )
    late_usage: LateUsagePolicy | None = Field(
        default=None, description="What happens to usage that comes after the cut-off."
    )
    late_after_final: LateAfterFinalPolicy | None = Field(
        default=None,
        description="Whether what Grace sets aside waits for a person (Hold, also when absent) or is written"
        " off as it comes (WriteOff); it is counted and kept either way.",
    )
    boundary_review_threshold: Annotated[int, Strict(), Field(ge=0, le=1_000_000_000)] | None = Field(
        default=None,
        description="How many events of a period may be in doubt about their month without a person having"
        " looked at them; a period with more waits. Absent: no period waits.",
    )
    incomplete_usage: IncompleteUsagePolicy | None = Field(
        default=None,
        description="Whether a period with missing usage or silent devices waits for the usage or a person"
        " (Hold), or is billed as it is (Bill, also when absent).",
    )

    RULES = (
        Rule(
            "!has(self.validTo) || self.validTo > self.validFrom",
            "validTo must be later than validFrom; it is the first day that the contract no longer covers",
            lambda contract: contract.valid_to is None or contract.valid_to > contract.valid_from,
        ),
        Rule(
            "!has(self.lateAfterFinal) || self.lateAfterFinal == 'Hold' || !has(self.lateUsage)"
            " || self.lateUsage == 'Grace'",
            "lateAfterFinal WriteOff goes with lateUsage Grace; Defer and Reopen bill what comes late",
            lambda contract: (
                contract.late_after_final in (None, "Hold") or contract.late_usage in (None, "Grace")
            ),
        ),
    )

    def overlaps(self, other: "Contract") -> bool:
        """Whether both contracts bind the same customer on one day."""
        if self.customer.code != other.customer.code:
            return False
        starts_before_end = other.valid_to is None or self.valid_from < other.valid_to
        return starts_before_end and (self.valid_to is None or other.valid_from < self.valid_to)


class Seller(Model):
    """Who sends the invoices."""

    name: Line = Field(description="The seller's legal name.")
    address: Address = Field(description="The seller's postal address, line by line.")
    tax_id: TaxId = Field(description="The seller's tax number.")
    email: Email = Field(description="Where a customer writes about an invoice.")
    iban: Iban | None = Field(default=None, description="The account to pay to.")
