-- A decision about an event in doubt can be taken back while no period that it concerns is final. That is a step of
-- its own, with name and time: nothing goes away, and boundary_decision is from here on what stands of the history.
ALTER TABLE fleetmeter.boundary_decision RENAME TO boundary_history;
ALTER TABLE fleetmeter.boundary_history
    ADD COLUMN step smallint NOT NULL DEFAULT 1 CHECK (step > 0),
    ADD COLUMN undone boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT boundary_decision_pkey,
    ADD PRIMARY KEY (event_key, step),
    -- Each decision is taken back before the next one is made.
    ADD CHECK (undone = (step % 2 = 0)),
    ADD CHECK (NOT undone OR moved_to IS NULL);
-- Few decisions are taken back: to know which costs little, however many were made.
CREATE INDEX boundary_history_undone ON fleetmeter.boundary_history (event_key, step) WHERE undone;

CREATE VIEW fleetmeter.boundary_decision AS
SELECT decided_at, event_key, period_id, moved_to, actor, step
FROM fleetmeter.boundary_history AS made
WHERE NOT undone AND NOT EXISTS (
    SELECT FROM fleetmeter.boundary_history AS later
    WHERE later.undone AND later.event_key = made.event_key AND later.step = made.step + 1
);

-- As before, by the decisions that stand.
CREATE OR REPLACE VIEW fleetmeter.booked_event AS
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

