"""A command in a container, by the `exec` of the API: over a WebSocket, as the server has it since version 1.30."""

import asyncio
import contextlib

import msgspec

from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.kubernetes import channels
from chaosreprise.kubernetes.api import Api, Right

RIGHTS = (Right("get", "", "pods/exec"), Right("create", "", "pods/exec"))
"""An upgrade is a GET; newer servers ask for `create` all the same."""
STDOUT, ERROR = 1, 3
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
        raise Unreachable(f"exec in {pod}: no answer within {WITHIN_S:g} s") from error
    return _ended(pod, command, printed)


def _ended(pod: str, command: tuple[str, ...], printed: dict[int, bytes]) -> str:
    with contextlib.suppress(msgspec.DecodeError):
        ended = msgspec.json.decode(printed.get(ERROR, b""), type=Status)
        if ended.status == "Success":
            return printed.get(STDOUT, b"").decode(errors="replace")
        code = next((cause.message for cause in ended.details.causes if cause.reason == "ExitCode"), "")
        raise Failed(f"{command[0]} in the pod {pod} failed: {ended.message}", code)
    raise Unreachable(f"exec in {pod}: it was broken off, and how {command[0]} ended is not known")
