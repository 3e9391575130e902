"""The engines of a region, Kafka, PostgreSQL and MQTT: embedded, external or another operator's."""

from typing import Annotated, Any, Literal

from pydantic import Field, Strict, StringConstraints

from fleetmeter_api.base import Model, Rule, immutable
from fleetmeter_api.values import ByteSize, CpuAmount, Host, Port, SecretName

BrokerType = Literal["Embedded", "External", "Strimzi"]
StoreType = Literal["Embedded", "External", "CloudNativePG"]
MqttType = Literal["None", "Embedded", "External"]

DEFAULT_PARTITIONS = 4
DEFAULT_BROKER_STORAGE = "10Gi"
DEFAULT_STORE_STORAGE = "20Gi"
DEFAULT_MQTT_STORAGE = "2Gi"

BootstrapServers = Annotated[
    str,
    StringConstraints(
        min_length=3, max_length=1024, pattern=r"^[A-Za-z0-9.-]+:[0-9]+(,[A-Za-z0-9.-]+:[0-9]+)*$"
    ),
]
Database = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z_][a-z0-9_]*$")]


class Amounts(Model):
    """Processor time and memory."""

    cpu: CpuAmount | None = Field(default=None, description='Processor time, a quoted string: "2" or "250m".')
    memory: ByteSize | None = Field(default=None, description="Memory with a binary unit, for example 256Mi.")


class Resources(Model):
    """What a pod asks for, and what it may use at most."""

    requests: Amounts | None = Field(default=None, description="What the pod is scheduled for.")
    limits: Amounts | None = Field(default=None, description="What the pod may use at most.")


def _member(kind: str, field: str, attribute: str) -> Rule:
    """Type and member go together: `field` is there exactly when the type is `kind`."""

    def holds(union: Any) -> bool:
        return (union.type == kind) == (getattr(union, attribute) is not None)

    return Rule(
        f"(self.type == '{kind}') == has(self.{field})",
        f"type {kind} and the member {field} go together; set both or neither",
        holds,
    )


_EMBEDDED = Rule(
    "!has(self.embedded) || self.type == 'Embedded'",
    "the member embedded goes with type Embedded only; remove it or change the type",
    lambda union: union.embedded is None or union.type == "Embedded",
)


def _grows(field: str, default: str, unit: str = "{}") -> Rule:
    """An embedded engine's size only goes up, counted from the default where `embedded` is absent."""
    new, old = (
        unit.format(f"(has({of}.embedded) ? {of}.embedded.{field} : {default})") for of in ("self", "oldSelf")
    )
    grown = f"{new}.compareTo({old}) >= 0" if unit != "{}" else f"{new} >= {old}"
    return Rule(
        f"self.type != 'Embedded' || oldSelf.type != 'Embedded' || {grown}",
        f"embedded.{field} can grow but not shrink, since what holds the data cannot; keep it or raise it",
    )


def _storage_grows(default: str) -> Rule:
    return _grows("storage", f"'{default}'", "quantity({})")


class EmbeddedBroker(Model):
    """One Kafka node that the operator runs."""

    storage: ByteSize = Field(default=DEFAULT_BROKER_STORAGE, description="The size of its volume.")
    heap: ByteSize | None = Field(
        default=None, description="The Java heap; absent means the image's default."
    )
    partitions: Annotated[int, Strict(), Field(ge=1, le=512)] = Field(
        default=DEFAULT_PARTITIONS,
        description="Partitions of the usage topic: how many consumers can share the work.",
    )
    resources: Resources | None = Field(default=None, description="What the pod may use.")


class ExternalBroker(Model):
    """A Kafka that someone else runs."""

    bootstrap_servers: BootstrapServers = Field(
        description="Where to connect first: host:port, comma separated."
    )
    secret_name: SecretName = Field(description="The Secret with user names and passwords.")


class StrimziBroker(Model):
    """A Kafka that Strimzi runs in the same namespace."""

    cluster_name: SecretName = Field(description="The name of the Kafka resource.")


