"""The data plane's way to the session agent. A step has three attempts with pauses, the rest has one.

Each attempt at a step carries the same number, by which the agent knows it again: a lost answer costs no second run.
`AgentClient` is a seam for planted defects.
"""

import asyncio
import uuid
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from chaosreprise.lab.sandbox.answers import KEPT_OPEN_S
from chaosreprise.lab.sandbox.dataplane import Output
from chaosreprise.lab.sandbox.registry import Route

PAUSES_S = (0.2, 0.4)
HEADER = "X-Session-Token"


class Unreachable(Exception):
    """No answer, or none that can be read: nobody knows what became of it."""


class AgentRefused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"the session agent returned status {status}")
        self.status = status


class AgentClient:
    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_OPEN_S)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=limit_s))

    async def register(self, route: Route, session: str, folder: str) -> None:
        asked = {"sessionId": session, "runtime": route.runtime, "token": route.token, "workspaceDir": folder}
        await self._post(route, "/v1/sessions", asked)

    async def terminate(self, route: Route, session: str) -> None:
        await self._post(route, f"/v1/sessions/{quote(session, safe='')}/terminate", {})

    async def step(self, route: Route, session: str, number: str, code: str) -> Output:
        """Raises Unreachable after the last attempt, AgentRefused at once."""
        for pause_s in PAUSES_S:
            try:
                return await self._attempt(route, session, number, code)
            except Unreachable:
                await asyncio.sleep(pause_s)
            number = self.next_attempt(number)
        return await self._attempt(route, session, number, code)

    def next_attempt(self, number: str) -> str:
        """The number of another attempt at the same step."""
        return number

    async def _attempt(self, route: Route, session: str, number: str, code: str) -> Output:
        asked = {"sessionId": session, "stepId": number, "code": code, "runtime": route.runtime}
        said = await self._post(route, "/v1/steps", asked)
        try:
            return msgspec.json.decode(said, type=Output)
        except msgspec.DecodeError as error:
            raise Unreachable(f"the session agent's answer can't be read: {error}") from error

    async def _post(self, route: Route, path: str, value: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if route.auth_mode == "enforced":
            headers[HEADER] = route.token
        try:
            async with self._http.post(
                URL(route.endpoint + path, encoded=True), data=msgspec.json.encode(value), headers=headers
            ) as answer:
                said = await answer.read()
        except TimeoutError as error:
            raise Unreachable(f"the session agent did not answer within {self._limit_s:g} s") from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"the session agent is not reachable: {error}") from error
        if answer.status > 500:
            raise Unreachable(f"something before the session agent returned status {answer.status}")
        if answer.status != 200:
            raise AgentRefused(answer.status)
        return said


def new_number() -> str:
    """Of a step, for the agent: never given before, whatever the clock does."""
    return f"run-{uuid.uuid4().hex}"
