-- Who may do what, and what nobody may do: the ledger only grows.
CREATE FUNCTION fleetmeter.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    RAISE EXCEPTION '% of fleetmeter.% is refused: it only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Correct by a new row: a resolution, an adjustment or an amended invoice.';
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['event', 'invoice', 'contract_version', 'device_binding'] LOOP
        EXECUTE format('CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON fleetmeter.%I '
                       'FOR EACH ROW EXECUTE FUNCTION fleetmeter.refuse_change()', name);
        EXECUTE format('ALTER TABLE fleetmeter.%I ENABLE ALWAYS TRIGGER only_grows', name);
    END LOOP;
    CREATE TRIGGER only_grows BEFORE DELETE ON fleetmeter.quarantine
        FOR EACH ROW EXECUTE FUNCTION fleetmeter.refuse_change();
    ALTER TABLE fleetmeter.quarantine ENABLE ALWAYS TRIGGER only_grows;
    FOREACH name IN ARRAY ARRAY['event', 'invoice', 'contract_version', 'device_binding', 'quarantine'] LOOP
        EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON fleetmeter.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.refuse_change()', name);
        EXECUTE format('ALTER TABLE fleetmeter.%I ENABLE ALWAYS TRIGGER never_emptied', name);
    END LOOP;
END
$$;

-- A number that grows with every change to what workers keep in memory; they read it before each batch.
CREATE FUNCTION fleetmeter.note_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    UPDATE fleetmeter.registry_change SET number = number + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER changed AFTER UPDATE OF alias, device_class, registered_at ON fleetmeter.device
    FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.note_change();
CREATE TRIGGER changed AFTER INSERT ON fleetmeter.device_binding
    FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.note_change();
CREATE TRIGGER changed AFTER INSERT ON fleetmeter.contract_version
    FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.note_change();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OF state ON fleetmeter.backfill
    FOR EACH STATEMENT EXECUTE FUNCTION fleetmeter.note_change();

-- Invoices and their digests name devices by alias.
CREATE TRIGGER alias_stays BEFORE UPDATE OF alias ON fleetmeter.device
    FOR EACH ROW WHEN (OLD.alias IS NOT NULL AND NEW.alias IS DISTINCT FROM OLD.alias)
    EXECUTE FUNCTION fleetmeter.refuse_change();
ALTER TABLE fleetmeter.device ENABLE ALWAYS TRIGGER alias_stays;

REVOKE ALL ON ALL TABLES IN SCHEMA fleetmeter FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fleetmeter FROM PUBLIC;

GRANT SELECT ON
    fleetmeter.customer, fleetmeter.metric, fleetmeter.device, fleetmeter.device_binding,
    fleetmeter.contract_version, fleetmeter.backfill, fleetmeter.contract_period, fleetmeter.event,
    fleetmeter.quarantine, fleetmeter.usage_hour, fleetmeter.duplicate_hour, fleetmeter.period_count,
    fleetmeter.partition_offset, fleetmeter.registry_change
    TO consumer, closer, api;
GRANT SELECT ON fleetmeter.contract_refusal, fleetmeter.invoice, fleetmeter.invoice_series TO closer, api;
GRANT SELECT ON fleetmeter.customer, fleetmeter.device, fleetmeter.device_binding, fleetmeter.backfill,
    fleetmeter.registry_change TO gateway;

-- The consumer adds what it decided, and moves its sums and offsets.
GRANT INSERT ON fleetmeter.event, fleetmeter.quarantine, fleetmeter.metric, fleetmeter.period_count TO consumer;
GRANT INSERT (uid) ON fleetmeter.device TO consumer;
GRANT INSERT (code) ON fleetmeter.customer TO consumer;
GRANT INSERT (contract, customer_id, billing_period, starts_at, ends_at, cutoff_at, late_usage)
    ON fleetmeter.contract_period TO consumer, closer;
GRANT UPDATE (fence) ON fleetmeter.contract_period TO consumer;
GRANT UPDATE (opened_at) ON fleetmeter.backfill TO consumer;
GRANT INSERT (backfill_id, range_from, range_to) ON fleetmeter.backfill TO consumer, api;
GRANT INSERT, UPDATE ON fleetmeter.usage_hour, fleetmeter.duplicate_hour, fleetmeter.partition_offset TO consumer;
GRANT UPDATE (events, late, duplicates, quarantined) ON fleetmeter.period_count TO consumer;

-- The closer seals and invoices; it adds no usage.
GRANT UPDATE (phase, sealed_at, revision, fence) ON fleetmeter.contract_period TO closer;
GRANT INSERT ON fleetmeter.period_count TO closer;
GRANT INSERT ON fleetmeter.invoice TO closer;
GRANT INSERT, UPDATE ON fleetmeter.invoice_series TO closer;

-- The API registers, reads contracts in, decides backfills and resolves what was set aside.
GRANT INSERT (code) ON fleetmeter.customer TO api;
GRANT INSERT (uid, alias, device_class, registered_at, registered_by) ON fleetmeter.device TO api;
GRANT UPDATE (alias, device_class, registered_at, registered_by) ON fleetmeter.device TO api;
GRANT INSERT ON fleetmeter.device_binding, fleetmeter.contract_version TO api;
GRANT INSERT, DELETE ON fleetmeter.contract_refusal TO api;
GRANT UPDATE (state, end_offsets, actor, decided_at) ON fleetmeter.backfill TO api;
GRANT UPDATE (resolution, resolved_at, resolved_by) ON fleetmeter.quarantine TO api;
