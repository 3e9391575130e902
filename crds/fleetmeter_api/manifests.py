"""The three CustomResourceDefinitions, built from the models."""

from dataclasses import dataclass
from typing import Any

from fleetmeter_api.base import JsonSchema, Model
from fleetmeter_api.document import Document
from fleetmeter_api.period import BillingPeriodSpec, BillingPeriodStatus, Period
from fleetmeter_api.plan import PlanDocument, PricingPlanSpec, PricingPlanStatus
from fleetmeter_api.region import BillingRegionSpec, BillingRegionStatus, Region
from fleetmeter_api.schema import structural_schema

GROUP = "fleetmeter.io"
VERSION = "v1alpha1"
CATEGORY = "fleetmeter"

_READY = '.status.conditions[?(@.type=="Ready")]'


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. A time is of type string: type date shows a future one as invalid."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def manifest(self) -> dict[str, Any]:
        """The column as an entry of `additionalPrinterColumns`."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            entry["description"] = self.description
        return entry | ({"priority": 1} if self.wide else {})


@dataclass(frozen=True)
class Kind:
    """One custom resource: its names, its models and how it prints."""

    kind: str
    plural: str
    short_name: str
    document: type[Document]
    spec: type[Model]
    status: type[Model]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...]
    about: str

    @property
    def file_name(self) -> str:
        """The name of the generated file."""
        return f"{self.plural}.yaml"

    def definition(self) -> dict[str, Any]:
        """The whole CustomResourceDefinition."""
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": self.kind.lower(),
                    "shortNames": [self.short_name],
                    "categories": [CATEGORY],
                },
                "versions": [self._version()],
            },
        }

    def _version(self) -> dict[str, Any]:
        return {
            "name": VERSION,
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "additionalPrinterColumns": [column.manifest() for column in self.columns],
            "selectableFields": [{"jsonPath": path} for path in self.selectable],
            "schema": {"openAPIV3Schema": self._schema()},
        }

    def _schema(self) -> JsonSchema:
        described = {
            "apiVersion": "The group and version of the schema of this object.",
            "kind": "The kind of resource that this object is.",
        }
        schema: JsonSchema = {
            "description": self.about,
            "type": "object",
            "required": ["spec"],
            "properties": {
                **{name: {"description": text, "type": "string"} for name, text in described.items()},
                "metadata": {"type": "object"},
                "spec": structural_schema(self.spec),
                "status": structural_schema(self.status),
            },
        }
        if self.document.RULES:
            schema["x-kubernetes-validations"] = [rule.schema() for rule in self.document.RULES]
        return schema


_AGE = Column("Age", ".metadata.creationTimestamp", "date", "When the object was created.")

BILLING_REGION = Kind(
    kind="BillingRegion",
    plural="billingregions",
    short_name="br",
    document=Region,
    spec=BillingRegionSpec,
    status=BillingRegionStatus,
    columns=(
        Column("Jurisdiction", ".spec.jurisdiction", description="The legal area whose data stays here."),
        Column("Ready", f"{_READY}.status", description="Whether the region takes in and bills usage."),
        Column("Phase", ".status.phase", description="One word for people."),
        Column("Contracts", ".status.contracts", "integer", "Contracts loaded."),
        Column("Lag", ".status.lag", "integer", "Messages that the ledger does not hold yet."),
        Column("Quarantined", ".status.quarantined", "integer", "Usage set aside that waits for a decision."),
        Column("Next", ".status.nextPeriod", description="The oldest billing period that is not final."),
        Column("Backfill", ".status.backfillId", description="The backfill in spec.", wide=True),
        Column("Reason", f"{_READY}.reason", description="Why the region is ready or not.", wide=True),
        _AGE,
    ),
    selectable=(".spec.jurisdiction",),
    about="A BillingRegion bills the usage of one jurisdiction in one cluster.",
)

BILLING_PERIOD = Kind(
    kind="BillingPeriod",
    plural="billingperiods",
    short_name="bp",
    document=Period,
    spec=BillingPeriodSpec,
    status=BillingPeriodStatus,
    columns=(
        Column("Region", ".spec.regionName", description="The region that the period belongs to."),
        Column(
            "Phase", ".status.phase", description="Pending, Open, Grace, Waiting, Closing, Final or Failed."
        ),
        Column("Starts", ".spec.start", description="The first moment of the period."),
        Column("Ends", ".spec.end", description="The first moment after the period."),
        Column("FinalAt", ".status.finalAt", description="When the last contract period became final."),
        Column("Events", ".status.events", "integer", "Billed events."),
        Column("Late", ".status.late", "integer", "Billed events that came after the period's end."),
        Column("Quarantined", ".status.quarantined", "integer", "Events set aside with a reason."),
        Column("Invoices", ".status.invoices", "integer", "Invoices made."),
        Column("Review", ".status.boundaryUndecided", "integer", "Events that may belong to another period."),
        Column("CutOff", ".spec.cutOff", description="Until when late usage counts.", wide=True),
        Column(
            "BoundaryCandidates",
            ".status.boundaryCandidates",
            "integer",
            "Events that may have happened in a neighbouring period, decided or not.",
            wide=True,
        ),
        Column("Missing", ".status.missing", "integer", "Messages that did not arrive.", wide=True),
        Column("Silent", ".status.silentDevices", "integer", "Devices without any usage.", wide=True),
        Column("Duplicates", ".status.duplicates", "integer", "Repeated messages, not billed.", wide=True),
        Column("WaitingFor", ".status.waitingFor", description="What the close waits for.", wide=True),
        _AGE,
    ),
    selectable=(".spec.regionName",),
    about="A BillingPeriod is one period of a region's calendar; the operator makes it and closes it.",
)

PRICING_PLAN = Kind(
    kind="PricingPlan",
    plural="pricingplans",
    short_name="pp",
    document=PlanDocument,
    spec=PricingPlanSpec,
    status=PricingPlanStatus,
    columns=(
        Column("Currency", ".spec.currency", description="The currency of all prices."),
        Column("Latest", ".status.latestVersion", description="The version with the latest effectiveFrom."),
        Column("Versions", ".status.versions", "integer", "How many versions are published."),
        Column("InUse", ".status.inUse", "boolean", "Whether a contract of a region names the plan."),
        Column("Ready", f"{_READY}.status", description="Whether the plan is published to the workers."),
        Column(
            "ConfigMap", ".status.configMapName", description="What carries it to the workers.", wide=True
        ),
        _AGE,
    ),
    selectable=(".spec.currency",),
    about="A PricingPlan is a price list in one currency, with versions that never change once published.",
)

KINDS = (BILLING_REGION, BILLING_PERIOD, PRICING_PLAN)
