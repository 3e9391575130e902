"""`fleetmeter load`: device messages from files into a region, live or as a backfill."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fleetmeter_cli.http_sender import HttpSender
from fleetmeter_cli.mqtt_sender import MqttSender
from fleetmeter_cli.sender import Sender, SendError
from fleetmeter_cli.trace import read_lines

INTERRUPTED = 130


def load(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of one JSON text a line, plain or .gz.", exists=True, dir_okay=False),
    ],
    adapter: Annotated[str, typer.Option(help="The platform they come from: chirpstack, helium or json.")],
    backfill: Annotated[
        str | None, typer.Option(help="Id of the region's open backfill, for example 20230101-20231001.")
    ] = None,
    mqtt: Annotated[str | None, typer.Option(help="HOST:PORT of the region's MQTT broker.")] = None,
    user: Annotated[str, typer.Option(help="MQTT user: backfill for a backfill, else ingest.")] = "backfill",
    password_file: Annotated[Path | None, typer.Option(help="File with the MQTT user's password.")] = None,
    password_env: Annotated[
        str | None, typer.Option(help="Environment variable with the MQTT user's password.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(help="Address of the region's gateway, instead of MQTT.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token for --http.")] = None,
    receipt: Annotated[
        bool, typer.Option(help="Wait for the gateway's receipt, not only for the MQTT broker.")
    ] = True,
    received_field: Annotated[
        str, typer.Option(help="Field with the receive time: milliseconds since 1970, or RFC 3339.")
    ] = "_timestamp",
    patience: Annotated[float, typer.Option(help="Seconds to go on while nothing is confirmed.")] = 120,
) -> None:
    """Send files of device messages to a region, each message confirmed before the command ends.

    Safe to repeat: a message that arrives twice is billed once. A line that is no message is sent as it is:
    the region sets it aside with its reason.
    """
    console = Console(stderr=True)
    try:
        if http is not None:
            sender: Sender = _http_sender(http, adapter, backfill, token_file, patience)
        else:
            password = _secret(password_file, password_env, "--password-file or --password-env")
            sender = _mqtt_sender(
                mqtt, _topic(adapter, backfill), user, password, patience=patience, receipt=receipt
            )
        _send_all(files, received_field, sender, console)
    except SendError as error:
        console.print(f"[red]fleetmeter load:[/] {error}", highlight=False)
        raise typer.Exit(1) from None


@dataclass(slots=True)
class _Sent:
    """How many messages were sent, and how many of them tell no receive time."""

    messages: int = 0
    untimed: int = 0


def _send_all(files: list[Path], received_field: str, sender: Sender, console: Console) -> None:
    """Read and send, with a bar; ends with a sentence."""
    started = time.monotonic()
    sent = _Sent()
    try:
        with _bar(console) as bar:
            for path in files:
                _send_file(path, received_field, sender, bar, sent)
    except KeyboardInterrupt:
        console.print(
            f"Interrupted: {sender.confirmed:,} of {sent.messages:,} messages sent are confirmed. Load again."
        )
        raise typer.Exit(INTERRUPTED) from None
    except (OSError, EOFError) as error:
        raise SendError(
            f"A file cannot be read: {error}. {sender.confirmed:,} messages are confirmed."
        ) from None
    finally:
        sender.close()
    seconds = max(time.monotonic() - started, 0.001)
    name = files[0].name if len(files) == 1 else f"{len(files)} files"
    console.print(
        f"Loaded {sent.messages:,} messages of {name} in {seconds:.1f} s ({sent.messages / seconds:,.0f}/s),"
        " all confirmed.",
        highlight=False,
    )
    if sent.untimed:
        console.print(
            f"{sent.untimed:,} lines tell no receive time in {received_field}: they went without one, "
            "and a backfill sets such messages aside.",
            highlight=False,
        )


def _send_file(path: Path, received_field: str, sender: Sender, bar: Progress, sent: _Sent) -> None:
    size = path.stat().st_size or 1
    task = bar.add_task(path.name, total=size, sent=0, confirmed=0)
    before = sender.confirmed
    for count, line in enumerate(read_lines(path, received_field), 1):
        sender.send(line.raw, line.received)
        sent.messages += 1
        sent.untimed += line.received is None
        if count % 200 == 0:
            bar.update(task, completed=line.position, sent=count, confirmed=sender.confirmed - before)
    sender.finish()
    done = sender.confirmed - before
    bar.update(task, completed=size, sent=done, confirmed=done)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(
            "{task.percentage:>3.0f} %  {task.fields[sent]:,} sent, {task.fields[confirmed]:,} confirmed"
        ),
        TimeElapsedColumn(),
        console=console,
    )


def _mqtt_sender(
    mqtt: str | None, topic: str, user: str, password: str, *, patience: float, receipt: bool
) -> MqttSender:
    host, _, port = (mqtt or "").rpartition(":")
    if not host or not port.isdigit():
        raise SendError(
            "Say where: --mqtt HOST:PORT of the region's broker, or --http ADDRESS of its gateway."
        )
    return MqttSender(host, int(port), user, password, topic, patience=patience, receipt=receipt)


def _topic(adapter: str, backfill: str | None) -> str:
    return f"uplink/{adapter}" if backfill is None else f"backfill/{backfill}/{adapter}"


def _http_sender(
    http: str, adapter: str, backfill: str | None, token_file: Path | None, patience: float
) -> HttpSender:
    path = f"v1/uplink/{adapter}" if backfill is None else f"v1/backfills/{backfill}/uplink/{adapter}"
    token = _secret(token_file, None, "--token-file")
    return HttpSender(f"{http.rstrip('/')}/{path}", token, patience=patience)


def _secret(file: Path | None, variable: str | None, option: str) -> str:
    if file is not None:
        try:
            return file.read_text().strip()
        except OSError as error:
            raise SendError(f"The secret cannot be read: {error}") from None
    if variable is not None and os.environ.get(variable):
        return os.environ[variable]
    raise SendError(f"A secret is needed: give it by {option}. On the command line others would see it.")
