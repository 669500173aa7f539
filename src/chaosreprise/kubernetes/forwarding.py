"""Ports of this machine that lead to pods, through the API server, as `kubectl port-forward` has them; but a pod may go.

Each connection is led to a pod that is ready when it is made, so the next one after a pod's end finds another. Where none is ready it is
closed, as a Service without endpoints does. What the API server breaks is told: it is not the platform's doing, nor is that somebody ends
a pod. So each way is looked after, and when it was not open is recorded as a gap of `forward/NAME`. A pod that crashes stays: that is none.
"""

import asyncio
import contextlib
import importlib
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from chaosreprise.clock import SystemClock
from chaosreprise.errors import BadInput, NotAllowed, RepriseError, Unreachable
from chaosreprise.history.events import POD_ENDED, WAY, Timed
from chaosreprise.kubernetes import channels, deployments
from chaosreprise.kubernetes.api import Api, Missing, Right
from chaosreprise.kubernetes.where import Forward, Where
from chaosreprise.observe import Emit, sample

if TYPE_CHECKING:
    import aiohttp

HERE = "127.0.0.1"
DATA, ERROR = 0, 1
PORT_BYTES = 2  # with which the server begins each channel
BLOCK = 64 << 10
WITHIN_S = 5.0
HZ, UNSEEN_S = 2.0, 2.0
"""How often a way is looked at, and how much longer than that a look may take while it counts as open."""
RIGHTS = (Right("list", "", "pods"), Right("get", "", "pods/portforward"), Right("create", "", "pods/portforward"))
"""An upgrade is a GET; newer servers ask for `create` all the same."""


class Forwarder:
    """Serves in a thread of its own until `end`. `broken`: what went wrong between here and the pods, each kind once; `emit` takes when."""

    def __init__(self, where: Where, forwards: Mapping[str, Forward], emit: Emit) -> None:
        self.broken: list[str] = []
        self._emit, self._unseen = emit, dict[str, RepriseError]()
        self._where, self._forwards = where, forwards
        self._end: Callable[[], object] = lambda: None
        self._failed: Exception | None = None
        self._serves = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Returns when all ports are open. Raises BadInput, NotAllowed or Unreachable."""
        self._thread.start()
        self._serves.wait()
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        self._end()
        self._thread.join()

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except (RepriseError, OSError) as error:
            self._failed = error
        finally:
            self._serves.set()

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as exits:
            api = await exits.enter_async_context(await Api.to(self._where))
            await asyncio.to_thread(importlib.import_module, "aiohttp")  # takes a while, in which no way would be open
            if lacking := await api.refused(RIGHTS):
                missing = ", ".join(map(str, lacking))
                raise NotAllowed(
                    f"the account may not {missing} in the namespace {self._where.namespace}: nothing can be forwarded"
                )
            for name, one in self._forwards.items():
                await exits.enter_async_context(await self._listening(api, name, one))
            over = asyncio.Event()
            self._end = partial(asyncio.get_running_loop().call_soon_threadsafe, over.set)
            self._serves.set()
            await asyncio.gather(*(self._look_after(api, name, one, over) for name, one in self._forwards.items()))
            await _end_others()

    async def _look_after(self, api: Api, name: str, one: Forward, over: asyncio.Event) -> None:
        served: dict[str, str] = {}  # the pods that were ready when one last was, by uid

        async def look(since: int, last: bool) -> None:
            nonlocal served
            del since, last
            if (error := self._unseen.pop(name, None)) is not None:
                raise error
            found = (await api.get(deployments.pods_path(api), labelSelector=one.selector))["items"]
            stay = {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}
            ended = [pod for uid, pod in served.items() if uid not in stay]
            ready = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in found if deployments.is_ready(pod)}
            served = ready or served
            if ended:
                raise Unreachable(f"{POD_ENDED}: {', '.join(ended)}")

        await sample(f"{WAY}{name}", HZ, SystemClock(), self._emit, over, look, UNSEEN_S)

    async def _listening(self, api: Api, name: str, one: Forward) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._carry(api, one, reader, writer)
            except Missing:
                pass  # the pod went just now
            except RepriseError as error:
                self._unseen[name] = error
                self._tell(f"{name}: {error}")
            except (OSError, EOFError, asyncio.CancelledError):
                pass  # the client has gone, or all of this ends
            finally:
                writer.close()

        try:
            return await asyncio.start_server(connected, HERE, one.local)
        except OSError as error:
            raise BadInput(
                f"forward.{name}.local = {one.local}: {os.strerror(error.errno or 0)}: choose a free port"
            ) from error

    def _tell(self, what: str) -> None:
        if what not in self.broken:
            self.broken.append(what)

    async def _carry(self, api: Api, one: Forward, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it: half of one can't be closed here."""
        found = (await api.get(deployments.pods_path(api), labelSelector=one.selector))["items"]
        ready = [pod["metadata"]["name"] for pod in found if deployments.is_ready(pod)]
        if not ready:
            return
        async with _way(api, random.choice(ready), one.port) as opened:
            await _both_ways(opened, reader, writer)


def _way(api: Api, pod: str, port: int) -> "contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]":
    return channels.opened(api, pod, "portforward", [("ports", str(port))])


async def status_of(api: Api, pod: str, port: int, path: str) -> int | None:
    """What a server in a pod answers to a GET; None where nobody does. Raises a RepriseError for what breaks before the pod."""
    said = b""
    async with asyncio.timeout(WITHIN_S), _way(api, pod, port) as opened:
        await opened.send_bytes(bytes([DATA]) + f"GET {path} HTTP/1.1\r\nHost: {pod}\r\n\r\n".encode())
        async for data in _data(opened):
            said += data
            if b"\r\n" in said:
                break
    words = said.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None


async def _end_others() -> None:
    """What is still carried ends here."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _both_ways(
    opened: "aiohttp.ClientWebSocketResponse", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    ways = [asyncio.create_task(_to_pod(opened, reader)), asyncio.create_task(_from_pod(opened, writer))]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _to_pod(opened: "aiohttp.ClientWebSocketResponse", reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionResetError):  # closed from there, which who reads from the pod finds out about
        while data := await reader.read(BLOCK):
            await opened.send_bytes(bytes([DATA]) + data)


async def _from_pod(opened: "aiohttp.ClientWebSocketResponse", writer: asyncio.StreamWriter) -> None:
    async for data in _data(opened):
        writer.write(data)
        await writer.drain()


async def _data(opened: "aiohttp.ClientWebSocketResponse") -> AsyncIterator[bytes]:
    begun: set[int] = set()
    async for message in channels.messages(opened):
        channel, data = message[0], message[1:]
        if channel not in begun:
            begun.add(channel)
            data = data[PORT_BYTES:]
        if channel == DATA and data:
            yield data
        elif channel == ERROR and data:
            return  # nobody listens in the pod, or it has gone: both are the platform's


def _nowhere(event: Timed) -> None:
    """Where nothing is recorded."""


@contextlib.contextmanager
def forwarded(where: Where | None, forwards: Mapping[str, Forward], emit: Emit = _nowhere) -> Iterator[list[str]]:
    """While it lasts they are open; what broke. Raises BadInput, NotAllowed or Unreachable."""
    if where is None or not forwards:
        yield []
        return
    forwarder = Forwarder(where, forwards, emit)
    forwarder.start()
    try:
        yield forwarder.broken
    finally:
        forwarder.end()
