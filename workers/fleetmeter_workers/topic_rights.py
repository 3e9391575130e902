"""What each account may do with the topic, as Kafka's own access control lists."""

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    AclOperation,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    AdminClient,
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
    ResourceType,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
)

GROUP: Final = "fleetmeter-consumer"
"""The consumers' group."""


def grant(client: AdminClient, topic: str) -> int:
    """Let the gateway write the topic, the consumer read it, the API ask where it ends; safe to run again.

    Returns how many rights there are, 0 where the broker keeps none. Raises KafkaException.
    """
    wanted = [
        _right(ResourceType.TOPIC, topic, "gateway", AclOperation.WRITE),
        _right(ResourceType.TOPIC, topic, "consumer", AclOperation.READ),
        _right(ResourceType.GROUP, GROUP, "consumer", AclOperation.READ),
        _right(ResourceType.TOPIC, topic, "api", AclOperation.DESCRIBE),
    ]
    # The library leaves the types of its answers open.
    admin: Any = client
    try:
        for done in admin.create_acls(wanted, request_timeout=30).values():
            done.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.SECURITY_DISABLED:
            return 0
        raise
    return len(wanted)


def _right(kind: ResourceType, name: str, account: str, operation: AclOperation) -> AclBinding:
    """A right from any address; reading and writing include describing."""
    return AclBinding(
        kind, name, ResourcePatternType.LITERAL, f"User:{account}", "*", operation, AclPermissionType.ALLOW
    )
