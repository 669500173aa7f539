"""One request to a session's interpreter, on a connection of its own. The other end is `session`.

Refuses to guess: whatever goes wrong after the request has left is InterpreterLost, since the code may have run.
"""

import asyncio
from typing import Literal

import msgspec

LONGEST_ANSWER = 64 << 20


class InterpreterLost(Exception):
    """It is not reachable, died over it, took too long, or is another session's."""


class Said(msgspec.Struct):
    """What the interpreter answers."""

    id: str
    status: Literal["completed", "refused"]
    stdout: str
    stderr: str


class _Request(msgspec.Struct, omit_defaults=True):
    token: str
    id: str
    code: str | None = None


async def ask(port: int, token: str, number: str, code: str | None, limit_s: float) -> Said:
    """Run `code` (None: a ping) and wait for the answer, at most `limit_s` seconds. Raises InterpreterLost."""
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST_ANSWER)
            try:
                writer.write(msgspec.json.encode(_Request(token, number, code)) + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
        said = msgspec.json.decode(line, type=Said)
    except TimeoutError as error:
        raise InterpreterLost(f"the session did not answer within {limit_s:g} s") from error
    except (OSError, ValueError) as error:  # ValueError: no line, half a line, or too long a one
        raise InterpreterLost(f"the session's process is gone ({type(error).__name__})") from error
    if said.status == "refused" or said.id != number:
        raise InterpreterLost("another process answers at the session's port")
    return said
