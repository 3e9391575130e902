-- Who and what the ledger speaks of: customers, metrics, devices, their owners, contracts, backfills.
CREATE TABLE fleetmeter.customer (
    customer_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 128)
);

CREATE TABLE fleetmeter.metric (
    metric_id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code      text NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 128),
    kind      text NOT NULL CHECK (kind IN ('Delta', 'Cumulative', 'Gauge')),
    unit      text NOT NULL
);

-- A device is here as soon as a message named it, so that its messages have an identity before it is
-- registered; only a registered one (registered_at) has an alias, a class and owners.
CREATE TABLE fleetmeter.device (
    device_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (device_id > 0),
    uid           text NOT NULL UNIQUE CHECK (length(uid) BETWEEN 1 AND 255),
    alias         text UNIQUE CHECK (length(alias) BETWEEN 1 AND 128 AND position(':' IN alias) = 0),
    device_class  text NOT NULL DEFAULT 'default',
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    registered_at timestamptz,
    registered_by text,
    CHECK ((registered_at IS NULL) = (alias IS NULL))
);

-- Append-only: of the bindings that cover an instant, the latest recorded is the owner's.
CREATE TABLE fleetmeter.device_binding (
    binding_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id   integer NOT NULL REFERENCES fleetmeter.device,
    customer_id integer NOT NULL REFERENCES fleetmeter.customer,
    valid_from  timestamptz NOT NULL DEFAULT '-infinity',
    valid_to    timestamptz NOT NULL DEFAULT 'infinity',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL,
    CHECK (valid_from < valid_to)
);
CREATE INDEX device_binding_device ON fleetmeter.device_binding (device_id, binding_id);

CREATE TABLE fleetmeter.contract_version (
    contract    text NOT NULL CHECK (length(contract) BETWEEN 1 AND 128),
    version     integer NOT NULL CHECK (version > 0),
    customer_id integer NOT NULL REFERENCES fleetmeter.customer,
    document    jsonb NOT NULL,
    sha256      bytea NOT NULL,
    loaded_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (contract, version)
);

-- Contract files that were refused at the last reading, without anything they say.
CREATE TABLE fleetmeter.contract_refusal (
    position integer PRIMARY KEY,
    sha256   text NOT NULL,
    reason   text NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now()
);

-- end_offsets: partition number -> Kafka's end offset when the backfill was decided; a record of the
-- backfill that lies at or beyond it came too late.
CREATE TABLE fleetmeter.backfill (
    backfill_id text PRIMARY KEY,
    range_from  timestamptz NOT NULL,
    range_to    timestamptz NOT NULL CHECK (range_from < range_to),
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'completed', 'reverted')),
    end_offsets jsonb,
    opened_at   timestamptz NOT NULL DEFAULT now(),
    actor       text,
    decided_at  timestamptz,
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((state = 'pending') = (end_offsets IS NULL))
);

-- One row: how often anything above was changed.
CREATE TABLE fleetmeter.registry_change (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number   bigint NOT NULL
);
INSERT INTO fleetmeter.registry_change (number) VALUES (0);
