-- Roles of the ledger and what they may do to the database itself; safe to run again and again.
DO $$
DECLARE
    worker text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fleetmeter_owner') THEN
        CREATE ROLE fleetmeter_owner NOLOGIN;
    END IF;
    FOREACH worker IN ARRAY ARRAY['consumer', 'closer', 'api', 'gateway'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = worker) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I LOGIN', worker);
        END IF;
        EXECUTE pg_catalog.format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', worker);
        -- pg_temp last: a temporary object can never stand in for one of ours.
        EXECUTE pg_catalog.format('ALTER ROLE %I SET search_path = fleetmeter, pg_catalog, pg_temp', worker);
        EXECUTE pg_catalog.format('ALTER ROLE %I SET timezone = %L', worker, 'UTC');
        EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), worker);
    END LOOP;
    EXECUTE pg_catalog.format('REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', pg_catalog.current_database());
END
$$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS fleetmeter AUTHORIZATION fleetmeter_owner;
GRANT USAGE ON SCHEMA fleetmeter TO consumer, closer, api, gateway;
CREATE TABLE IF NOT EXISTS fleetmeter.schema_migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
ALTER TABLE fleetmeter.schema_migration OWNER TO fleetmeter_owner;
GRANT SELECT ON fleetmeter.schema_migration TO consumer, closer, api, gateway;
