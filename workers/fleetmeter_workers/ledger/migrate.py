"""The migrate Job: the ledger's schema and roles, and the Kafka topic, brought to what this version needs."""

import os
import time
from typing import Any, Final

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    ResourceType,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from fleetmeter_workers import topic_rights
from fleetmeter_workers.ledger import migrations
from fleetmeter_workers.ledger.database import AWAY, Connection, connect, reason
from fleetmeter_workers.settings import KafkaSettings, Settings, load_settings, read_region
from fleetmeter_workers.telemetry import configure_logging

_EX_DATAERR: Final = 65
_EX_TEMPFAIL: Final = 75
_DEFAULT_PARTITIONS: Final = 4
_DEFAULT_QUEUE_HOURS: Final = 360
_SECOND: Final = 1.0


class EngineAwayError(Exception):
    """Kafka or Postgres did not answer before the deadline."""


def run() -> int:
    """Migrate; returns 0, 65 when the database does not fit this version, 75 when an engine stayed away."""
    log = configure_logging("migrate")
    settings = load_settings()
    deadline = time.monotonic() + settings.engine_deadline_seconds
    try:
        with _await_postgres(deadline, log) as connection:
            applied = migrations.migrate(
                connection, _passwords(), lambda text: log.info("applying", what=text)
            )
            log.info("schema ready", applied=applied, version=migrations.schema_version(connection))
        if settings.kafka.bootstrap is None:
            log.warning("no topic made", remedy="set FLEETMETER_KAFKA_BOOTSTRAP")
            return 0
        ensure_topic(settings, deadline, log)
    except migrations.MigrationError as error:
        log.error("cannot migrate", error=str(error))
        return _EX_DATAERR
    except EngineAwayError as error:
        log.error(
            "gave up", error=str(error), remedy="see whether the engine's pod runs; the Job may be run again"
        )
        return _EX_TEMPFAIL
    return 0


def _passwords() -> dict[str, str]:
    named = {role: os.environ.get(f"FLEETMETER_ROLE_PASSWORD_{role.upper()}") for role in migrations.ROLES}
    return {role: password for role, password in named.items() if password}


def _await_postgres(deadline: float, log: Any) -> Connection:
    while True:
        try:
            return connect("migrate")
        except AWAY as error:
            if isinstance(error, psycopg.errors.InvalidPassword) or time.monotonic() > deadline:
                raise EngineAwayError(f"Postgres: {reason(error)}") from None
            log.info(
                "waiting for Postgres", reason=reason(error), seconds_left=round(deadline - time.monotonic())
            )
            time.sleep(_SECOND)


def ensure_topic(settings: Settings, deadline: float, log: Any) -> None:
    """Make the topic, or bring its partitions, retention, timestamp type and rights to what the region says.

    Raises EngineAwayError when Kafka does not answer in time. Partitions are never removed: Kafka cannot.
    """
    partitions, hours = _topic_shape(settings)
    topic = settings.kafka.topic
    wanted = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(hours * 3_600_000),
        "retention.bytes": "-1",
        "cleanup.policy": "delete",
        "max.message.bytes": str(2 * 1024 * 1024),
    }
    admin = AdminClient(_admin_config(settings.kafka))
    while True:
        try:
            _shape_topic(admin, topic, partitions, wanted, log)
            log.info("rights ready", rights=topic_rights.grant(admin, topic))
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise EngineAwayError(f"Kafka: {error.args[0].str()}") from None
            log.info(
                "waiting for Kafka",
                reason=error.args[0].str(),
                seconds_left=round(deadline - time.monotonic()),
            )
            time.sleep(_SECOND)
        else:
            return


def _topic_shape(settings: Settings) -> tuple[int, int]:
    """(partitions, retention in hours) from the region's file; defaults without one."""
    if settings.region_file is None:
        return _DEFAULT_PARTITIONS, _DEFAULT_QUEUE_HOURS
    spec = read_region(settings).spec
    return spec.broker.embedded_settings.partitions, spec.retention.queue_hours


def _admin_config(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
    return kafka.client_config() | {"socket.timeout.ms": 10_000, "log_level": 0}


def _shape_topic(client: AdminClient, topic: str, partitions: int, wanted: dict[str, str], log: Any) -> None:
    # The library leaves the types of its answers open.
    admin: Any = client
    known = admin.list_topics(timeout=10).topics.get(topic)
    if known is None or known.error is not None or not known.partitions:
        admin.create_topics([NewTopic(topic, partitions, config=wanted)], request_timeout=30)[topic].result()
        log.info("topic made", topic=topic, partitions=partitions)
        return
    if len(known.partitions) < partitions:
        admin.create_partitions([NewPartitions(topic, partitions)], request_timeout=30)[topic].result()
        log.info("partitions added", topic=topic, partitions=partitions)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    current = admin.describe_configs([resource], request_timeout=30)[resource].result()
    drift = {name: value for name, value in wanted.items() if current[name].value != value}
    if drift:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in drift.items()
        ]
        change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        admin.incremental_alter_configs([change], request_timeout=30)[change].result()
    log.info("topic ready", topic=topic, changed=sorted(drift))
