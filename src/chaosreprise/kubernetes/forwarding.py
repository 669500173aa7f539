"""Ports of this machine that lead to pods, through the API server, as `kubectl port-forward` has them; but a pod may go.

Each connection is led to a pod that is ready when it is made, so the next one after a pod's end finds another. Where none is ready it is
closed, as a Service without endpoints does. What the API server breaks is told: it is not the platform's doing.
"""

import asyncio
import contextlib
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from chaosreprise.errors import BadInput, NotAllowed, RepriseError, Unreachable
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Right
from chaosreprise.kubernetes.where import Forward, Where

if TYPE_CHECKING:
    import aiohttp

HERE = "127.0.0.1"
PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
PORT_BYTES = 2  # with which the server begins each channel
BLOCK = 64 << 10
CONNECT_S = 5.0
CLOSING_S = 0.25  # what aiohttp asks for, for TLS
RIGHTS = (Right("list", "", "pods"), Right("get", "", "pods/portforward"), Right("create", "", "pods/portforward"))
"""An upgrade is a GET; newer servers ask for `create` all the same."""


class Forwarder:
    """Serves in a thread of its own until `end`. `broken`: what went wrong between here and the pods, each kind once."""

    def __init__(self, where: Where, forwards: Mapping[str, Forward]) -> None:
        self.broken: list[str] = []
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
            await over.wait()
            await _end_others()

    async def _listening(self, api: Api, name: str, one: Forward) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._carry(api, one, reader, writer)
            except RepriseError as error:
                self._tell(f"{name}: {error}")
            except (OSError, EOFError):
                pass  # the client has gone
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
        async with _way(api, random.choice(ready), one.port) as channels:
            await _both_ways(channels, reader, writer)


@contextlib.asynccontextmanager
async def _way(api: Api, pod: str, port: int) -> "AsyncIterator[aiohttp.ClientWebSocketResponse]":
    """Raises Unreachable for what breaks between here and the pod."""
    import aiohttp  # noqa: PLC0415 - takes a while, and hardly anybody needs it

    url = f"{api.url}{deployments.pods_path(api, pod)}/portforward"
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=limits) as session,
            session.ws_connect(
                url, params={"ports": str(port)}, headers=api.headers(), ssl=api.tls, protocols=[PROTOCOL]
            ) as channels,
        ):
            yield channels
    except aiohttp.WSServerHandshakeError as error:
        raise Unreachable(f"the API server answers with {error.status} to who would reach the pod {pod}") from error
    except aiohttp.ClientError as error:
        raise Unreachable(f"the way to the pod {pod} broke ({str(error) or type(error).__name__})") from error


async def status_of(api: Api, pod: str, port: int, path: str) -> int | None:
    """What a server in a pod answers to a GET; None where nobody does. Raises Unreachable for what breaks before the pod."""
    said = b""
    async with asyncio.timeout(CONNECT_S), _way(api, pod, port) as channels:
        await channels.send_bytes(bytes([DATA]) + f"GET {path} HTTP/1.1\r\nHost: {pod}\r\n\r\n".encode())
        async for data in _data(channels):
            said += data
            if b"\r\n" in said:
                break
    words = said.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None


async def _end_others() -> None:
    """What is still carried ends here, and its sockets are closed: that takes the loop some turns more."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(CLOSING_S)


async def _both_ways(
    channels: "aiohttp.ClientWebSocketResponse", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    ways = [asyncio.create_task(_to_pod(channels, reader)), asyncio.create_task(_from_pod(channels, writer))]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _to_pod(channels: "aiohttp.ClientWebSocketResponse", reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(
        ConnectionResetError
    ):  # closed by the pod's end; a way that broke shows at the next connection
        while data := await reader.read(BLOCK):
            await channels.send_bytes(bytes([DATA]) + data)


async def _from_pod(channels: "aiohttp.ClientWebSocketResponse", writer: asyncio.StreamWriter) -> None:
    async for data in _data(channels):
        writer.write(data)
        await writer.drain()


async def _data(channels: "aiohttp.ClientWebSocketResponse") -> AsyncIterator[bytes]:
    begun: set[int] = set()
    async for message in channels:
        if not isinstance(message.data, bytes) or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel not in begun:
            begun.add(channel)
            data = data[PORT_BYTES:]
        if channel == DATA and data:
            yield data
        elif channel == ERROR and data:
            return  # nobody listens in the pod, or it has gone: both are the platform's


@contextlib.contextmanager
def forwarded(where: Where | None, forwards: Mapping[str, Forward]) -> Iterator[list[str]]:
    """While it lasts they are open; what broke. Raises BadInput, NotAllowed or Unreachable."""
    if where is None or not forwards:
        yield []
        return
    forwarder = Forwarder(where, forwards)
    forwarder.start()
    try:
        yield forwarder.broken
    finally:
        forwarder.end()
