"""A WebSocket to a pod through the API server, as its `exec` and `portforward` have it: each message begins with the number of a channel."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from chaosreprise.errors import Unreachable
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import REFUSALS, Api

if TYPE_CHECKING:
    import aiohttp

PROTOCOL = "v4.channel.k8s.io"
CONNECT_S = 5.0
CLOSE_S = 1.0


@contextlib.asynccontextmanager
async def opened(
    api: Api, pod: str, call: str, params: Sequence[tuple[str, str]]
) -> AsyncIterator["aiohttp.ClientWebSocketResponse"]:
    """Raises what the server's refusal is in `errors`, Unreachable when it can't be reached or breaks."""
    import aiohttp  # noqa: PLC0415 - takes a while, and hardly anybody needs it

    url = f"{api.url}{deployments.pods_path(api, pod)}/{call}"
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    socket = None
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=limits) as session,
            session.ws_connect(
                url, params=params, headers=api.headers(), ssl=api.tls, protocols=[PROTOCOL], max_msg_size=0
            ) as channels,
        ):
            socket = channels.get_extra_info("socket")
            yield channels
    except aiohttp.WSServerHandshakeError as error:
        known = REFUSALS.get(error.status, Unreachable)
        raise known(f"{call} in {pod}: the API server answers with {error.status}") from error
    except aiohttp.ClientError as error:
        raise Unreachable(f"{call} in {pod}: no answer ({str(error) or type(error).__name__})") from error
    finally:
        await _closed(socket)


async def messages(opened: "aiohttp.ClientWebSocketResponse") -> AsyncIterator[bytes]:
    """Each that has something, until the other end closes in order. Raises Unreachable where it just breaks."""
    import aiohttp  # noqa: PLC0415

    while (message := await opened.receive()).type is not aiohttp.WSMsgType.CLOSE:
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise Unreachable(f"the API server broke off what it carried ({message.type.name})")
        if message.data:
            yield message.data


async def _closed(socket: Any) -> None:
    """TLS ends in its own time, and nothing here waits for it: whose event loop ends first leaves the socket open."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            while socket is not None and socket.fileno() != -1:
                await asyncio.sleep(0.005)
