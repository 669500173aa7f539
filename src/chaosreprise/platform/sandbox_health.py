"""What the three services of a sandbox say of their health: samples of a signal each, and of the agent a report.

The answers are static, so they say that a process serves, and nothing more. The control plane's and the data plane's ask for a
token where steps do; a refusal is an answer too: the service is there.
"""

import asyncio
import time

import httpx

from chaosreprise.clock import Clock
from chaosreprise.history import Observe, Report
from chaosreprise.observe import Emit, sample
from chaosreprise.platform.file import Sandbox

HEALTH = "health"
HZ = 10.0
ASK_S = 1.0
SERVES = (200, 401)


class HealthSource:
    name = HEALTH

    def __init__(self, at: Sandbox, agent: str) -> None:
        self._urls = {
            "control-plane": f"{at.control_plane.rstrip('/')}/healthz",
            "data-plane": f"{at.data_plane.rstrip('/')}/healthz",
            f"agents/{agent}": f"{at.agent.rstrip('/')}/v1/health",
        }
        self._agent, self._said = agent, ""

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=ASK_S, trust_env=False, verify=False) as http:  # noqa: S501 - nothing is shown to it

            async def look(since: int, last: bool) -> None:
                del last
                found = await asyncio.gather(*(_serves(http, url) for url in self._urls.values()))
                now = time.monotonic_ns()
                for name, serves in zip(self._urls, found, strict=True):
                    emit(Observe(lo=since, hi=now, source=HEALTH, signal=f"{name}.serves", value=serves))
                state = "online" if found[-1] else "offline"
                if state != self._said:
                    self._said = state
                    emit(Report(lo=since, hi=now, source=HEALTH, about="agent", id=self._agent, state=state))

            await sample(HEALTH, HZ, clock, emit, stop, look)


async def _serves(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code in SERVES
    except httpx.TransportError:
        return False
