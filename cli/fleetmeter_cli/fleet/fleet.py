"""Fleet: all devices of a profile, and the files that tell their messages, their owners and the truth."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from fleetmeter_cli.fleet.arrival import in_order, open_text
from fleetmeter_cli.fleet.chance import chance
from fleetmeter_cli.fleet.device import Device
from fleetmeter_cli.fleet.outage import Outage, storms
from fleetmeter_cli.fleet.ownership import registry_lines
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.fleet.truth import Contents, Truth
from fleetmeter_cli.fleet.unit import devices_of

MESSAGES: Final = "messages.ndjson"
REGISTRY: Final = "registry.ndjson"
TRUTH: Final = "truth.ndjson"


class Fleet:
    """A fleet that is the same for the same profile, on every machine. `contents` counts what is in it."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.contents = Contents()
        self._storms: list[Outage] = storms(profile, chance(profile.seed, "storms"))

    def write(self, folder: Path) -> Generator[int]:
        """Write the three files; yields after each message how many there are. Raises OSError.

        The folder must exist. Each file has its name only when all are whole.
        """
        self.contents.add("reconnect storms", len(self._storms))
        drafts = {name: folder / f".{name}.part" for name in (MESSAGES, REGISTRY, TRUTH)}
        try:
            with ExitStack() as files:
                out, registry, told = (files.enter_context(open_text(path, "w")) for path in drafts.values())
                profile = self.profile
                truth = Truth(told, profile.metric, profile.start_at, profile.end_at, self.contents)
                devices = self._registered(registry.write)
                number = 0
                for number, message in enumerate(in_order(devices, profile, truth, folder), start=1):
                    out.write(message + "\n")
                    yield number
            self.contents.add("messages", number)
            for name, draft in drafts.items():
                draft.replace(folder / name)
        finally:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)

    def _registered(self, register: Callable[[str], object]) -> Iterator[Device]:
        """The devices one after the other, each written into the registry."""
        for unit in range(self.profile.devices):
            for device in devices_of(self.profile, self._storms, unit, self.contents):
                register(registry_lines(device.uid, device.alias, self.profile.device_class, device.held))
                yield device
