"""A worker's node disappears in a transaction: how long do its locks stay? Run it in a network namespace.

`unshare --net python -m tests.integration.ledger.vanished_client` prints the seconds for each way to vanish.
It fails when a lock outlives its client by a minute.
"""

import json
import multiprocessing
import socket
import subprocess
import time
from multiprocessing.connection import Connection as Pipe

from tests.bench.engines import directory, running_postgres

from fleetmeter_workers.ledger import database

IDLE, OWING = WAYS = ("idle", "owing an acknowledgement")
_FORK = multiprocessing.get_context("fork")


def main() -> None:
    """Start a server, lose a client in each way, wait for each one's row."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with directory() as where, running_postgres(where) as postgres:
        with database.connect("test", postgres.dsn()) as connection:
            connection.execute("CREATE TABLE public.held (way text PRIMARY KEY)")
            for way in WAYS:
                connection.execute("INSERT INTO public.held VALUES (%s)", (way,))
        for way in WAYS:
            _lose_a_client(postgres.dsn(), way)
        since = time.monotonic()
        waited = {}
        with database.connect("test", postgres.dsn()) as connection:
            connection.execute("SET lock_timeout = '60 s'")
            for way in WAYS:
                connection.execute("SELECT FROM public.held WHERE way = %s FOR UPDATE", (way,))
                waited[way] = round(time.monotonic() - since, 1)
    print(json.dumps(waited))


def _lose_a_client(dsn: str, way: str) -> None:
    """A client locks the row of `way`; then nothing reaches it or comes from it, not even its end."""
    ours, its = _FORK.Pipe()
    client = _FORK.Process(target=_client, args=(dsn, way, its))
    client.start()
    port = str(ours.recv())
    for end in ("--sport", "--dport"):
        subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", end, port, "-j", "DROP"], check=True)
    client.kill()
    client.join()


def _client(dsn: str, way: str, pipe: Pipe) -> None:
    connection = database.connect("test", dsn)
    with socket.socket(fileno=connection.fileno()) as end, connection.transaction():
        connection.execute("SELECT FROM public.held WHERE way = %s FOR UPDATE", (way,))
        pipe.send(end.getsockname()[1])
        if way == OWING:
            # The answer comes when nobody is there to acknowledge it.
            connection.execute("SELECT pg_sleep(2)")
        pipe.recv()


if __name__ == "__main__":
    main()
