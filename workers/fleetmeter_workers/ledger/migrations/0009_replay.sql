-- Replays: who had which records read again. A replay sets next_offset back, never counted_offset.
CREATE TABLE fleetmeter.replay (
    replay_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    requested_at timestamptz NOT NULL DEFAULT now(),
    topic        text NOT NULL,
    actor        text NOT NULL CHECK (actor <> ''),
    -- Partition number -> offset: where reading begins again, and up to where everything was counted then.
    from_offsets jsonb NOT NULL,
    to_offsets   jsonb NOT NULL,
    -- The ledger's sums before it, to compare with those after it.
    sums         jsonb NOT NULL
);
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON fleetmeter.replay
    FOR EACH ROW EXECUTE FUNCTION fleetmeter.refuse_change();
ALTER TABLE fleetmeter.replay ENABLE ALWAYS TRIGGER only_grows;
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON fleetmeter.replay
    FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.refuse_change();
ALTER TABLE fleetmeter.replay ENABLE ALWAYS TRIGGER never_emptied;

REVOKE ALL ON fleetmeter.replay FROM PUBLIC;
GRANT SELECT, INSERT (topic, actor, from_offsets, to_offsets, sums) ON fleetmeter.replay TO api;
GRANT UPDATE (next_offset) ON fleetmeter.partition_offset TO api;

-- For the duplicates of the last hours, over all customers.
CREATE INDEX duplicate_hour_hour ON fleetmeter.duplicate_hour (hour);
