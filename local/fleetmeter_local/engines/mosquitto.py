"""Mosquitto on loopback, with the image's own settings, users and rights."""

import os
import secrets
import shutil
from pathlib import Path

from fleetmeter_cluster.ports import LOOPBACK, free_port, listening
from fleetmeter_local.process import Process, ProcessError, own

SCRIPT = Path(__file__).resolve().parents[3] / "images" / "mosquitto" / "start-mosquitto"
USERS = ("gateway", "ingest", "backfill")
ACCOUNT = "mosquitto"
DAEMONS = "/usr/sbin:/usr/local/sbin"
"""Where the package puts its broker, which is not on everybody's path."""


class Mosquitto:
    """One broker with the users `passwords`; its sessions are kept in `directory`."""

    def __init__(self, directory: Path, logs: Path) -> None:
        """Describe the broker. Raises ProcessError when the package is missing."""
        search = f"{os.environ.get('PATH', os.defpath)}:{DAEMONS}"
        if shutil.which("mosquitto", path=search) is None:
            raise ProcessError("Mosquitto is not installed. Install the package mosquitto and try again.")
        self.port = free_port()
        self.passwords = {user: secrets.token_urlsafe(24) for user in USERS}
        self._data = directory / "mosquitto"
        self._user = ACCOUNT if os.geteuid() == 0 else None
        self.process = Process(
            "mosquitto",
            # The text and not the file: the broker's account may not be able to enter our folder.
            ["sh", "-c", SCRIPT.read_text()],
            log=logs / "mosquitto.log",
            user=self._user,
            env={
                "PATH": search,
                "MQTT_DATA": str(self._data),
                "MQTT_CONF": str(self._data / "settings"),
                "MQTT_PORT": str(self.port),
                "MQTT_LISTEN": LOOPBACK,
                **{f"MQTT_PASSWORD_{user.upper()}": word for user, word in self.passwords.items()},
            },
        )

    def start(self) -> None:
        """Start the broker, with the sessions that it had."""
        if not self._data.exists():
            self._data.mkdir(mode=0o700)
            own(self._data, self._user)
        self.process.start()

    def await_ready(self) -> None:
        """Return when the broker accepts connections."""
        self.process.await_ready(lambda: listening(self.port))

    def stop(self) -> None:
        """Stop the broker; it writes its sessions to disk first."""
        self.process.stop()
