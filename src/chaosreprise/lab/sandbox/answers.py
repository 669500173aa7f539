"""HTTP as all three processes speak it: bodies in, JSON out, refusals that are empty unless they carry a reason.

What is refused is raised as `Refused` wherever the reason is found. Paths that are not there are 404 and other methods 405,
HEAD too; both are as empty as the rest.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from chaosreprise.errors import BadInput, complain
from chaosreprise.lab.sandbox.settings import Address

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEPT_OPEN_S = 90.0  # how long an idle connection to the next process is kept


class Refused(Exception):
    """An answer that is no success: its status, and a reason as JSON or as text, if there is one."""

    def __init__(self, status: int, reason: dict[str, str] | str | None = None) -> None:
        super().__init__(f"refused with {status}")
        self.status = status
        self.reason = reason


def application(*more: Any) -> web.Application:
    """An application without a limit on bodies. `more`: middlewares that are asked before a handler."""
    return web.Application(middlewares=[_refusals, *more], client_max_size=0)


def post(path: str, handler: Handler) -> web.RouteDef:
    return web.post(path, handler)


def get(path: str, handler: Handler) -> web.RouteDef:
    return web.get(path, handler, allow_head=False)


def as_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


async def body(request: web.Request, kind: type[T]) -> T:
    """What was sent, or 400."""
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise Refused(400) from error


async def health(_: web.Request) -> web.Response:
    """Says nothing about what is behind it."""
    return web.Response()


async def metrics(_: web.Request) -> web.Response:
    """Of the process alone."""
    lines = [
        "# TYPE process_cpu_seconds_total counter",
        f"process_cpu_seconds_total {time.process_time():.6f}",
        "# TYPE process_tasks gauge",
        f"process_tasks {len(asyncio.all_tasks())}",
    ]
    return web.Response(text="\n".join(lines) + "\n")


async def serve(*places: tuple[web.Application, Address]) -> None:
    """Until the process ends. Raises BadInput for an address that can't be had."""
    for served, address in places:
        runner = web.AppRunner(served, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            where = f"{address.host}:{address.port}"
            raise BadInput(f"{where}: can't be listened on ({error.strerror}): free it, or name another one") from error
    await asyncio.Event().wait()


def log(line: str) -> None:
    """One line on standard error, with the time before it."""
    complain(f"{time.strftime('%Y/%m/%d %H:%M:%S')} {line}")


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as unknown:
        return web.Response(status=unknown.status)
    except Refused as refused:
        if isinstance(refused.reason, dict):
            return as_json(refused.reason, refused.status)
        return web.Response(text=refused.reason, status=refused.status)
