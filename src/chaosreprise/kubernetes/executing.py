"""A command in a container, by the `exec` of the API: over a WebSocket, as the server has it since version 1.30."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chaosreprise.errors import NotAllowed, NotPossible, RepriseError, Unreachable
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Right

RIGHTS = (Right("get", "", "pods/exec"), Right("create", "", "pods/exec"))
"""An upgrade is a GET; newer servers ask for `create` all the same."""
PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, ERROR = 0, 1, 3
WITHIN_S = 10.0
CLOSE_S = 1.0


class Failed(NotPossible):
    """It ended with another code than 0."""

    def __init__(self, say: str, exit_code: str = "") -> None:
        super().__init__(say)
        self.exit_code = exit_code


class Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class Details(msgspec.Struct):
    causes: list[Cause] = msgspec.field(default_factory=list)


class Status(msgspec.Struct):
    """How it ended, as the server says it."""

    status: str
    message: str = ""
    details: Details = msgspec.field(default_factory=Details)


async def execute(api: Api, pod: str, container: str, *command: str) -> str:
    """What it has printed. Raises NotPossible when it is not there or fails, NotAllowed, Unreachable."""
    import aiohttp  # noqa: PLC0415 - takes a while, and hardly anybody needs it

    params = [("container", container), ("stdout", "1"), ("stderr", "1"), *(("command", one) for one in command)]
    url = f"{api.url}{deployments.pods_path(api, pod)}/exec"
    printed: dict[int, bytes] = {}
    try:
        async with (
            asyncio.timeout(WITHIN_S),
            aiohttp.ClientSession(trust_env=False) as session,
            session.ws_connect(
                url, params=params, headers=api.headers(), ssl=api.tls, protocols=[PROTOCOL]
            ) as channels,
        ):
            socket = channels.get_extra_info("socket")
            async for message in channels:
                if isinstance(message.data, bytes) and message.data:
                    channel = message.data[0]
                    printed[channel] = printed.get(channel, b"") + message.data[1:]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _no_exec(pod, error) from error
    await _closed(socket)
    return _ended(pod, command, printed)


class Shell:
    """A shell in a container that stays open, for who asks often: an exec costs more than a command in one."""

    def __init__(self, pod: str, channels: Any) -> None:
        self._pod, self._channels = pod, channels
        self._over = f"over-{secrets.token_hex(8)}"

    async def ask(self, command: str) -> bytes:
        """What it has printed. Raises Unreachable, and no command is to be sent any more then."""
        printed, over = b"", f"\n{self._over}\n".encode()
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._channels.send_bytes(bytes([STDIN]) + f"{command}\nprintf '\\n{self._over}\\n'\n".encode())
                while not printed.endswith(over):
                    data = (await self._channels.receive()).data
                    if not isinstance(data, bytes) or data[:1] == bytes([ERROR]):
                        raise Unreachable(f"the shell in the pod {self._pod} has ended")
                    printed += data[1:] if data[:1] == bytes([STDOUT]) else b""
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"the shell in the pod {self._pod} broke ({str(error) or 'no answer'})") from error
        return printed.removesuffix(over)


@contextlib.asynccontextmanager
async def shell(api: Api, pod: str, container: str) -> AsyncIterator[Shell]:
    """One that is open meanwhile. Raises as `execute` does."""
    import aiohttp  # noqa: PLC0415 - takes a while, and hardly anybody needs it

    asked = {"container": container, "stdin": "1", "stdout": "1", "command": "sh"}
    url = f"{api.url}{deployments.pods_path(api, pod)}/exec"
    async with contextlib.AsyncExitStack() as exits:
        try:
            async with asyncio.timeout(WITHIN_S):
                session = await exits.enter_async_context(aiohttp.ClientSession(trust_env=False))
                opening = session.ws_connect(
                    url, params=asked, headers=api.headers(), ssl=api.tls, protocols=[PROTOCOL], max_msg_size=0
                )
                channels = await exits.enter_async_context(opening)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_exec(pod, error) from error
        socket = channels.get_extra_info("socket")
        try:
            yield Shell(pod, channels)
        finally:
            await exits.aclose()
            await _closed(socket)


def _no_exec(pod: str, error: Exception) -> RepriseError:
    status = getattr(error, "status", None)
    if status is None:
        return Unreachable(f"exec in {pod}: no answer ({str(error) or type(error).__name__})")
    known: dict[int, type[RepriseError]] = {401: NotAllowed, 403: NotAllowed, 404: NotPossible}
    return known.get(status, Unreachable)(f"exec in {pod}: the API server answers with {status}")


async def _closed(socket: Any) -> None:
    """TLS ends in its own time, and nothing here waits for it: whose event loop ends first leaves the socket open."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            while socket is not None and socket.fileno() != -1:
                await asyncio.sleep(0.005)


def _ended(pod: str, command: tuple[str, ...], printed: dict[int, bytes]) -> str:
    with contextlib.suppress(msgspec.DecodeError):
        ended = msgspec.json.decode(printed.get(ERROR, b""), type=Status)
        if ended.status == "Success":
            return printed.get(STDOUT, b"").decode(errors="replace")
        code = next((cause.message for cause in ended.details.causes if cause.reason == "ExitCode"), "")
        raise Failed(f"{command[0]} in the pod {pod} failed: {ended.message}", code)
    raise Unreachable(f"exec in {pod}: it was broken off, and how {command[0]} ended is not known")
