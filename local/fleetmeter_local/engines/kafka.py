"""One Kafka node (KRaft) on loopback, started by the image's own script."""

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import cast

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fleetmeter_cluster.kafka import SOURCE, kafka_home
from fleetmeter_cluster.ports import LOOPBACK, free_port, listening
from fleetmeter_local.process import Process

Made = dict[str, Future[None]]


class Kafka:
    """A broker and controller in one process, data in `directory`, open to any loopback client."""

    def __init__(
        self,
        directory: Path,
        logs: Path,
        *,
        home: Path | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the broker; `home` has `libs/` and `runtime/`, by default the cached one.

        With `passwords` it asks each account for its own, `admin` among them, as a region's broker does.
        """
        self.port = free_port()
        home = home or kafka_home()
        self.process = Process(
            "kafka",
            [str(SOURCE / "start-kafka")],
            log=logs / "kafka.log",
            directory=directory,
            env={
                "KAFKA_HOME": str(home),
                "KAFKA_DATA": str(directory / "kafka"),
                "KAFKA_CONF": str(directory / "kafka-settings"),
                "KAFKA_LISTEN": LOOPBACK,
                "KAFKA_PORT": str(self.port),
                "KAFKA_CONTROLLER_PORT": str(free_port()),
                "KAFKA_ADVERTISED": self.bootstrap,
                **{f"KAFKA_PASSWORD_{user.upper()}": word for user, word in (passwords or {}).items()},
            },
        )
        self._login = _login("admin", passwords["admin"]) if passwords else {}

    @property
    def bootstrap(self) -> str:
        """The address that clients start from."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start the broker; its storage is formatted first, if it is new."""
        self.process.start()

    def await_ready(self) -> None:
        """Return when the broker answers a metadata request."""
        self.process.await_ready(lambda: listening(self.port))
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, **self._login})
        self.process.await_ready(lambda: _answers(admin))

    def stop(self) -> None:
        """Stop the broker."""
        self.process.stop()

    def create_topic(self, name: str, *, partitions: int = 4) -> None:
        """Make a topic, as the region's migration does."""
        settings = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 4, **self._login})
        made = cast(Made, admin.create_topics([topic]))  # pyright: ignore[reportUnknownMemberType] - untyped
        made[name].result(30)

    def delete_topic(self, name: str) -> None:
        """Remove a topic."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 4, **self._login})
        gone = cast(Made, admin.delete_topics([name]))  # pyright: ignore[reportUnknownMemberType] - untyped
        gone[name].result(30)


def _login(user: str, password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }


def _answers(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=5).brokers)
    except KafkaException:
        return False
