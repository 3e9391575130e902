"""A TCP proxy on loopback that can break what passes: cut, stall, or swallow the answer to a COMMIT."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from fleetmeter_cluster.ports import LOOPBACK, free_port

_CHUNK: Final = 65536
_RESET: Final = struct.pack("ii", 1, 0)
_COMMIT: Final = b"COMMIT\0"


class Proxy:
    """Passes connections of its `port` on to `target`, in a thread of its own; a context manager."""

    def __init__(self, target: int) -> None:
        """Nothing listens before the block is entered."""
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"proxy-{self.port}")
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._open: asyncio.Event | None = None
        self._swallowing = 0
        self.swallowed = 0
        """How many answers to a COMMIT were swallowed."""

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Reset every connection at once, as a firewall or a dead router does."""
        self._do(self._reset_all())

    def stall(self) -> None:
        """Pass nothing on until `go_on`; connections stay open."""
        self._do(self._set_open(False))

    def go_on(self) -> None:
        """Pass on again, and all that waited."""
        self._do(self._set_open(True))

    def swallow(self) -> None:
        """Let the next COMMIT through, but not its answer: its connection is reset once the server has
        answered."""
        self._swallowing += 1

    def forget(self) -> None:
        """Swallow nothing, if no COMMIT came."""
        self._swallowing = 0

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _set_open(self, is_open: bool) -> None:
        if self._open is not None:
            (self._open.set if is_open else self._open.clear)()

    async def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            _reset(writer)
            return
        pair = {writer, back}
        self._writers |= pair
        answers: asyncio.Queue[bool] = asyncio.Queue()
        try:
            pumps = [self._ask(reader, back, answers), self._answer(there, writer, answers)]
            tasks = [asyncio.create_task(pump) for pump in pumps]
            with suppress(asyncio.CancelledError):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._writers -= pair
            for each in pair:
                each.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Queue[bool]
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._pass()
            if self._swallowing and _COMMIT in data:
                self._swallowing -= 1
                answers.put_nowait(True)
            writer.write(data)
            await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Queue[bool]
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._pass()
            if not answers.empty():
                self.swallowed += 1
                _reset(writer)
                return
            writer.write(data)
            await writer.drain()

    async def _pass(self) -> None:
        if self._open is not None:
            await self._open.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of a goodbye."""
    found = writer.get_extra_info("socket")
    if isinstance(found, socket.socket) or hasattr(found, "setsockopt"):
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
