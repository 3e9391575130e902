-- Usage that is billed by another invoice than its own month's first one, and what a person made of what was
-- set aside.

-- A row of event has revision 1 where it was received in time; 0 where its contract defers it here from an
-- earlier period, which late_usage names; more than 1 where its contract reopens the period: the amendment
-- that seals this revision bills it.

-- What belongs to one contract period and is billed by another one's invoice. The rows of deferred events are
-- also in event (quarantine_id is NULL); the others were set aside, and a person had them billed or credited.
CREATE TABLE fleetmeter.late_usage (
    event_at         timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    quarantine_id    bigint REFERENCES fleetmeter.quarantine,
    event_key        uuid NOT NULL,
    period_id        integer NOT NULL REFERENCES fleetmeter.contract_period,
    booked_period_id integer NOT NULL REFERENCES fleetmeter.contract_period,
    device_id        integer NOT NULL REFERENCES fleetmeter.device,
    metric_id        smallint NOT NULL REFERENCES fleetmeter.metric,
    -- More than 1 where an amended invoice of its own period bills it.
    revision         smallint NOT NULL DEFAULT 1 CHECK (revision > 0),
    quantity         numeric(20, 10) NOT NULL CHECK (quantity <> 'NaN'),
    -- Empty for the identity's own event; `:credit` for its taking back; a colon and the fingerprint for other
    -- content that came under the same identity. Behind the event's id it names the row.
    mark             text NOT NULL DEFAULT '',
    canonical        bytea NOT NULL,
    PRIMARY KEY (event_key, mark),
    CHECK (quantity >= 0 OR mark = ':credit'),
    CHECK (revision = 1 OR period_id = booked_period_id),
    CHECK (quarantine_id IS NOT NULL OR mark = '')
);
CREATE INDEX late_usage_booked ON fleetmeter.late_usage (booked_period_id, period_id);
CREATE INDEX late_usage_period ON fleetmeter.late_usage (period_id, booked_period_id);
CREATE INDEX late_usage_quarantine ON fleetmeter.late_usage (quarantine_id) WHERE quarantine_id IS NOT NULL;

-- A final period's revision that has usage, and the cut-off at which it is sealed as an amended invoice.
CREATE TABLE fleetmeter.reopening (
    due_at    timestamptz NOT NULL,
    period_id integer NOT NULL REFERENCES fleetmeter.contract_period,
    revision  smallint NOT NULL CHECK (revision > 1),
    PRIMARY KEY (period_id, revision)
);

ALTER TABLE fleetmeter.invoice
    ADD COLUMN revision smallint NOT NULL DEFAULT 1 CHECK (revision > 0),
    ADD COLUMN amends text REFERENCES fleetmeter.invoice CHECK (amends IS NULL OR version > 1);

ALTER TABLE fleetmeter.quarantine ADD COLUMN note text;
CREATE INDEX contract_period_of_customer ON fleetmeter.contract_period (customer_id, starts_at);
CREATE INDEX quarantine_device ON fleetmeter.quarantine (device_id, quarantine_id) WHERE resolution IS NULL;

-- From here on rows of these tables are added, and never changed or taken away.
CREATE FUNCTION fleetmeter.let_only_grow(VARIADIC names text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY names LOOP
        EXECUTE format('CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON fleetmeter.%I '
                       'FOR EACH ROW EXECUTE FUNCTION fleetmeter.refuse_change()', name);
        EXECUTE format('ALTER TABLE fleetmeter.%I ENABLE ALWAYS TRIGGER only_grows', name);
        EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON fleetmeter.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.refuse_change()', name);
        EXECUTE format('ALTER TABLE fleetmeter.%I ENABLE ALWAYS TRIGGER never_emptied', name);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION fleetmeter.let_only_grow(text[]) FROM PUBLIC;
SELECT fleetmeter.let_only_grow('late_usage', 'reopening');

-- A resolution is given once.
CREATE TRIGGER resolved_once BEFORE UPDATE ON fleetmeter.quarantine
    FOR EACH ROW WHEN (OLD.resolution IS NOT NULL)
    EXECUTE FUNCTION fleetmeter.refuse_change();
ALTER TABLE fleetmeter.quarantine ENABLE ALWAYS TRIGGER resolved_once;

REVOKE ALL ON fleetmeter.late_usage, fleetmeter.reopening FROM PUBLIC;
GRANT SELECT ON fleetmeter.late_usage, fleetmeter.reopening TO consumer, closer, api;
GRANT INSERT ON fleetmeter.late_usage, fleetmeter.reopening TO consumer;

-- The API books what a person had billed: the entry, its sums, and the period that takes it.
GRANT INSERT ON fleetmeter.late_usage, fleetmeter.reopening TO api;
GRANT INSERT (contract, customer_id, billing_period, starts_at, ends_at, cutoff_at, late_usage)
    ON fleetmeter.contract_period TO api;
GRANT UPDATE (fence) ON fleetmeter.contract_period TO api;
GRANT INSERT, UPDATE ON fleetmeter.usage_hour TO api;
GRANT INSERT (period_id, events, late), UPDATE (events, late) ON fleetmeter.period_count TO api;
GRANT UPDATE (note) ON fleetmeter.quarantine TO api;
