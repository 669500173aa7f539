"""The control plane's way to the data plane: one attempt a call, at most so many seconds long."""

from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from chaosreprise.lab.sandbox.answers import KEPT_OPEN_S

T = TypeVar("T")


class NotDone(Exception):
    """The data plane refused, did not answer, or answered something else; the message says which."""


class Started(msgspec.Struct, rename="camel"):
    runtime_id: str


class Output(msgspec.Struct):
    """What a step has printed."""

    status: str
    stdout: str
    stderr: str


class DataPlane:
    def __init__(self, url: str, limit_s: float) -> None:
        self._limit_s = limit_s
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_OPEN_S)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=limit_s))
        self._url = f"{url}/sessions"

    async def create(self, session: str, policy: str, runtime: str) -> Started:
        asked = {"sessionId": session, "policyId": policy, "workspaceRef": session, "runtime": runtime}
        return _decoded(await self._post("", asked), Started)

    async def step(self, session: str, command: str) -> Output:
        return _decoded(await self._post(f"/{quote(session, safe='')}/steps", {"command": command}), Output)

    async def terminate(self, session: str) -> None:
        await self._post(f"/{quote(session, safe='')}/terminate", {})

    async def _post(self, path: str, value: dict[str, str]) -> bytes:
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.post(
                URL(self._url + path, encoded=True), data=msgspec.json.encode(value), headers=headers
            ) as answer:
                said = await answer.read()
        except TimeoutError as error:
            raise NotDone(f"the data plane did not answer within {self._limit_s:g} s") from error
        except aiohttp.ClientError as error:
            raise NotDone(f"the data plane is not reachable: {error}") from error
        if answer.status != 202:
            raise NotDone(f"the data plane returned status {answer.status}")
        return said


def _decoded(said: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(said, type=kind)
    except msgspec.DecodeError as error:
        raise NotDone(f"the data plane's answer can't be read: {error}") from error
