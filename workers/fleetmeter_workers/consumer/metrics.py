"""The consumer's metrics; counts only, nothing that names a customer or a device."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("fleetmeter_consumer_records_total", "Records decided.")
ITEMS = Counter("fleetmeter_consumer_items_total", "Billable items by what became of them.", ["fate"])
QUARANTINED = Counter("fleetmeter_consumer_quarantined_total", "Set aside, by reason.", ["reason"])
BATCH = Histogram(
    "fleetmeter_consumer_batch_records",
    "Records a transaction.",
    buckets=(1, 10, 100, 500, 1000, 2500, 5000),
)
COMMIT_SECONDS = Histogram("fleetmeter_consumer_commit_seconds", "Time from a batch's plan to its commit.")
LAG = Gauge("fleetmeter_consumer_lag_records", "Records behind the end of the partition.", ["partition"])
WATERMARK = Gauge(
    "fleetmeter_consumer_watermark_seconds", "Log time of the last record decided, in seconds since 1970."
)
CONSERVATION = Gauge(
    "fleetmeter_consumer_conservation",
    "The partition's counters, whose sums the ledger checks.",
    ["partition", "count"],
)
REPOSITIONS = Counter(
    "fleetmeter_consumer_repositions_total", "How often the offsets were read again from the ledger."
)
