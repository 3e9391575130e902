"""What the consumer knows while it decides: region, metrics, devices, contracts, backfills; no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fleetmeter_api.region import DEFAULT_CLASS, DeviceClass, Region
from fleetmeter_rules.event_time import ClassRules, rules_of
from fleetmeter_workers.ledger.backfills import Backfill
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.registry import Device


@dataclass(frozen=True, slots=True)
class ClassTerms:
    """A device class as the decision needs it."""

    time: ClassRules
    identity_methods: frozenset[str]


@dataclass(slots=True)
class Knowledge:
    """A picture of the registry as of `change`; devices are added as messages name them."""

    region: Region
    change: int
    metrics: dict[str, int]
    contracts: ContractBook
    backfills: dict[str, Backfill]
    customers: dict[str, int]
    devices: dict[str, Device] = field(default_factory=dict[str, Device])
    _classes: dict[str, ClassTerms] = field(default_factory=dict[str, ClassTerms])

    def missing(self, uids: Iterable[str]) -> set[str]:
        """The devices that have to be looked up before a decision."""
        return {uid for uid in uids if uid not in self.devices}

    def class_terms(self, name: str) -> ClassTerms:
        """The class's terms; a class that the region does not list any more counts as the class default."""
        terms = self._classes.get(name)
        if terms is None:
            found = self.region.spec.device_class(name) or self.region.spec.device_class(DEFAULT_CLASS)
            terms = _terms(found or DeviceClass(name=DEFAULT_CLASS))
            self._classes[name] = terms
        return terms


def _terms(device_class: DeviceClass) -> ClassTerms:
    return ClassTerms(rules_of(device_class), frozenset(device_class.identity_methods))
