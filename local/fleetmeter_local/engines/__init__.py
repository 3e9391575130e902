"""Kafka, PostgreSQL and Mosquitto as processes on loopback."""

from fleetmeter_local.engines.kafka import Kafka
from fleetmeter_local.engines.mosquitto import Mosquitto
from fleetmeter_local.engines.postgres import Postgres

__all__ = ["Kafka", "Mosquitto", "Postgres"]
