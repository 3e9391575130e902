"""Steps: side by side, with their logs, told when they fail, ended when one fails."""

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step, Steps, await_true


@pytest.fixture
def screen() -> Console:
    """A console that is no terminal and keeps what it is told."""
    return Console(file=io.StringIO(), width=200)


def text(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_steps_run_side_by_side(screen: Console) -> None:
    meeting = threading.Barrier(2, timeout=20)
    with Steps("both", console=screen) as steps:
        steps.together({"one": lambda _: meeting.wait(), "two": lambda _: meeting.wait()})
    assert "✓ one" in text(screen)
    assert "✓ two" in text(screen)


def test_a_step_returns_what_its_work_returns(screen: Console) -> None:
    with Steps("value", console=screen) as steps:
        assert steps.run("seven", lambda _: 7) == 7


def test_output_of_commands_goes_to_the_log(screen: Console, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "echo.log"
    with Steps("log", console=screen) as steps:
        printed = steps.run(
            "echo", lambda step: step.command(["sh", "-c", "echo out; echo err >&2"]), log=log
        )
    assert "out" in printed
    assert log.read_text().splitlines()[-2:] == ["out", "err"]
    assert str(log) in text(screen)


def test_a_failed_command_is_told_with_its_last_words_and_its_log(screen: Console, tmp_path: Path) -> None:
    log = tmp_path / "false.log"
    with pytest.raises(Failure) as caught, Steps("failing", console=screen) as steps:
        steps.run("cry", lambda step: step.command(["sh", "-c", "echo no such thing; exit 3"]), log=log)
    assert "exited with 3" in str(caught.value)
    assert "no such thing" in str(caught.value)
    assert str(log) in str(caught.value)
    assert "✗ cry" in text(screen)


def test_a_program_that_does_not_exist_is_a_failure(screen: Console) -> None:
    with pytest.raises(Failure), Steps("failing", console=screen) as steps:
        steps.run("start", lambda step: step.command(["no-such-program-here"]))


def test_a_failure_ends_the_commands_that_run_beside(screen: Console, tmp_path: Path) -> None:
    started = tmp_path / "started"

    def fail(step: Step) -> None:
        await_true(started.exists, "the other command to start", step=step, seconds=20)
        raise Failure("one failed")

    with pytest.raises(Failure, match="one failed"), Steps("two", console=screen) as steps:
        slow = steps.start("slow", lambda step: step.command(["sh", "-c", f"touch {started}; sleep 1000"]))
        steps.run("fail", fail)
    assert isinstance(slow.exception(timeout=20), Failure)


def test_an_interrupt_ends_a_step_that_waits(screen: Console) -> None:
    waiting = threading.Event()

    def wait(step: Step) -> None:
        waiting.set()
        await_true(lambda: False, "nothing", step=step, seconds=1000)

    with pytest.raises(KeyboardInterrupt), Steps("interrupted", console=screen) as steps:
        endless = steps.start("endless", wait)
        assert waiting.wait(20)
        raise KeyboardInterrupt
    assert isinstance(endless.exception(timeout=20), Failure)


def test_waiting_in_vain_names_what_was_awaited() -> None:
    with pytest.raises(Failure, match="in vain for the moon"):
        await_true(lambda: False, "the moon", seconds=0.1)
