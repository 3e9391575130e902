"""What the gateway counts."""

from prometheus_client import Counter, Gauge, Histogram

ACCEPTED = Counter("fleetmeter_gateway_accepted", "Messages durable in Kafka, by entrance.", ["entry"])
REFUSED = Counter(
    "fleetmeter_gateway_refused", "Messages that travel with a refusal, by its reason.", ["entry", "reason"]
)
DENIED = Counter("fleetmeter_gateway_denied", "HTTP requests turned away, by status.", ["status"])
IN_FLIGHT = Gauge("fleetmeter_gateway_in_flight", "Messages handed to Kafka and not yet durable.")
DELIVERY = Histogram(
    "fleetmeter_gateway_delivery_seconds",
    "From receipt to durable in Kafka.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
UNKNOWN_DEVICE = Counter("fleetmeter_gateway_unknown_device", "Messages of no known owner, with no key.")
REGISTRY_DEVICES = Gauge("fleetmeter_gateway_registry_devices", "Devices in the cached registry.")
REGISTRY_READ = Gauge("fleetmeter_gateway_registry_read_timestamp_seconds", "When it was last read.")
MQTT_CONNECTED = Gauge("fleetmeter_gateway_mqtt_connected", "1 while the MQTT broker's session is open.")
