"""What a worker is told by its environment: files, addresses, ports; read once, refused with a remedy."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.region import Region

_Value = TypeVar("_Value")


class SettingsError(Exception):
    """A setting is missing or malformed; the message names the variable and what to put there."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where Kafka is and who we are to it; without a user the connection is plain."""

    bootstrap: str | None
    user: str | None
    password: str | None
    topic: str

    def client_config(self) -> dict[str, str | int | float | bool]:
        """The part of a librdkafka configuration that every client of ours shares."""
        config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": require(self.bootstrap, "FLEETMETER_KAFKA_BOOTSTRAP"),
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 5000,
        }
        if self.user:
            config |= {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": self.user,
                "sasl.password": require(self.password, "FLEETMETER_KAFKA_PASSWORD"),
            }
        return config


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Where the MQTT broker is and who we are to it. `take_turns`: other gateways read it, too."""

    host: str | None
    port: int
    user: str | None
    password: str | None
    take_turns: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a worker; a stage calls `require` on what it cannot do without. Postgres itself is
    named by libpq's own variables (PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD)."""

    region_file: Path | None
    contracts_dir: Path | None
    plans_dir: Path | None
    seller_file: Path | None
    tokens_file: Path | None
    kafka: KafkaSettings
    mqtt: MqttSettings
    listen: str
    port: int
    status_port: int
    metrics_port: int
    """0 lets the system choose a free port."""
    engine_deadline_seconds: int
    """How long a Job waits for Kafka and Postgres before it gives up."""
    termination_log: Path


def require(value: _Value | None, variable: str) -> _Value:
    """The value, or a SettingsError that names the variable that should hold it."""
    if value is None:
        raise SettingsError(f"{variable} is not set; this stage cannot work without it")
    return value


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (the process's own by default); raises SettingsError."""
    env = os.environ if environ is None else environ
    return Settings(
        region_file=_path(env, "FLEETMETER_REGION_FILE"),
        contracts_dir=_path(env, "FLEETMETER_CONTRACTS_DIR"),
        plans_dir=_path(env, "FLEETMETER_PLANS_DIR"),
        seller_file=_path(env, "FLEETMETER_SELLER_FILE"),
        tokens_file=_path(env, "FLEETMETER_TOKENS_FILE"),
        kafka=KafkaSettings(
            bootstrap=_text(env, "FLEETMETER_KAFKA_BOOTSTRAP"),
            user=_text(env, "FLEETMETER_KAFKA_USER"),
            password=_text(env, "FLEETMETER_KAFKA_PASSWORD"),
            topic=_text(env, "FLEETMETER_TOPIC") or "usage",
        ),
        mqtt=MqttSettings(
            host=_text(env, "FLEETMETER_MQTT_HOST"),
            port=_number(env, "FLEETMETER_MQTT_PORT", 1883),
            user=_text(env, "FLEETMETER_MQTT_USER"),
            password=_text(env, "FLEETMETER_MQTT_PASSWORD"),
            take_turns=_number(env, "FLEETMETER_GATEWAYS", 1) > 1,
        ),
        listen=_text(env, "FLEETMETER_LISTEN") or "0.0.0.0",  # noqa: S104 a pod listens on its own address
        port=_number(env, "FLEETMETER_PORT", 8080),
        status_port=_number(env, "FLEETMETER_STATUS_PORT", 8081),
        metrics_port=_number(env, "FLEETMETER_METRICS_PORT", 9090),
        engine_deadline_seconds=_number(env, "FLEETMETER_ENGINE_DEADLINE_SECONDS", 300),
        termination_log=_path(env, "FLEETMETER_TERMINATION_LOG") or Path("/dev/termination-log"),
    )


def read_region(settings: Settings) -> Region:
    """The region that this worker serves. Raises SettingsError, without the file's values."""
    path = require(settings.region_file, "FLEETMETER_REGION_FILE")
    try:
        return Region.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"FLEETMETER_REGION_FILE: cannot read {path.name}: {error.strerror}") from None
    except ValidationError as error:
        raise SettingsError(f"FLEETMETER_REGION_FILE: {'; '.join(problems(error))}") from None


def _text(env: Mapping[str, str], variable: str) -> str | None:
    return env.get(variable) or None


def _path(env: Mapping[str, str], variable: str) -> Path | None:
    value = env.get(variable)
    return Path(value) if value else None


def _number(env: Mapping[str, str], variable: str, default: int) -> int:
    value = env.get(variable)
    if not value:
        return default
    if not value.isascii() or not value.isdigit():
        raise SettingsError(f"{variable} must be a whole number, not {value!r}")
    return int(value)
