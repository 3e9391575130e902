-- The public face of a billed event: its id, its reference, and the view with the names that reports use.
CREATE FUNCTION fleetmeter.identity_part(value text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8');

CREATE FUNCTION fleetmeter.key_number(key uuid, first integer, bytes integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ('x' || lpad(encode(substr(uuid_send(key), first, bytes), 'hex'), 16, '0'))::bit(64)::bigint;

-- The canonical identity behind a row: the same bytes as `identity.canonical` of the rules.
CREATE FUNCTION fleetmeter.canonical_identity(uid text, key uuid, canonical bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(nullif(canonical, ''), '\x666d31'::bytea || (
    SELECT CASE packed.layout
        WHEN 1 THEN fleetmeter.identity_part('Lorawan') || fleetmeter.identity_part(uid)
            || fleetmeter.identity_part('addr:' || encode(substr(uuid_send(key), 5, 4), 'hex'))
        WHEN 2 THEN fleetmeter.identity_part('Lorawan') || fleetmeter.identity_part(uid)
            || fleetmeter.identity_part('none')
        WHEN 3 THEN fleetmeter.identity_part('EpochSequence') || fleetmeter.identity_part(uid)
            || fleetmeter.identity_part(fleetmeter.key_number(key, 5, 4)::text)
        WHEN 4 THEN fleetmeter.identity_part('ProducerId') || fleetmeter.identity_part(uid)
            || fleetmeter.identity_part('')
        END
        || fleetmeter.identity_part(fleetmeter.key_number(key, 9, 6)::text)
        || fleetmeter.identity_part((packed.tail & 4095)::text)
    FROM (SELECT fleetmeter.key_number(key, 15, 2) AS tail, fleetmeter.key_number(key, 15, 2) >> 12 AS layout) AS packed
));

CREATE FUNCTION fleetmeter.event_id(uid text, key uuid, canonical bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'sha256:' || encode(sha256(fleetmeter.canonical_identity(uid, key, canonical)), 'hex');

-- The alias and, behind a colon, what tells this event of the device from every other one.
CREATE FUNCTION fleetmeter.source_reference(alias text, key uuid, canonical bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN alias || ':' || CASE WHEN canonical <> '' THEN 'hash:' || encode(substr(uuid_send(key), 5, 12), 'hex')
    ELSE (
        SELECT CASE packed.tail >> 12
            WHEN 1 THEN 'addr:' || encode(substr(uuid_send(key), 5, 4), 'hex') || ':'
            WHEN 3 THEN 'epoch:' || fleetmeter.key_number(key, 5, 4) || ':'
            WHEN 4 THEN 'id:'
            ELSE '' END
            || fleetmeter.key_number(key, 9, 6)
            || CASE WHEN packed.tail & 4095 = 0 THEN '' ELSE '.' || (packed.tail & 4095) END
        FROM (SELECT fleetmeter.key_number(key, 15, 2) AS tail) AS packed
    ) END;

CREATE VIEW fleetmeter.billing_events AS
SELECT
    fleetmeter.event_id(device.uid, event.event_key, event.canonical) AS event_id,
    2 AS schema_version,
    customer.code AS customer_id,
    metric.code AS metric,
    event.quantity,
    event.event_at AS "timestamp",
    fleetmeter.source_reference(device.alias, event.event_key, event.canonical) AS source_reference,
    contract_period.billing_period AS billing_period_id,
    event.received_at AS ingested_at
FROM fleetmeter.event
JOIN fleetmeter.contract_period USING (period_id)
JOIN fleetmeter.customer USING (customer_id)
JOIN fleetmeter.device USING (device_id)
JOIN fleetmeter.metric USING (metric_id)
WHERE event.verdict = 0;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fleetmeter FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    fleetmeter.identity_part(text), fleetmeter.key_number(uuid, integer, integer),
    fleetmeter.canonical_identity(text, uuid, bytea), fleetmeter.event_id(text, uuid, bytea),
    fleetmeter.source_reference(text, uuid, bytea)
    TO consumer, closer, api;
GRANT SELECT ON fleetmeter.billing_events TO consumer, closer, api;
