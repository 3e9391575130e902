-- What a person looks at before a bill goes out: events that may belong to another period, and missing usage.
ALTER TABLE fleetmeter.period_count
    ADD COLUMN boundary bigint NOT NULL DEFAULT 0,
    ADD COLUMN reviewed bigint NOT NULL DEFAULT 0,
    ADD CHECK (0 <= reviewed AND reviewed <= boundary);

-- For the status: what is not sealed yet, however long the history.
CREATE INDEX contract_period_unsealed ON fleetmeter.contract_period (contract, starts_at) WHERE phase <> 'final';

-- Billed events whose uncertainty reaches over an edge of the period that they were booked in.
CREATE TABLE fleetmeter.boundary_candidate (
    event_key uuid NOT NULL,
    period_id integer NOT NULL,
    PRIMARY KEY (period_id, event_key)
);

-- One decision an event, for ever: accepted as booked, or moved to a neighbour. The event's own row stays.
CREATE TABLE fleetmeter.boundary_decision (
    decided_at timestamptz NOT NULL DEFAULT now(),
    event_key  uuid PRIMARY KEY,
    period_id  integer NOT NULL REFERENCES fleetmeter.contract_period,
    moved_to   integer REFERENCES fleetmeter.contract_period,
    actor      text NOT NULL,
    CHECK (moved_to <> period_id)
);
CREATE INDEX boundary_decision_left ON fleetmeter.boundary_decision (period_id, event_key) WHERE moved_to IS NOT NULL;
CREATE INDEX boundary_decision_joined ON fleetmeter.boundary_decision (moved_to) WHERE moved_to IS NOT NULL;

