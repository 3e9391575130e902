"""Lookup: fills what the consumer knows from the ledger, and notices when the ledger has changed."""

from collections.abc import Iterable
from typing import Final

from fleetmeter_api.region import Region
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.ledger import backfills, contracts, registry
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import Connection

_MOST_DEVICES: Final = 200_000
"""More devices than this in memory are forgotten and looked up again; about 100 MiB."""


def load(connection: Connection, region: Region) -> Knowledge:
    """All that is known but for the devices, which are looked up when a message names them."""
    change = registry.change_number(connection)
    asked = region.spec.backfill
    if asked is not None:
        backfills.open_backfill(connection, asked.backfill_id, asked.from_, asked.to)
    declared = [(metric.code, metric.kind, metric.unit) for metric in region.spec.metrics]
    versions = contracts.all_versions(connection)
    codes = {version.contract.customer.code for known in versions.values() for version in known}
    return Knowledge(
        region=region,
        change=change,
        metrics=registry.metric_ids(connection, declared),
        contracts=ContractBook(region, versions),
        backfills=backfills.all_backfills(connection),
        customers=registry.customer_ids(connection, codes),
    )


def fresh(connection: Connection, known: Knowledge) -> Knowledge:
    """The same knowledge, or a new one if the ledger's registry has changed since."""
    if registry.change_number(connection) == known.change:
        return known
    return load(connection, known.region)


def learn_devices(connection: Connection, known: Knowledge, uids: Iterable[str]) -> None:
    """Look up the devices that are missing; one that nobody has registered gets a number."""
    missing = known.missing(uids)
    if not missing:
        return
    if len(known.devices) + len(missing) > _MOST_DEVICES:
        known.devices.clear()
        missing = set(uids)
    found = registry.sight_devices(connection, missing)
    known.devices.update(found)
    owners = {binding.customer for device in found.values() for binding in device.bindings}
    unknown = owners - known.customers.keys()
    if unknown:
        known.customers.update(registry.customer_ids(connection, unknown))
