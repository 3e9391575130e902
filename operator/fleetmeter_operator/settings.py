"""The operator's settings, from its environment, read once at start."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleetmeter_operator.build.site import Images, Object

_IMAGES = ("workers", "kafka", "postgres", "mosquitto")


class SettingsError(Exception):
    """A setting is missing or malformed; the message names it and says what to write."""


@dataclass(frozen=True)
class Settings:
    """What one operator process serves, and how it is reached.

    `status_url` has `{region}` and `{namespace}` in it; `resync_seconds` is how often all is looked at again.
    """

    namespace: str
    jurisdiction: str
    images: Images
    status_url: str
    listen: str
    port: int
    resync_seconds: float
    metrics_from: tuple[Object, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the environment. Raises SettingsError."""
        return cls(
            namespace=_required(env, "WATCH_NAMESPACE", r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"),
            jurisdiction=_required(env, "JURISDICTION", r"[A-Z][A-Za-z0-9-]{1,31}"),
            images=_images(env),
            status_url=env.get("FLEETMETER_STATUS_URL", "http://{region}-api.{namespace}.svc:8081/status"),
            listen=env.get("FLEETMETER_LISTEN", "0.0.0.0"),  # noqa: S104 (probes come from the node)
            port=int(_number(env, "FLEETMETER_PORT", "8080")),
            resync_seconds=_number(env, "FLEETMETER_RESYNC_SECONDS", "30"),
            metrics_from=_peers(env),
        )


def _required(env: Mapping[str, str], name: str, pattern: str) -> str:
    value = env.get(name, "")
    if not re.fullmatch(pattern, value):
        raise SettingsError(
            f"environment variable {name} is {value!r}; set it to a value that matches {pattern}"
        )
    return value


def _number(env: Mapping[str, str], name: str, default: str) -> float:
    value = env.get(name) or default
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        raise SettingsError(f"environment variable {name} is {value!r}; set it to a positive number")
    return float(value)


def _peers(env: Mapping[str, str]) -> tuple[Object, ...]:
    try:
        peers: list[Object] = json.loads(env.get("FLEETMETER_METRICS_FROM") or "[]")
        return tuple(dict(peer) for peer in peers)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            "environment variable FLEETMETER_METRICS_FROM must be a JSON list of NetworkPolicyPeers"
        ) from error


def _images(env: Mapping[str, str]) -> Images:
    try:
        given = json.loads(env.get("FLEETMETER_IMAGES", ""))
        names = [str(given[part]) for part in _IMAGES]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"environment variable FLEETMETER_IMAGES must be a JSON object with the keys {', '.join(_IMAGES)}"
        ) from error
    return Images(
        *names,
        pull_policy=env.get("FLEETMETER_IMAGE_PULL_POLICY", "IfNotPresent"),
        pull_secrets=tuple(filter(None, env.get("FLEETMETER_IMAGE_PULL_SECRETS", "").split(","))),
    )
