"""The first word to PostgreSQL, and its answer: before it asks who we are, it says why it lets nobody in, if so.

57P03 while it recovers, 53300 when it has no connection left (SQLSTATE, appendix A); these come before any password.
"""

import asyncio

STARTUP = b"\0\0\0\x16\0\3\0\0user\0reprise\0\0"  # length, version 3.0, a user
RECOVERING = "57P03"
TOO_MANY = "53300"


async def greet(host: str, port: int, within_s: float) -> str | None:
    """The SQLSTATE with which it refuses, "" where it asks who we are; None when nothing that is PostgreSQL answers in time."""
    try:
        async with asyncio.timeout(within_s):
            way = asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}") if host.startswith("/") else None
            reader, writer = await (way or asyncio.open_connection(host, port))
            try:
                writer.write(STARTUP)
                answer = await reader.read(1000)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return _state(answer)


def _state(answer: bytes) -> str | None:
    """Of an ErrorResponse the field C; anything else that a server of this protocol begins with is a question (R)."""
    fields = {field[:1]: field[1:] for field in answer[5:].split(b"\0")} if answer[:1] == b"E" else {}
    return fields.get(b"C", b"").decode(errors="replace") if answer[:1] in (b"E", b"R") else None
