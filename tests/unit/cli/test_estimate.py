"""What a set-aside row is worth: an amount where it has one, and words where it has none."""

from pathlib import Path
from typing import Any

import pytest

from fleetmeter_cli.estimate import estimate

PLAN = """
kind: PricingPlan
metadata: {name: fleet}
spec:
  currency: EUR
  versions:
    - version: "1"
      effectiveFrom: "2023-01-01T00:00:00Z"
      charges:
        - name: msg
          metric: messages
          model: Graduated
          tiers: [{upTo: "6", unitPrice: "0.10"}, {unitPrice: "0.03"}]
        - {name: heat, metric: heat, model: PerUnit, unitPrice: "0.10"}
        - {name: heaters, metric: heat, measure: ActiveDevices, model: PerUnit, unitPrice: "2"}
"""
PLACE = {"plan": "fleet", "start": "2023-01-01T00:00:00Z", "end": "2023-02-01T00:00:00Z", "booked": "5"}


@pytest.mark.parametrize(
    ("metric", "kind", "worth"),
    [
        ("messages", "Delta", "0.13 EUR"),
        ("heat", "Delta", "0.20 EUR, and its active device if that is new in the period"),
        ("free", "Delta", "0.00 EUR"),
        ("energy", "Cumulative", "nothing of its own: the register's next reading holds it"),
        ("level", "Gauge", "nothing of its own: a level does not add up"),
        ("steam", None, "nothing: the region does not declare the metric"),
    ],
)
def test_what_a_row_is_worth(tmp_path: Path, metric: str, kind: str | None, worth: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    item: dict[str, Any] = {"metric": metric, "kind": kind, "quantity": "2", "chosen": True}
    assert estimate(file, PLACE, item) == worth