-- The sequence number inside a packed key, bytes 9 to 14, as a number; without the detour over text.
CREATE FUNCTION fleetmeter.key_sequence(key uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (get_byte(uuid_send(key), 8)::bigint << 40) | (get_byte(uuid_send(key), 9)::bigint << 32)
    | (get_byte(uuid_send(key), 10)::bigint << 24) | (get_byte(uuid_send(key), 11)::bigint << 16)
    | (get_byte(uuid_send(key), 12)::bigint << 8) | get_byte(uuid_send(key), 13)::bigint;

-- The lowest key of a device and epoch (the first eight bytes of its keys) with this sequence number.
CREATE FUNCTION fleetmeter.key_from(stem bytea, sequence bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (encode(stem, 'hex') || lpad(to_hex(sequence), 12, '0') || '0000')::uuid;

-- The highest one.
CREATE FUNCTION fleetmeter.key_to(stem bytea, sequence bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (encode(stem, 'hex') || lpad(to_hex(sequence), 12, '0') || 'ffff')::uuid;

-- For each device and epoch or session with a counter (layouts 1 to 3 of the key) that has billed events in the
-- period: from which number on it is looked at (behind the last one held before), the last one, and how many of
-- them are held, wherever: in another period, or set aside. Twice over the period's rows, once by their keys.
CREATE FUNCTION fleetmeter.sequence_spans(looked_at integer, after integer)
    RETURNS TABLE (device_id integer, stem bytea, layout integer, since bigint, last bigint, held bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
WITH span AS MATERIALIZED (
    SELECT event.device_id, substr(uuid_send(event_key), 1, 8) AS stem, get_byte(uuid_send(event_key), 14) >> 4 AS layout,
        min(fleetmeter.key_sequence(event_key)) AS first, max(fleetmeter.key_sequence(event_key)) AS last
    FROM fleetmeter.event
    WHERE period_id = looked_at AND verdict = 0 AND event.device_id > after AND canonical = ''
    GROUP BY 1, 2, 3
), ranged AS MATERIALIZED (
    SELECT span.device_id, span.stem, span.layout, span.last, coalesce((
        SELECT fleetmeter.key_sequence(event_key) + 1 FROM fleetmeter.event
        WHERE event_key >= fleetmeter.key_from(span.stem, 0) AND event_key < fleetmeter.key_from(span.stem, span.first)
            AND get_byte(uuid_send(event_key), 14) >> 4 = span.layout
        ORDER BY event_key DESC LIMIT 1
    ), span.first) AS since
    FROM span WHERE span.layout BETWEEN 1 AND 3
)
SELECT ranged.device_id, ranged.stem, ranged.layout, ranged.since, ranged.last, (
    SELECT count(*) FROM (
        SELECT substr(uuid_send(event_key), 9, 6) AS number, lag(substr(uuid_send(event_key), 9, 6))
            OVER (ORDER BY event_key) AS before
        FROM fleetmeter.event
        WHERE event_key BETWEEN fleetmeter.key_from(ranged.stem, ranged.since)
                AND fleetmeter.key_to(ranged.stem, ranged.last)
            AND get_byte(uuid_send(event_key), 14) >> 4 = ranged.layout
    ) AS rows WHERE number IS DISTINCT FROM before
)
FROM ranged
$$;

-- What the devices' own counters say of a period, as last looked at.
CREATE TABLE fleetmeter.period_completeness (
    checked_at timestamptz NOT NULL DEFAULT now(),
    counted    bigint NOT NULL,
    held       bigint NOT NULL,
    missing    bigint NOT NULL,
    period_id  integer PRIMARY KEY REFERENCES fleetmeter.contract_period,
    silent     integer NOT NULL
) WITH (fillfactor = 70);

-- A person took a period as it was: with so many numbers missing and so many devices silent, and no more.
CREATE TABLE fleetmeter.incomplete_decision (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at  timestamptz NOT NULL DEFAULT now(),
    missing     bigint NOT NULL,
    period_id   integer NOT NULL REFERENCES fleetmeter.contract_period,
    silent      integer NOT NULL,
    actor       text NOT NULL
);
CREATE INDEX incomplete_decision_period ON fleetmeter.incomplete_decision (period_id);

-- Which devices a customer had: to find the silent ones.
CREATE INDEX device_binding_customer ON fleetmeter.device_binding (customer_id, device_id);

-- The billed events by the period that they count in, after all decisions: what a seal sums and digests.
CREATE VIEW fleetmeter.booked_event AS
SELECT event_at, received_at, event_key, fingerprint, device_id, period_id, uncertainty, metric_id, verdict,
    time_method, revision, late, quantity, canonical
FROM fleetmeter.event
WHERE verdict = 0 AND NOT EXISTS (
    SELECT FROM fleetmeter.boundary_decision AS gone
    WHERE gone.event_key = event.event_key AND gone.period_id = event.period_id AND gone.moved_to IS NOT NULL
)
UNION ALL
SELECT event_at, received_at, event_key, fingerprint, device_id, come.moved_to, uncertainty, metric_id, verdict,
    time_method, revision, late, quantity, canonical
FROM fleetmeter.boundary_decision AS come
JOIN fleetmeter.event USING (event_key)
WHERE come.moved_to IS NOT NULL AND verdict = 0;

-- A part of a UNION that has no join and no condition of its own is looked up by its indexes where the view is
-- joined with a month's periods; so conditions stand outside, and a report reads its month and not the ledger.
CREATE OR REPLACE VIEW fleetmeter.billing_events AS
SELECT
    fleetmeter.event_id(device.uid, billed.event_key, billed.canonical) || billed.mark AS event_id,
    2 AS schema_version,
    customer.code AS customer_id,
    metric.code AS metric,
    billed.quantity,
    billed.event_at AS "timestamp",
    fleetmeter.source_reference(device.alias, billed.event_key, billed.canonical) || billed.mark
        AS source_reference,
    contract_period.billing_period AS billing_period_id,
    billed.received_at AS ingested_at
FROM (
    SELECT event_key, canonical, '' AS mark, device_id, metric_id, period_id, quantity, event_at, received_at,
        verdict, false AS moved
    FROM fleetmeter.event
    UNION ALL
    SELECT event_key, canonical, '', device_id, metric_id, moved_to, quantity, event_at, received_at, verdict, true
    FROM fleetmeter.boundary_decision
    JOIN fleetmeter.event USING (event_key)
    WHERE moved_to IS NOT NULL
    UNION ALL
    SELECT event_key, canonical, mark, device_id, metric_id, booked_period_id, quantity, event_at, received_at,
        0::smallint, true
    FROM fleetmeter.late_usage
    WHERE quarantine_id IS NOT NULL
) AS billed
JOIN fleetmeter.contract_period USING (period_id)
JOIN fleetmeter.customer USING (customer_id)
JOIN fleetmeter.device USING (device_id)
JOIN fleetmeter.metric USING (metric_id)
WHERE billed.verdict = 0 AND (billed.moved OR NOT EXISTS (
    SELECT FROM fleetmeter.boundary_decision AS gone
    WHERE gone.event_key = billed.event_key AND gone.moved_to IS NOT NULL
));

-- Decides candidates of a period, all of them where no keys are named, and moves their sums with them; returns
-- how many were decided now. Both periods are held against consumers and seals meanwhile.
CREATE FUNCTION fleetmeter.decide_boundary(booked integer, keys uuid[], target integer, who text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS
$$
DECLARE
    done uuid[];
BEGIN
    PERFORM FROM fleetmeter.contract_period WHERE period_id IN (booked, target) ORDER BY period_id FOR UPDATE;
    IF EXISTS (SELECT FROM fleetmeter.contract_period WHERE period_id IN (booked, target) AND phase <> 'open') THEN
        RAISE EXCEPTION 'a contract period is sealed' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    WITH decided AS (
        INSERT INTO fleetmeter.boundary_decision (event_key, period_id, moved_to, actor)
        SELECT event_key, booked, target, who FROM fleetmeter.boundary_candidate
        WHERE period_id = booked AND (keys IS NULL OR event_key = ANY (keys))
        ON CONFLICT (event_key) DO NOTHING
        RETURNING event_key
    )
    SELECT coalesce(array_agg(event_key), '{}') INTO done FROM decided;
    UPDATE fleetmeter.period_count SET reviewed = reviewed + cardinality(done) WHERE period_id = booked;
    IF target IS NULL OR cardinality(done) = 0 THEN
        RETURN cardinality(done);
    END IF;
    WITH moved AS (
        SELECT metric_id, date_trunc('hour', event_at, 'UTC') AS hour, count(*) AS events,
            count(*) FILTER (WHERE late) AS late, sum(quantity) AS quantity
        FROM fleetmeter.event WHERE event_key = ANY (done) GROUP BY 1, 2
    ), taken AS (
        UPDATE fleetmeter.usage_hour AS held
        SET events = held.events - moved.events, late = held.late - moved.late, quantity = held.quantity - moved.quantity
        FROM moved WHERE held.period_id = booked AND held.metric_id = moved.metric_id AND held.hour = moved.hour
    ), given AS (
        INSERT INTO fleetmeter.usage_hour AS held (period_id, metric_id, hour, events, late, quantity)
        SELECT target, metric_id, hour, events, late, quantity FROM moved
        ON CONFLICT (period_id, metric_id, hour) DO UPDATE SET events = held.events + excluded.events,
            late = held.late + excluded.late, quantity = held.quantity + excluded.quantity
    ), total AS (
        SELECT sum(events)::bigint AS events, sum(late)::bigint AS late FROM moved
    ), fewer AS (
        UPDATE fleetmeter.period_count AS held SET events = held.events - total.events, late = held.late - total.late
        FROM total WHERE period_id = booked
    )
    INSERT INTO fleetmeter.period_count AS held (period_id, events, late)
    SELECT target, events, late FROM total
    ON CONFLICT (period_id) DO UPDATE SET events = held.events + excluded.events, late = held.late + excluded.late;
    DELETE FROM fleetmeter.usage_hour WHERE period_id = booked AND events = 0;
    RETURN cardinality(done);
END
$$;

SELECT fleetmeter.let_only_grow('boundary_candidate', 'boundary_decision', 'incomplete_decision');

REVOKE ALL ON
    fleetmeter.boundary_candidate, fleetmeter.boundary_decision, fleetmeter.period_completeness,
    fleetmeter.incomplete_decision, fleetmeter.booked_event
    FROM PUBLIC;
REVOKE ALL ON FUNCTION
    fleetmeter.decide_boundary(integer, uuid[], integer, text), fleetmeter.key_sequence(uuid),
    fleetmeter.key_from(bytea, bigint), fleetmeter.key_to(bytea, bigint),
    fleetmeter.sequence_spans(integer, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    fleetmeter.key_sequence(uuid), fleetmeter.key_from(bytea, bigint), fleetmeter.key_to(bytea, bigint),
    fleetmeter.sequence_spans(integer, integer)
    TO closer, api;
GRANT SELECT ON
    fleetmeter.boundary_candidate, fleetmeter.boundary_decision, fleetmeter.period_completeness,
    fleetmeter.incomplete_decision, fleetmeter.booked_event
    TO consumer, closer, api;
GRANT INSERT ON fleetmeter.boundary_candidate TO consumer;
GRANT UPDATE (boundary) ON fleetmeter.period_count TO consumer;
GRANT INSERT, UPDATE ON fleetmeter.period_completeness TO closer, api;
GRANT INSERT ON fleetmeter.incomplete_decision TO api;
GRANT EXECUTE ON FUNCTION fleetmeter.decide_boundary(integer, uuid[], integer, text) TO api;
