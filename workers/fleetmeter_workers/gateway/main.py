"""The stage `gateway`: both entrances over one topic, until the process is told to end."""

import signal
from functools import partial
from types import FrameType

from fleetmeter_workers.gateway.acceptance import Acceptance
from fleetmeter_workers.gateway.http_entrance import HttpEntrance
from fleetmeter_workers.gateway.mqtt_entrance import HEALTH_PART as MQTT
from fleetmeter_workers.gateway.mqtt_entrance import MqttEntrance
from fleetmeter_workers.gateway.registry import Registry
from fleetmeter_workers.gateway.turn import Turn
from fleetmeter_workers.gateway.usage_topic import HEALTH_PART as KAFKA
from fleetmeter_workers.gateway.usage_topic import UsageTopic
from fleetmeter_workers.ledger.database import connect
from fleetmeter_workers.listener import HEALTH_PART as HTTP
from fleetmeter_workers.listener import Listener
from fleetmeter_workers.settings import Settings, SettingsError, load_settings
from fleetmeter_workers.telemetry import Health, TelemetryServer, configure_logging
from fleetmeter_workers.tokens import Tokens, TokensError

CLIENT_ID = "fleetmeter-gateway"
"""Stable, and every replica's, so that the broker keeps one session: a broker serves one region."""
STALL_SECONDS = 60.0
DRAIN_SECONDS = 20.0


def run() -> int:
    """Run until SIGTERM or SIGINT; 1 when it had to give up."""
    settings = load_settings()
    tokens = _tokens(settings)
    log = configure_logging("gateway")
    parts = (HTTP, KAFKA, MQTT) if settings.mqtt.host else (HTTP, KAFKA)
    health = Health(parts, stall_seconds=STALL_SECONDS)
    verdict = Verdict()
    usage = UsageTopic(settings.kafka, health, log, verdict.give_up)
    registry = Registry(partial(connect, "gateway"), log)
    acceptance = Acceptance(registry)
    served = HttpEntrance(tokens, acceptance, usage, health).application()
    server = verdict.server = Listener(served, settings.listen, settings.port, int(DRAIN_SECONDS), health)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, verdict.told_to_end)
    telemetry = TelemetryServer(settings.listen, settings.metrics_port, health)
    mqtt = None
    if settings.mqtt.host:
        entrance = partial(
            MqttEntrance, settings.mqtt, CLIENT_ID, acceptance, usage, health, log, verdict.give_up
        )
        shared = settings.mqtt.take_turns
        mqtt = Turn(entrance, partial(connect, "gateway-turn"), health, log) if shared else entrance()
        mqtt.start()
    log.info("gateway started", http_port=settings.port, mqtt=bool(mqtt))
    server.run()
    if mqtt is not None:
        mqtt.stop_receiving()
    left = usage.close(DRAIN_SECONDS)
    registry.close()
    telemetry.close()
    log.info("gateway ended", undelivered=left)
    return 1 if verdict.given_up else 0


class Verdict:
    """Whether the gateway may go on; any thread can end it."""

    def __init__(self) -> None:
        """It may."""
        self.given_up = False
        self.server: Listener | None = None

    def told_to_end(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of a signal."""
        self.end()

    def end(self) -> None:
        """End the process in order."""
        if self.server is not None:
            self.server.should_exit = True

    def give_up(self) -> None:
        """End the process with a failure: what was not answered is sent again to the next one."""
        self.given_up = True
        self.end()


def _tokens(settings: Settings) -> Tokens:
    try:
        return Tokens(settings.tokens_file)
    except TokensError as error:
        raise SettingsError(str(error)) from None
