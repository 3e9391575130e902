"""A worker whose node disappears in a transaction: its locks end within seconds, not after hours."""

import json
import subprocess
import sys

from .vanished_client import WAYS


def test_locks_of_a_lost_node_end_soon() -> None:
    """In a network of its own, where packets of one client can be dropped."""
    command = ["unshare", "--net", sys.executable, "-m", "tests.integration.ledger.vanished_client"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == set(WAYS)