class Broker(Model):
    """The Kafka that carries usage."""

    type: Annotated[BrokerType, immutable("broker.type")] = Field(
        description="Who runs it: Embedded (the operator, one node), External or Strimzi."
    )
    embedded: EmbeddedBroker | None = Field(default=None, description="Settings of type Embedded; optional.")
    external: ExternalBroker | None = Field(default=None, description="Settings of type External.")
    strimzi: StrimziBroker | None = Field(default=None, description="Settings of type Strimzi.")

    RULES = (
        _EMBEDDED,
        _member("External", "external", "external"),
        _member("Strimzi", "strimzi", "strimzi"),
        _storage_grows(DEFAULT_BROKER_STORAGE),
        _grows("partitions", str(DEFAULT_PARTITIONS)),
    )

    @property
    def embedded_settings(self) -> EmbeddedBroker:
        """The settings of type Embedded, defaults where there are none."""
        return self.embedded or EmbeddedBroker()


class EmbeddedStore(Model):
    """One PostgreSQL node that the operator runs."""

    storage: ByteSize = Field(default=DEFAULT_STORE_STORAGE, description="The size of its volume.")
    resources: Resources | None = Field(default=None, description="What the pod may use.")


class ExternalStore(Model):
    """A PostgreSQL that someone else runs."""

    host: Host = Field(description="Its host name or address.")
    port: Port = Field(default=5432, description="Its TCP port.")
    database: Database = Field(default="fleetmeter", description="The database's name.")
    secret_name: SecretName = Field(description="The Secret with the roles' passwords.")


class CloudNativePGStore(Model):
    """A PostgreSQL that CloudNativePG runs in the same namespace."""

    cluster_name: SecretName = Field(description="The name of the Cluster resource.")


class Store(Model):
    """The PostgreSQL that holds the ledger."""

    type: Annotated[StoreType, immutable("store.type")] = Field(
        description="Who runs it: Embedded (the operator, one node), External or CloudNativePG."
    )
    embedded: EmbeddedStore | None = Field(default=None, description="Settings of type Embedded; optional.")
    external: ExternalStore | None = Field(default=None, description="Settings of type External.")
    cloud_native_pg: CloudNativePGStore | None = Field(
        default=None, alias="cloudNativePG", description="Settings of type CloudNativePG."
    )

    RULES = (
        _EMBEDDED,
        _member("External", "external", "external"),
        _member("CloudNativePG", "cloudNativePG", "cloud_native_pg"),
        _storage_grows(DEFAULT_STORE_STORAGE),
    )

    @property
    def embedded_settings(self) -> EmbeddedStore:
        """The settings of type Embedded, defaults where there are none."""
        return self.embedded or EmbeddedStore()


class EmbeddedMqtt(Model):
    """One Mosquitto that the operator runs."""

    storage: ByteSize = Field(default=DEFAULT_MQTT_STORAGE, description="The size of its volume.")
    resources: Resources | None = Field(default=None, description="What the pod may use.")


class ExternalMqtt(Model):
    """An MQTT 5 broker that someone else runs."""

    host: Host = Field(description="Its host name or address.")
    port: Port = Field(default=8883, description="Its TCP port.")
    secret_name: SecretName = Field(description="The Secret with user name and password.")


class Mqtt(Model):
    """The MQTT broker that devices publish to."""

    type: MqttType = Field(
        default="None", description="Who runs it: None (there is none), Embedded (the operator) or External."
    )
    embedded: EmbeddedMqtt | None = Field(default=None, description="Settings of type Embedded; optional.")
    external: ExternalMqtt | None = Field(default=None, description="Settings of type External.")

    RULES = (_EMBEDDED, _member("External", "external", "external"), _storage_grows(DEFAULT_MQTT_STORAGE))

    @property
    def embedded_settings(self) -> EmbeddedMqtt:
        """The settings of type Embedded, defaults where there are none."""
        return self.embedded or EmbeddedMqtt()
