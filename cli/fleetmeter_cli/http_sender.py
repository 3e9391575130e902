"""Sends messages by HTTP in batches of lines; sends a batch again until the gateway has made it durable."""

import time

import httpx

from fleetmeter_cli.sender import SendError

BATCH_LINES = 500
BATCH_BYTES = 1024 * 1024
RETRY_SECONDS = 1.0


class HttpSender:
    """One address of a gateway; every batch is one request."""

    def __init__(self, url: str, token: str, *, patience: float) -> None:
        """`url`: where messages are posted to. `patience`: seconds to go on after failures."""
        self._url = url
        self._patience = patience
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False)
        self._batch: list[tuple[bytes, int | None]] = []
        self._size = 0
        self._confirmed = 0

    @property
    def confirmed(self) -> int:
        """Messages that the gateway has confirmed so far."""
        return self._confirmed

    def send(self, raw: bytes, received: int | None) -> None:
        """Add to the batch; a full one is sent first."""
        if len(self._batch) >= BATCH_LINES or (self._batch and self._size + len(raw) > BATCH_BYTES):
            self._post()
        self._batch.append((raw, received))
        self._size += len(raw)

    def finish(self) -> None:
        """Send the last batch."""
        if self._batch:
            self._post()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _post(self) -> None:
        headers = {"Content-Type": "application/x-ndjson"}
        if any(received is not None for _, received in self._batch):
            stated = ("" if received is None else str(received) for _, received in self._batch)
            headers["Fleetmeter-Received"] = ",".join(stated)
        content = b"\n".join(raw for raw, _ in self._batch)
        deadline = time.monotonic() + self._patience
        while (trouble := self._attempt(content, headers)) is not None:
            if time.monotonic() > deadline:
                raise SendError(
                    f"The gateway at {self._url} took nothing for {self._patience:.0f} s: {trouble}. "
                    f"{self._confirmed} messages are confirmed; load the same files again later."
                )
            time.sleep(RETRY_SECONDS)
        self._confirmed += len(self._batch)
        self._batch = []
        self._size = 0

    def _attempt(self, content: bytes, headers: dict[str, str]) -> str | None:
        """None when the batch is durable, else what is wrong now. Raises SendError for what stays wrong."""
        try:
            answer = self._client.post(self._url, content=content, headers=headers)
        except httpx.TransportError as error:
            return f"{type(error).__name__}: {error}"
        if answer.status_code in (202, 413):
            # 413 is said of a message that was set aside for its size: it has arrived.
            return None
        if answer.status_code in (429, 502, 503, 504):
            return f"it answers {answer.status_code}"
        raise SendError(f"The gateway at {self._url} answers {answer.status_code}: {answer.text[:300]}")
