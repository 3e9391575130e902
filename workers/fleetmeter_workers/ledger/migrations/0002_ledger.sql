-- What was used, by whom, in which contract period, and the invoices made of it.
CREATE TABLE fleetmeter.contract_period (
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    cutoff_at      timestamptz NOT NULL,
    sealed_at      timestamptz,
    period_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id    integer NOT NULL REFERENCES fleetmeter.customer,
    revision       smallint NOT NULL DEFAULT 1 CHECK (revision > 0),
    -- A worker needs the right to change some column before it may lock the row: this one, and no other.
    fence          smallint NOT NULL DEFAULT 0,
    contract       text NOT NULL,
    billing_period text NOT NULL,
    late_usage     text NOT NULL CHECK (late_usage IN ('Grace', 'Defer', 'Reopen')),
    phase          text NOT NULL DEFAULT 'open' CHECK (phase IN ('open', 'sealing', 'final')),
    UNIQUE (contract, starts_at),
    CHECK (starts_at < ends_at AND ends_at <= cutoff_at),
    CHECK ((phase = 'final') = (sealed_at IS NOT NULL))
);
CREATE INDEX contract_period_billing_period ON fleetmeter.contract_period (billing_period, contract);

-- One row an identity, billed (verdict 0) or set aside (verdict 1), for ever. The key packs device (4 bytes),
-- epoch (4), sequence (6) and item (2); what does not fit has the device's top bit set, then the first twelve
-- bytes of its event id, and its canonical identity is kept (else empty: a billed row has no NULL, which saves
-- eight bytes). Columns are ordered for size.
CREATE TABLE fleetmeter.event (
    event_at    timestamptz,
    received_at timestamptz NOT NULL,
    event_key   uuid PRIMARY KEY,
    fingerprint uuid NOT NULL,
    device_id   integer NOT NULL,
    period_id   integer,
    -- How far from event_at the event may have happened, in whole seconds, rounded up.
    uncertainty integer NOT NULL,
    metric_id   smallint,
    verdict     smallint NOT NULL CHECK (verdict IN (0, 1)),
    time_method smallint NOT NULL,
    revision    smallint NOT NULL,
    late        boolean NOT NULL,
    quantity    numeric(20, 10) CHECK (quantity >= 0 AND quantity <> 'NaN'),
    canonical   bytea NOT NULL,
    CHECK (verdict = 1 OR (event_at IS NOT NULL AND period_id IS NOT NULL AND metric_id IS NOT NULL
                           AND quantity IS NOT NULL))
) WITH (fillfactor = 100);
-- For the seal and the audit trail of a device: deduplicated, so about seven bytes an event.
CREATE INDEX event_period_device ON fleetmeter.event (period_id, device_id) WHERE verdict = 0;

-- What was not billed, with its reason and bytes. A row's position in Kafka makes it unique, so that a replay
-- sets nothing aside twice.
CREATE TABLE fleetmeter.quarantine (
    quarantine_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record_offset  bigint NOT NULL,
    received_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    resolved_at    timestamptz,
    topic_id       uuid NOT NULL,
    event_key      uuid,
    -- The fingerprint of the copy that was here first, when this one contradicts it.
    first_fingerprint uuid,
    partition      integer NOT NULL,
    customer_id    integer,
    device_id      integer,
    period_id      integer,
    item           smallint NOT NULL,
    late           boolean NOT NULL DEFAULT false,
    reason         text NOT NULL,
    detail         text NOT NULL,
    adapter        text NOT NULL,
    topic          text NOT NULL,
    headers        jsonb NOT NULL,
    -- Of several rows of one record only the first has its bytes.
    raw            bytea,
    resolution     text,
    resolved_by    text,
    UNIQUE (topic_id, partition, record_offset, item),
    CHECK ((resolution IS NULL) = (resolved_at IS NULL) AND (resolution IS NULL) = (resolved_by IS NULL))
);
CREATE INDEX quarantine_period ON fleetmeter.quarantine (period_id, reason);
CREATE INDEX quarantine_reason ON fleetmeter.quarantine (reason, quarantine_id) WHERE resolution IS NULL;

-- Additive sums by hour of event time, kept in the transaction that writes the rows they sum.
CREATE TABLE fleetmeter.usage_hour (
    hour        timestamptz NOT NULL,
    events      bigint NOT NULL,
    late        bigint NOT NULL,
    period_id   integer NOT NULL,
    metric_id   smallint NOT NULL,
    quantity    numeric NOT NULL,
    PRIMARY KEY (period_id, metric_id, hour)
) WITH (fillfactor = 70);

-- Copies that were not billed again, by customer and hour of receipt: a jump shows a retransmitting device.
CREATE TABLE fleetmeter.duplicate_hour (
    hour        timestamptz NOT NULL,
    duplicates  bigint NOT NULL,
    customer_id integer NOT NULL,
    PRIMARY KEY (customer_id, hour)
) WITH (fillfactor = 70);

-- A duplicate counts in the period of its first copy; what is set aside in its candidate period.
CREATE TABLE fleetmeter.period_count (
    period_id   integer PRIMARY KEY REFERENCES fleetmeter.contract_period,
    events      bigint NOT NULL DEFAULT 0,
    late        bigint NOT NULL DEFAULT 0,
    duplicates  bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- How far each partition is decided. The checks are the law of conservation: no commit can break it.
-- next_offset may be set back for a replay; counted_offset never is, and what lies below it counts no more.
CREATE TABLE fleetmeter.partition_offset (
    next_offset    bigint NOT NULL CHECK (next_offset >= 0),
    counted_offset bigint NOT NULL,
    watermark_at   timestamptz,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    records        bigint NOT NULL DEFAULT 0,
    decoded        bigint NOT NULL DEFAULT 0,
    not_billable   bigint NOT NULL DEFAULT 0,
    undecodable    bigint NOT NULL DEFAULT 0,
    items          bigint NOT NULL DEFAULT 0,
    billed         bigint NOT NULL DEFAULT 0,
    duplicate      bigint NOT NULL DEFAULT 0,
    quarantined    bigint NOT NULL DEFAULT 0,
    topic_id       uuid NOT NULL,
    partition      integer NOT NULL,
    leader_epoch   integer NOT NULL DEFAULT -1,
    topic          text NOT NULL,
    PRIMARY KEY (topic, partition),
    CHECK (next_offset <= counted_offset),
    CHECK (records = decoded + not_billable + undecodable),
    CHECK (items = billed + duplicate + quarantined)
) WITH (fillfactor = 50);

CREATE TABLE fleetmeter.invoice_series (
    series text PRIMARY KEY,
    next   integer NOT NULL DEFAULT 1 CHECK (next > 0)
);

CREATE TABLE fleetmeter.invoice (
    number         text PRIMARY KEY,
    contract       text NOT NULL,
    period_id      integer NOT NULL REFERENCES fleetmeter.contract_period,
    version        integer NOT NULL CHECK (version > 0),
    customer_id    integer NOT NULL REFERENCES fleetmeter.customer,
    billing_period text NOT NULL,
    currency       text NOT NULL,
    total          numeric NOT NULL,
    events         bigint NOT NULL CHECK (events >= 0),
    sha256         bytea NOT NULL,
    document       bytea NOT NULL,
    issued_on      date NOT NULL,
    UNIQUE (period_id, version)
);
CREATE INDEX invoice_billing_period ON fleetmeter.invoice (billing_period, contract);
