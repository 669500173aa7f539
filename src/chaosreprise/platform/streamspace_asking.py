"""How a StreamSpace is asked by who examines it: each question by itself, and nothing that would change it."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx

from chaosreprise.errors import RepriseError, Unreachable
from chaosreprise.platform.file import Platform
from chaosreprise.platform.streamspace_login import login

if TYPE_CHECKING:
    import psycopg


async def entered(platform: Platform, http: httpx.AsyncClient) -> bool:
    """Logged in; why not is said once, by who examines that."""
    try:
        await login(http, platform)
    except RepriseError:
        return False
    return True


async def ask(http: httpx.AsyncClient, path: str) -> httpx.Response:
    return await send(http, http.build_request("GET", path))


async def send(http: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
    try:
        return await http.send(request, **more)
    except httpx.TransportError as error:
        raise Unreachable(
            f"{http.base_url}: the control plane does not answer ({error}): is the platform up?"
        ) from error


def field(answer: httpx.Response, name: str) -> Any:
    """Of a JSON object; None when it is none."""
    try:
        said = answer.json()
    except ValueError:
        return None
    return said.get(name) if isinstance(said, dict) else None


@contextlib.asynccontextmanager
async def reading(platform: Platform, evidence: str) -> AsyncIterator["psycopg.AsyncConnection[tuple[Any, ...]]"]:
    """A connection to the platform's database that can't write. Raises Unreachable, also for what is asked on it."""
    import psycopg  # noqa: PLC0415 - 0.15 s, which the load would pay for nothing

    from chaosreprise.platform.statistics import CONNECT_S, READ_ONLY  # noqa: PLC0415

    dsn = platform.file.evidence[evidence].dsn
    assert dsn is not None
    try:
        async with await psycopg.AsyncConnection.connect(
            dsn.read(platform.folder), autocommit=True, connect_timeout=CONNECT_S, options=READ_ONLY
        ) as connection:
            yield connection
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unreachable(f"the platform's database can't be read: {reason}") from error


async def rows(
    connection: "psycopg.AsyncConnection[tuple[Any, ...]]", query: str, values: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query.encode(), values)).fetchall()
