"""The gateway: device messages in by MQTT and HTTP, out into Kafka, answered only once they are durable."""