-- Holds periods against consumers and seals until the transaction ends, in the order of their ids as these do;
-- raises where one is final. What it says is for people.
CREATE FUNCTION fleetmeter.hold_open(wanted integer[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    closed record;
BEGIN
    PERFORM FROM fleetmeter.contract_period WHERE period_id = ANY (wanted) ORDER BY period_id FOR UPDATE;
    SELECT billing_period, contract INTO closed FROM fleetmeter.contract_period
    WHERE period_id = ANY (wanted) AND phase <> 'open' ORDER BY starts_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% of contract % is final, and what its invoice was made of stays',
            closed.billing_period, closed.contract USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Nothing is left to decide for it; `fleetmeter invoices list` shows its invoice.';
    END IF;
END
$$;

-- Moves the sums of events from one period to another one; both are held. A credit names the period that it takes
-- usage back from, so that its event stays there.
CREATE FUNCTION fleetmeter.move_sums(keys uuid[], origin integer, target integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT FROM fleetmeter.late_usage WHERE event_key = ANY (keys) AND mark = ':credit') THEN
        RAISE EXCEPTION 'one of the events is credited, and stays in the period that the credit names'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Leave it out; `fleetmeter quarantine list --resolved` says who credited it.';
    END IF;
    WITH moved AS (
        SELECT metric_id, date_trunc('hour', event_at, 'UTC') AS hour, count(*) AS events,
            count(*) FILTER (WHERE late) AS late, sum(quantity) AS quantity
        FROM fleetmeter.event WHERE event_key = ANY (keys) GROUP BY 1, 2
    ), taken AS (
        UPDATE fleetmeter.usage_hour AS held
        SET events = held.events - moved.events, late = held.late - moved.late, quantity = held.quantity - moved.quantity
        FROM moved WHERE held.period_id = origin AND held.metric_id = moved.metric_id AND held.hour = moved.hour
    ), given AS (
        INSERT INTO fleetmeter.usage_hour AS held (period_id, metric_id, hour, events, late, quantity)
        SELECT target, metric_id, hour, events, late, quantity FROM moved
        ON CONFLICT (period_id, metric_id, hour) DO UPDATE SET events = held.events + excluded.events,
            late = held.late + excluded.late, quantity = held.quantity + excluded.quantity
    ), total AS (
        SELECT sum(events)::bigint AS events, sum(late)::bigint AS late FROM moved
    ), fewer AS (
        UPDATE fleetmeter.period_count AS held SET events = held.events - total.events, late = held.late - total.late
        FROM total WHERE period_id = origin
    )
    INSERT INTO fleetmeter.period_count AS held (period_id, events, late)
    SELECT target, events, late FROM total
    ON CONFLICT (period_id) DO UPDATE SET events = held.events + excluded.events, late = held.late + excluded.late;
    DELETE FROM fleetmeter.usage_hour WHERE period_id = origin AND events = 0;
END
$$;

-- As before: decides candidates of a period, all of them where no keys are named, and moves their sums with them;
-- returns how many were decided now.
CREATE OR REPLACE FUNCTION fleetmeter.decide_boundary(booked integer, keys uuid[], target integer, who text)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS
$$
DECLARE
    done uuid[];
BEGIN
    PERFORM fleetmeter.hold_open(ARRAY[booked, target]);
    WITH decided AS (
        INSERT INTO fleetmeter.boundary_history (event_key, period_id, moved_to, actor, step)
        SELECT event_key, booked, target, who, 1 + (
            SELECT count(*) FROM fleetmeter.boundary_history AS past WHERE past.event_key = own.event_key
        )
        FROM fleetmeter.boundary_candidate AS own
        WHERE period_id = booked AND (keys IS NULL OR event_key = ANY (keys)) AND NOT EXISTS (
            SELECT FROM fleetmeter.boundary_decision AS stands WHERE stands.event_key = own.event_key
        )
        RETURNING event_key
    )
    SELECT coalesce(array_agg(event_key), '{}') INTO done FROM decided;
    UPDATE fleetmeter.period_count SET reviewed = reviewed + cardinality(done) WHERE period_id = booked;
    IF target IS NOT NULL AND cardinality(done) > 0 THEN
        PERFORM fleetmeter.move_sums(done, booked, target);
    END IF;
    RETURN cardinality(done);
END
$$;

-- Takes back the decisions about events that stand, and their sums with them; returns how many were taken back now.
CREATE FUNCTION fleetmeter.undo_boundary(keys uuid[], who text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS
$$
DECLARE
    involved integer[];
    part record;
    done bigint := 0;
BEGIN
    SELECT array_agg(period_id) || array_agg(moved_to) INTO involved
    FROM fleetmeter.boundary_decision WHERE event_key = ANY (keys);
    PERFORM fleetmeter.hold_open(involved);
    FOR part IN
        -- One that was decided anew before the lock, about a period that is not held, stays.
        WITH stood AS MATERIALIZED (
            SELECT event_key, period_id, moved_to, step FROM fleetmeter.boundary_decision
            WHERE event_key = ANY (keys) AND period_id = ANY (involved)
                AND (moved_to IS NULL OR moved_to = ANY (involved))
        ), undone AS (
            INSERT INTO fleetmeter.boundary_history (event_key, period_id, actor, step, undone)
            SELECT event_key, period_id, who, step + 1, true FROM stood
        )
        SELECT period_id, moved_to, array_agg(event_key) AS events FROM stood GROUP BY 1, 2
    LOOP
        UPDATE fleetmeter.period_count SET reviewed = reviewed - cardinality(part.events)
        WHERE period_id = part.period_id;
        IF part.moved_to IS NOT NULL THEN
            PERFORM fleetmeter.move_sums(part.events, part.moved_to, part.period_id);
        END IF;
        done := done + cardinality(part.events);
    END LOOP;
    RETURN done;
END
$$;

REVOKE ALL ON fleetmeter.boundary_decision FROM PUBLIC;
REVOKE ALL ON FUNCTION
    fleetmeter.hold_open(integer[]), fleetmeter.move_sums(uuid[], integer, integer),
    fleetmeter.undo_boundary(uuid[], text)
    FROM PUBLIC;
GRANT SELECT ON fleetmeter.boundary_decision TO consumer, closer, api;
GRANT EXECUTE ON FUNCTION fleetmeter.undo_boundary(uuid[], text) TO api;
