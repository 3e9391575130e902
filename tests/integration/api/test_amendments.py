"""Amendments in the region's status: a final period counts as open once one is due, and closes again."""

import pytest

from .conftest import add_period


@pytest.fixture
def region(region):
    del region["spec"]["backfill"]
    return region


def test_a_due_amendment_opens_its_billing_period(api) -> None:
    with api.ledger() as connection:
        one, _ = (add_period(connection, f"acme-{n}", "acme") for n in (1, 2))
        connection.execute("UPDATE fleetmeter.contract_period SET phase = 'final', sealed_at = now()")
        connection.execute(
            "INSERT INTO fleetmeter.contract_version (contract, version, customer_id, document, sha256) "
            "SELECT contract, 1, customer_id, '{\"plan\": \"standard\"}', '' FROM fleetmeter.contract_period"
        )
        add = "INSERT INTO fleetmeter.reopening (period_id, revision, due_at) VALUES (%s, %s, %s)"
        connection.execute(add, (one, 3, "2999-01-04T00:00:00Z"))
        waiting = api.status()["periods"]["eu-202301"]
        assert (waiting["final"], waiting["open"], waiting["sealable"]) == (2, 0, False)
        assert waiting["message"].endswith("late usage amends 1 of them from 2999-01-04T00:00:00Z on")

        connection.execute(add, (one, 2, "2023-03-04T00:00:00Z"))
        due = api.status()["periods"]["eu-202301"]
        assert (due["final"], due["open"], due["sealable"], due["waitingFor"]) == (1, 1, True, "")
        assert due["cutOff"] == "2023-03-04T00:00:00Z"

        connection.execute("UPDATE fleetmeter.contract_period SET revision = 2 WHERE period_id = %s", (one,))
        amended = api.status()["periods"]["eu-202301"]
        assert (amended["final"], amended["open"], amended["sealable"]) == (2, 0, False)
