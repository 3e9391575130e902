-- How far event_at can be trusted, and what was mended to find it: rules/time_evidence.py reads the number. Three
-- bits are the quality, the others flags; 0 is a row of before this was recorded, or one without a time.
ALTER TABLE fleetmeter.event ADD COLUMN evidence smallint NOT NULL DEFAULT 0;
