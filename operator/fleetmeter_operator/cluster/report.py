"""What a region says of itself at /status, read over HTTP with a short memory."""

from __future__ import annotations

import asyncio

import aiohttp
from pydantic import ValidationError

from fleetmeter_operator.status.report import RegionReport

_TIMEOUT = aiohttp.ClientTimeout(total=5, connect=3)
_MEMORY_SECONDS = 1.0


class Reports:
    """Reads regions' /status. `url` has `{region}` and `{namespace}` in it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, namespace: str) -> None:
        self._session = session
        self._url = url
        self._namespace = namespace
        self._seen: dict[str, tuple[float, RegionReport | None]] = {}

    async def read(self, region: str) -> RegionReport | None:
        """The region's report, at most a second old; None while the region does not answer."""
        now = asyncio.get_running_loop().time()
        read_at, report = self._seen.get(region, (float("-inf"), None))
        if now - read_at < _MEMORY_SECONDS:
            return report
        report = await self._fetch(region)
        self._seen[region] = (asyncio.get_running_loop().time(), report)
        return report

    async def _fetch(self, region: str) -> RegionReport | None:
        url = self._url.format(region=region, namespace=self._namespace)
        try:
            async with self._session.get(url, timeout=_TIMEOUT) as response:
                if response.status != 200:
                    return None
                return RegionReport.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None
