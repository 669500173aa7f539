"""A command in a container, by the `exec` of the API: over a WebSocket, as the server has it since version 1.30."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.kubernetes import channels
from chaosreprise.kubernetes.api import Api, Right

if TYPE_CHECKING:
    import aiohttp

RIGHTS = (Right("get", "", "pods/exec"), Right("create", "", "pods/exec"))
"""An upgrade is a GET; newer servers ask for `create` all the same."""
STDIN, STDOUT, ERROR = 0, 1, 3
WITHIN_S = 10.0


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
    params = [("container", container), ("stdout", "1"), ("stderr", "1"), *(("command", one) for one in command)]
    printed: dict[int, bytes] = {}
    try:
        async with asyncio.timeout(WITHIN_S), channels.opened(api, pod, "exec", params) as opened:
            async for message in channels.messages(opened):
                printed[message[0]] = printed.get(message[0], b"") + message[1:]
    except TimeoutError as error:
        raise _mute(pod) from error
    return _ended(pod, command, printed)


class Shell:
    """A shell in a container that stays open, for who asks often: an exec costs more than a command in one."""

    def __init__(self, pod: str, opened: "aiohttp.ClientWebSocketResponse") -> None:
        self._pod, self._opened = pod, opened
        self._over = f"over-{secrets.token_hex(8)}"

    async def ask(self, command: str) -> bytes:
        """What it has printed. Raises Unreachable, and no command is to be sent any more then."""
        printed, over = b"", f"\n{self._over}\n".encode()
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._opened.send_bytes(bytes([STDIN]) + f"{command}\nprintf '\\n{self._over}\\n'\n".encode())
                while not printed.endswith(over):
                    data = (await self._opened.receive()).data
                    if not isinstance(data, bytes) or data[:1] == bytes([ERROR]):
                        raise Unreachable(f"the shell in the pod {self._pod} has ended")
                    printed += data[1:] if data[:1] == bytes([STDOUT]) else b""
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"the shell in the pod {self._pod} broke ({str(error) or 'no answer'})") from error
        return printed.removesuffix(over)


@contextlib.asynccontextmanager
async def shell(api: Api, pod: str, container: str) -> AsyncIterator[Shell]:
    """One that is open meanwhile. Raises as `execute` does."""
    params = [("container", container), ("stdin", "1"), ("stdout", "1"), ("command", "sh")]
    async with contextlib.AsyncExitStack() as exits:
        try:
            async with asyncio.timeout(WITHIN_S):
                opened = await exits.enter_async_context(channels.opened(api, pod, "exec", params))
        except TimeoutError as error:
            raise _mute(pod) from error
        yield Shell(pod, opened)


def _mute(pod: str) -> Unreachable:
    return Unreachable(f"exec in {pod}: no answer within {WITHIN_S:g} s")


def _ended(pod: str, command: tuple[str, ...], printed: dict[int, bytes]) -> str:
    with contextlib.suppress(msgspec.DecodeError):
        ended = msgspec.json.decode(printed.get(ERROR, b""), type=Status)
        if ended.status == "Success":
            return printed.get(STDOUT, b"").decode(errors="replace")
        code = next((cause.message for cause in ended.details.causes if cause.reason == "ExitCode"), "")
        raise Failed(f"{command[0]} in the pod {pod} failed: {ended.message}", code)
    raise Unreachable(f"exec in {pod}: it was broken off, and how {command[0]} ended is not known")
