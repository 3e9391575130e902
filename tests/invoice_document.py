"""An invoice as JSON values, as tests of its page change it."""

from typing import Any


def share(device: str, quantity: str, amount: str) -> dict[str, Any]:
    """A device's part of a line."""
    return {
        "device": device,
        "quantity": quantity,
        "events": 1,
        "amount": amount,
        "firstEvent": "2023-05-31T22:00:00Z",
        "lastEvent": "2023-06-30T21:59:59.999999Z",
    }


def line(**changes: Any) -> dict[str, Any]:
    """A charge's line with one tier and one device."""
    return {
        "charge": "messages",
        "description": "Device messages",
        "metric": "messages",
        "unit": "message",
        "model": "PerUnit",
        "measure": "Quantity",
        "quantity": "739",
        "events": 739,
        "devices": 1,
        "tiers": [{"from": "0", "upTo": None, "quantity": "739", "unitPrice": "0.010", "amount": "7.39"}],
        "exact": "7.39",
        "amount": "7.39",
        "byDevice": [share("hut-door", "739", "7.39")],
    } | changes


def invoice(**changes: Any) -> dict[str, Any]:
    """A month of one charge."""
    return {
        "schema": "fleetmeter.io/invoice/v1",
        "number": "EU-000006",
        "version": 1,
        "series": "EU",
        "region": "eu",
        "jurisdiction": "EU",
        "issueDate": "2023-07-04",
        "currency": "EUR",
        "seller": {
            "name": "Seller Ltd",
            "address": ["Street 1", "City"],
            "taxId": "DE1",
            "email": "a@b.example",
        },
        "customer": {"code": "acme", "name": "Acme", "address": ["Road 2"], "taxId": None},
        "contract": "acme-1",
        "plan": {"name": "standard", "version": "2023-01", "hash": "ab12"},
        "period": {
            "billingPeriod": "eu-202306",
            "start": "2023-05-31T22:00:00Z",
            "end": "2023-06-30T22:00:00Z",
            "timeZone": "Europe/Paris",
            "cutOff": "2023-07-03T22:00:00Z",
            "graceSeconds": 259200,
            "lateUsage": "Grace",
        },
        "events": 739,
        "lines": [line()],
        "adjustments": [],
        "subtotal": "7.39",
        "total": "7.39",
        "snapshot": {"events": 739, "digest": "sha256:" + "ab" * 32},
    } | changes


def adjustment(**changes: Any) -> dict[str, Any]:
    """Late usage of the month before."""
    return {
        "billingPeriod": "eu-202305",
        "contract": "acme-1",
        "invoice": "EU-000004",
        "start": "2023-04-30T22:00:00Z",
        "end": "2023-05-31T22:00:00Z",
        "planVersion": "2023-01",
        "charge": "messages",
        "description": "Device messages",
        "metric": "messages",
        "unit": "message",
        "measure": "Quantity",
        "quantity": "12",
        "bookedQuantity": "988",
        "bookedAmount": "9.88",
        "events": 12,
        "devices": 1,
        "exact": "0.12",
        "amount": "0.12",
        "byDevice": [share("hut-door", "12", "0.12")],
    } | changes
