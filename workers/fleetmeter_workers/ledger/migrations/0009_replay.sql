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
SELECT fleetmeter.let_only_grow('replay');

REVOKE ALL ON fleetmeter.replay FROM PUBLIC;
GRANT SELECT, INSERT (topic, actor, from_offsets, to_offsets, sums) ON fleetmeter.replay TO api;
GRANT UPDATE (next_offset) ON fleetmeter.partition_offset TO api;

-- For the duplicates of the last hours, over all customers.
CREATE INDEX duplicate_hour_hour ON fleetmeter.duplicate_hour (hour);
