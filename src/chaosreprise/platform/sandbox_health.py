"""What the three services of a sandbox say of their health: samples of a signal each, and of the agent a report.

The answers are static, so they say that a process serves, and nothing more. The control plane's and the data plane's ask for a
token where steps do; a refusal is an answer too: the service is there. `away_s` is, of the three, for how many seconds each has
surely not answered. Where each session is a pod with an agent of its own, the data plane, which makes these, stands for all of them.
Where a token is shown, `guarded` says of the control plane and of the agent, of those that answer, whether they refuse who shows
none: the agent is asked for a step of a session that never was, and so is where the control plane offers its calls once more.
"""

import asyncio
import time
from typing import Any

import httpx

from chaosreprise import handshakes
from chaosreprise.clock import SECOND, Clock
from chaosreprise.history import Observe, Report
from chaosreprise.observe import Emit, sample
from chaosreprise.platform.file import Sandbox
from chaosreprise.platform.sandbox_refused import NOBODY, REFUSED

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
        }
        self._urls[f"agents/{agent}"] = f"{at.agent.rstrip('/')}/v1/health" if at.agent else self._urls["data-plane"]
        self._agent, self._said = agent, ""
        self._tools = f"{at.tools.rstrip('/')}/sessions" if at.token and at.tools else None
        self._steps = f"{at.agent.rstrip('/')}/v1/steps" if at.token and at.agent else None
        self._away_since: dict[str, int] = {}

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(
            timeout=ASK_S,
            trust_env=False,
            verify=False,  # noqa: S501 - nothing is shown to it
            event_hooks=handshakes.HOOKS,
        ) as http:

            async def look(since: int, last: bool) -> None:
                del last
                began = time.monotonic_ns()
                said = await asyncio.gather(*(_status(http, "GET", url) for url in self._urls.values()))
                guarded = [said[0] == REFUSED] if said[0] else []
                if self._tools and (there := await _status(http, "GET", self._tools)):
                    guarded.append(there == REFUSED)
                if self._steps and (step := await _status(http, "POST", self._steps, NOBODY)):
                    guarded.append(step == REFUSED)
                now = time.monotonic_ns()
                found = [status in SERVES for status in said]
                for name, serves in zip(self._urls, found, strict=True):
                    emit(Observe(lo=since, hi=now, source=HEALTH, signal=f"{name}.serves", value=serves))
                away = [self._away_s(name, serves, began) for name, serves in zip(self._urls, found, strict=True)]
                emit(Observe(lo=since, hi=now, source=HEALTH, signal="away_s", value=away))
                if (self._steps or self._tools) and guarded:
                    emit(Observe(lo=since, hi=now, source=HEALTH, signal="guarded", value=guarded))
                state = "online" if found[-1] else "offline"
                if state != self._said:
                    self._said = state
                    emit(Report(lo=since, hi=now, source=HEALTH, about="agent", id=self._agent, state=state))

            await sample(HEALTH, HZ, clock, emit, stop, look)

    def _away_s(self, name: str, serves: bool, asked: int) -> float:
        """Since the first of the questions that it has not answered, up to this one."""
        if serves:
            self._away_since.pop(name, None)
            return 0.0
        return (asked - self._away_since.setdefault(name, asked)) / SECOND


async def _status(http: httpx.AsyncClient, method: str, url: str, body: Any = None) -> int | None:
    try:
        return (await http.request(method, url, json=body)).status_code
    except httpx.TransportError:
        return None
