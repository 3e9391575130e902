"""A child process: its log, its readiness, its end."""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOG_LINES_SHOWN = 15


class ProcessError(RuntimeError):
    """A process ended, or did not become ready in time; the message names its log and shows its end."""


class Process:
    """One child process. Start it from a main thread: the kernel kills it when the thread that did ends."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        directory: Path | None = None,
    ) -> None:
        """Describe the process; `user` is the account it runs as when the caller is root."""
        self.name = name
        self.log = log
        self._command = [*_prefix(user), *command]
        self._env = _base_environment() | dict(env or {})
        self._directory = directory
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises ProcessError if it was never started."""
        if self._child is None:
            raise ProcessError(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, once more if it has ended; its output is appended to the log."""
        if self.running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(  # noqa: S603 - the command is ours
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._directory,
                start_new_session=True,
            )

    def await_ready(self, ready: Callable[[], bool], *, seconds: float = 60) -> None:
        """Return as soon as `ready()` is true. Raises ProcessError when it ends or the time is up."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ProcessError(f"{self.name} ended before it was ready. {self.last_words()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} was not ready after {seconds:.0f} s. {self.last_words()}")
            time.sleep(0.05)

    def await_end(self, *, seconds: float) -> int:
        """The exit code, as soon as it has ended. Raises ProcessError when the time is up."""
        if self._child is None:
            raise ProcessError(f"{self.name} was not started")
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} still runs after {seconds:.0f} s. {self.last_words()}") from None

    def stop(self, *, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """Ask it to end, and kill it when it has not after `seconds`."""
        self.ask_to_end(number=number)
        if self._child is None:
            return
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask_to_end(self, *, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal that ends it, without waiting; a paused process is resumed first."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.send_signal(number)

    def kill(self) -> None:
        """Kill it at once, as a power cut would."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def pause(self) -> None:
        """Stop it from running, with its connections open (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def last_words(self) -> str:
        """Where the log is, and its last lines."""
        lines = (
            self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:] if self.log.exists() else []
        )
        return "\n".join([f"Its log is {self.log}; it ends with:", *(f"    {line}" for line in lines)])


def run(
    command: Sequence[str], *, log: Path, user: str | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a command to its end, output to the log. Raises ProcessError when it fails."""
    process = Process(Path(command[0]).name, command, log=log, user=user, env=env)
    process.start()
    try:
        code = process.await_end(seconds=120)
    finally:
        process.kill()
    if code:
        raise ProcessError(f"{process.name} ended with code {code}. {process.last_words()}")


def own(path: Path, user: str | None) -> None:
    """Give a directory to the account that a process runs as, when the caller is root."""
    if user is not None and os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)


def _prefix(user: str | None) -> list[str]:
    """The child ends with its parent, even when that is killed; root steps down to `user`."""
    prefix = ["setpriv", "--pdeathsig", "KILL"]
    if user is not None and os.geteuid() == 0:
        account = pwd.getpwnam(user)
        prefix += ["--reuid", user, "--regid", str(account.pw_gid), "--init-groups"]
    return prefix


def _base_environment() -> dict[str, str]:
    """What every child gets of our environment: nothing that configures an engine by accident."""
    kept = ("PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}
