"""`python -m fleetmeter_local`: the line on loopback, for a look, for development, for a demo."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Steps
from fleetmeter_local import running
from fleetmeter_local.demo import OUTPUT, bring_up, close_all, noted_line, replay, running_line, save, show
from fleetmeter_local.line import Line
from fleetmeter_local.process import ProcessError

INTERRUPTED = 130

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Fleetmeter's line as processes on loopback."
)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Leave the line running until Ctrl-C.")] = False,
) -> None:
    """Load two traces of real devices, close nine months, and show the invoices."""
    with _told(), running_line() as line, noted_line(line):
        with Steps("Fleetmeter on loopback") as steps, _ended_at_once(line):
            bring_up(steps, line)
            replay(steps, line)
            close_all(steps, line)
            steps.run("save the invoices", lambda _: save(line, OUTPUT))
        show(console, line, OUTPUT)
        if keep:
            _stay(line)
        else:
            console.print("Nothing is left running; `make local` runs it again with the same totals.")


@app.command()
def up() -> None:
    """Start an empty line of the example region and keep it running until Ctrl-C or `down`."""
    with _told(), running_line() as line, noted_line(line):
        with Steps("Fleetmeter on loopback") as steps, _ended_at_once(line):
            bring_up(steps, line)
        _stay(line)


@app.command()
def status() -> None:
    """Say which lines run here, and where they listen."""
    notes = running.all_notes()
    for note in notes:
        console.print(
            f"line of process {note.pid}: API {note.api}, gateway {note.gateway}, MQTT {note.mqtt}, "
            f"logs and files in {note.directory}"
        )
    if not notes:
        console.print("No line runs here.")


@app.command()
def down() -> None:
    """End the lines that run here."""
    notes = running.all_notes()
    for note in notes:
        ended = running.end(note)
        console.print(f"The line of process {note.pid} {'is gone' if ended else 'still ends; ask `status`'}.")
    if not notes:
        console.print("No line runs here.")


@contextmanager
def _told() -> Generator[None]:
    """Failures end with a sentence, an interruption with the word that nothing is left."""
    try:
        yield
    except (ProcessError, Failure) as failure:
        console.print(f"\nStopped: {failure}", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("\nInterrupted; everything that was started has ended.")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _ended_at_once(line: Line) -> Generator[None]:
    """End the processes before the steps that wait for them are waited for."""
    try:
        yield
    except BaseException:
        line.stop()
        raise


def _stay(line: Line) -> None:
    """Say where everything is and stay until Ctrl-C, or until a process has ended by itself."""
    token = line.directory / "admin.token"
    token.touch(mode=0o600)
    token.write_text(line.files.tokens["admin"])
    console.print(f"\nRegion API  {line.api.url}/v1/invoices   with `Authorization: Bearer $(cat {token})`")
    console.print(f"Status      {line.api.status_url}/status")
    console.print(f"Gateway     {line.gateway.url}   MQTT 127.0.0.1:{line.mosquitto.port}")
    console.print(f"Ledger      psql '{line.postgres.dsn(line.database)}'")
    console.print(f"Logs        {line.logs}")
    console.print("Ctrl-C ends it all (or `python -m fleetmeter_local down` elsewhere).")
    while (ended := next((part for part in line.processes if not part.running), None)) is None:
        time.sleep(0.5)
    raise ProcessError(f"{ended.name} ended by itself. {ended.last_words()}")


if __name__ == "__main__":
    app()
