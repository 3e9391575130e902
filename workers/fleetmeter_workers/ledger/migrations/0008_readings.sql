-- What a reading needs beside its row: the register it was read on, where the device names one, and in which
-- unit a register counts since its units slipped (Wh read as kWh). Both are rare, so the event's row stays small.
CREATE TABLE fleetmeter.reading_register (
    event_key uuid PRIMARY KEY,
    register  text NOT NULL CHECK (length(register) BETWEEN 1 AND 255)
);

-- From read_at on a unit of the register is this many of its first ones; written by the seal that billed the slip.
CREATE TABLE fleetmeter.register_scale (
    read_at   timestamptz NOT NULL,
    device_id integer NOT NULL REFERENCES fleetmeter.device,
    period_id integer NOT NULL REFERENCES fleetmeter.contract_period,
    metric_id smallint NOT NULL REFERENCES fleetmeter.metric,
    register  text NOT NULL,
    scale     numeric NOT NULL CHECK (scale > 0),
    PRIMARY KEY (device_id, metric_id, register, read_at)
);

SELECT fleetmeter.let_only_grow('reading_register', 'register_scale');

REVOKE ALL ON fleetmeter.reading_register, fleetmeter.register_scale FROM PUBLIC;
GRANT SELECT ON fleetmeter.reading_register, fleetmeter.register_scale TO consumer, closer, api;
GRANT INSERT ON fleetmeter.reading_register TO consumer;
GRANT INSERT ON fleetmeter.register_scale TO closer;
