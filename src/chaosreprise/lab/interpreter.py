"""One request to a session's interpreter, or a stream from it, on a connection of its own. The other end is `session`.

Refuses to guess: whatever goes wrong after the request has left is InterpreterLost, since the code may have run. An
interpreter that crashed comes back at its place without its memory, which nobody would see: so each life has a name.
"""

import asyncio
import contextlib
from typing import Literal, NamedTuple

import msgspec

LONGEST_ANSWER = 64 << 20


class InterpreterLost(Exception):
    """It is not reachable, died over it, took too long, or is another session's."""


class Said(msgspec.Struct):
    """What the interpreter answers."""

    id: str
    life: str
    status: Literal["completed", "refused", "lost"]
    stdout: str
    stderr: str


class _Request(msgspec.Struct, omit_defaults=True):
    token: str
    id: str
    life: str | None = None
    code: str | None = None
    stream: bool = False


class Stream(NamedTuple):
    """A connection that stays open while the session's process lives."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def ping(host: str, port: int, token: str, limit_s: float) -> Said:
    """Whether it answers, and which life it is. Raises InterpreterLost."""
    return await _ask(host, port, _Request(token, "ping"), limit_s)


async def run(
    host: str, port: int, token: str, life: str, number: str, code: str, limit_s: float, link: int | None = None
) -> Said:
    """Run `code` in this life: status `lost` says that it is over and that nothing has run. Raises InterpreterLost.

    By a link at the port `link`, if there is one, which is told first where to lead.
    """
    first = b"" if link is None else b"%d\n" % port
    return await _ask(host, link or port, _Request(token, number, life, code), limit_s, first)


async def stream(host: str, port: int, token: str, limit_s: float, link: int | None) -> Stream:
    """A connection that the session keeps open from here on; its caller closes it. Raises InterpreterLost."""
    first = b"" if link is None else b"%d\n" % port
    return (await _answered(host, link or port, _Request(token, "stream", stream=True), limit_s, first))[1]


async def _ask(host: str, port: int, request: _Request, limit_s: float, first: bytes = b"") -> Said:
    said, connection = await _answered(host, port, request, limit_s, first)
    connection.writer.close()
    return said


async def _answered(host: str, port: int, request: _Request, limit_s: float, first: bytes = b"") -> tuple[Said, Stream]:
    """Wait for the answer at most `limit_s` seconds; whoever gets the connection closes it."""
    with contextlib.ExitStack() as undo:
        try:
            async with asyncio.timeout(limit_s):
                connection = Stream(*await asyncio.open_connection(host, port, limit=LONGEST_ANSWER))
                undo.callback(connection.writer.close)
                connection.writer.write(first + msgspec.json.encode(request) + b"\n")
                line = await connection.reader.readline()
            said = msgspec.json.decode(line, type=Said)
        except TimeoutError as error:
            raise InterpreterLost(f"the session did not answer within {limit_s:g} s") from error
        except (OSError, ValueError) as error:  # ValueError: no line, half a line, or too long a one
            raise InterpreterLost(f"the session's process is gone ({type(error).__name__})") from error
        if said.status == "refused" or said.id != request.id:
            raise InterpreterLost("another process answers at the session's port")
        undo.pop_all()
    return said, connection
