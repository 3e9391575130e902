"""Planted bugs: each changes the product's text in a copy of the tree, and names a test that must notice."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("crds", "rules", "wire", "workers", "cli", "local", "cluster", "tests")
_SOURCES: Final = ("crds", "rules", "wire", "workers", "cli", "local", "cluster")
_MODEL: Final = "tests/faults/test_commit_model.py"
_STEPS: Final = "tests/unit/workers/test_consumer_steps.py"


@dataclass(frozen=True)
class Bug:
    """A change of one file, and the test that must fail with it."""

    name: str
    file: str
    text: str
    wrong: str
    test: str


BUGS: Final = (
    Bug(
        "usage received at the cut-off is in time",
        "rules/fleetmeter_rules/lateness.py",
        "in_time = received_at < cut_off",
        "in_time = received_at <= cut_off",
        "tests/unit/rules/test_lateness.py",
    ),
    Bug(
        "a month holds both of its edges",
        "rules/fleetmeter_rules/calendar.py",
        "if instant < bounds.end:",
        "if instant <= bounds.end:",
        "tests/unit/rules/test_calendar.py::test_the_edge_belongs_to_the_later_period",
    ),
    Bug(
        "lateness is judged by the clock on the wall",
        "workers/fleetmeter_workers/consumer/settle.py",
        "    decision = decide(\n        candidate.received_at,",
        "    decision = decide(\n        datetime.now(candidate.received_at.tzinfo),",
        _STEPS,
    ),
    Bug(
        "what is late is set aside before it is asked whether it is a copy",
        "workers/fleetmeter_workers/consumer/settle.py",
        "if first.fingerprint == candidate.fingerprint:",
        "if first.fingerprint == candidate.fingerprint and verdict.reason is None:",
        _STEPS,
    ),
    Bug(
        "the last of a batch's copies wins",
        "workers/fleetmeter_workers/consumer/settle.py",
        "if candidate.key in added and candidate.key not in fresh:",
        "if candidate.key in added:",
        _STEPS,
    ),
    Bug(
        "another message of a known identity is taken for a copy",
        "workers/fleetmeter_workers/consumer/settle.py",
        "if first.fingerprint == candidate.fingerprint:",
        "if first is not None:",
        _STEPS,
    ),
    Bug(
        "what is read again is counted again",
        "workers/fleetmeter_workers/consumer/tally.py",
        "counted = record.offset >= starts[record.partition].counted_offset\n        if counted:\n"
        "            kinds",
        "counted = record.offset >= 0\n        if counted:\n            kinds",
        _STEPS,
    ),
    Bug(
        "the offset moves in a transaction of its own",
        "workers/fleetmeter_workers/consumer/write.py",
        "            self._advance(records, starts, tally)",
        "        self._advance(records, starts, tally)",
        f"{_MODEL}::test_ours_loses_and_doubles_nothing[the close]",
    ),
    Bug(
        "a batch is written wherever the offset stands",
        "workers/fleetmeter_workers/consumer/write.py",
        "            if not moved:",
        "            if moved is None:",
        f"{_MODEL}::test_a_moved_offset_is_noticed_twice",
    ),
    Bug(
        "the phase of a period is read and not held",
        "workers/fleetmeter_workers/consumer/write.py",
        "held = periods.hold(self._connection, (row.period_id for row in rows.values()))",
        "held = {row.period_id: (row.phase, row.revision) for row in rows.values()}",
        f"{_MODEL}::test_ours_loses_and_doubles_nothing[the close]",
    ),
    Bug(
        "the fingerprint covers when a message was sent",
        "wire/fleetmeter_wire/envelope.py",
        "    seen = None if event_at is None else event_at.instant\n",
        '    sent = _timestamp(fields, "sentAt")\n    seen = sent.instant if sent else None\n',
        "tests/unit/wire/test_envelope.py::test_the_fingerprint_covers_content_and_not_the_sending",
    ),
    Bug(
        "a period is sealed one record too early",
        "rules/fleetmeter_rules/seal.py",
        "p.next_offset < p.required_offset]",
        "p.next_offset + 1 < p.required_offset]",
        "tests/unit/rules/test_seal.py",
    ),
    Bug(
        "the digest does not cover the quantity",
        "rules/fleetmeter_rules/seal.py",
        "texts = (row.metric, plain(row.quantity), ",
        "texts = (row.metric, ",
        "tests/unit/rules/test_seal.py",
    ),
    Bug(
        "a negative quantity is billed",
        "rules/fleetmeter_rules/number.py",
        "    if value < 0:\n",
        "    if value < -1000:\n",
        "tests/unit/rules/test_number.py",
    ),
    Bug(
        "the sequence alone names an event",
        "rules/fleetmeter_rules/identity.py",
        "_PACK(device_id, epoch, (sequence",
        "_PACK(device_id, 0, (sequence",
        "tests/unit/rules/test_identity.py",
    ),
    Bug(
        "half a cent is rounded to the even one",
        "rules/fleetmeter_rules/rounding.py",
        "from decimal import ROUND_HALF_UP, Decimal",
        "from decimal import ROUND_HALF_EVEN as ROUND_HALF_UP, Decimal",
        "tests/unit/rules/test_rounding.py",
    ),
    Bug(
        "the cents left over of a split are dropped",
        "rules/fleetmeter_rules/allocation.py",
        "for key in by_remainder[:left]:",
        "for key in by_remainder[:0]:",
        "tests/unit/rules/test_allocation.py",
    ),
    Bug(
        "a binding still holds at the instant of its end",
        "rules/fleetmeter_rules/ownership.py",
        "instant < each.valid_to)",
        "instant <= each.valid_to)",
        "tests/unit/rules/test_contracts.py",
    ),
    Bug(
        "of a name given twice the last one counts",
        "wire/fleetmeter_wire/strict_json.py",
        "if len(found) != len(pairs):",
        "if len(found) > len(pairs):",
        "tests/unit/wire/test_envelope.py",
    ),
    Bug(
        "a clock's constant error stays in the event time",
        "rules/fleetmeter_rules/event_time.py",
        "    at = reference - age\n    uncertainty = _pair_uncertainty(age, at, device.event_at, rules)\n"
        "    offset = reference - device.sent_at",
        "    at = device.event_at\n    uncertainty = _pair_uncertainty(age, at, device.event_at, rules)\n"
        "    offset = reference - device.sent_at",
        "tests/unit/rules/test_event_time.py",
    ),
)


class Tree:
    """A copy of the sources and tests, to be broken."""

    def __init__(self, directory: Path) -> None:
        """Copy everything that the tests of the bugs import."""
        self._root = directory
        for name in _COPIED:
            ignored = shutil.ignore_patterns("__pycache__", "e2e", "node_modules")
            shutil.copytree(ROOT / name, directory / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", directory)

    def plant(self, bug: Bug) -> None:
        """Put the bug in; a text that is not there stays as it is, and its test will pass."""
        path = self._root / bug.file
        path.write_text(path.read_text().replace(bug.text, bug.wrong))

    def mend(self, bug: Bug) -> None:
        """Put the file back."""
        shutil.copy(ROOT / bug.file, self._root / bug.file)

    def run(self, *tests: str) -> subprocess.CompletedProcess[str]:
        """Run these tests on the copy."""
        paths = [str(self._root), *(str(self._root / name) for name in _SOURCES)]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=self._root, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
