"""What the three services share: strict JSON bodies, bearer tokens, a listening server, and the misbehaviours that are on.

Written from the published behaviour of the services alone, with nothing of Reprise: like a deployment of a stranger. TERM ends each service at once.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A call is answered with this status, and with this body: none at the two planes, as a rule."""

    def __init__(self, status: int, body: dict[str, str] | str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def misbehaves(name: str) -> bool:
    """Whether the misbehaviour is switched on in STANDIN_DEFECT, a list with commas."""
    return name in os.environ.get("STANDIN_DEFECT", "").split(",")


def setting(name: str, default: str | None = None) -> str:
    """A setting; without it and without a default the process ends with 1 and a line."""
    value = os.environ.get(name) or default
    return give_up(f"{name} is not set") if value is None else value


def give_up(why: str) -> NoReturn:
    """End the process with 1 and a line."""
    print(why, file=sys.stderr)
    sys.exit(1)


def say(line: str) -> None:
    """One line of the log."""
    print(datetime.now(UTC).strftime("%Y/%m/%d %H:%M:%S"), line, file=sys.stderr, flush=True)


async def fields(request: web.Request, *required: str) -> dict[str, Any]:
    """The body, an object whose required fields are texts with something in them; 400 otherwise."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise Refused(400) from None
    if not isinstance(body, dict) or not all(
        isinstance(body.get(name), str) and body[name].strip() for name in required
    ):
        raise Refused(400)
    return body


def _unpacked(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def shown(request: web.Request) -> dict[str, Any]:
    """What the token of a request says of who shows it; nothing where there is none."""
    parts = request.headers.get("Authorization", "").partition(" ")[2].split(".")
    said: dict[str, Any] = json.loads(_unpacked(parts[1])) if len(parts) > 1 else {}
    return said


def bearer_is_good(header: str) -> bool:
    """Whether the header holds a JWT (HS256) of ours that names a tenant and an agent and is not over."""
    try:
        scheme, token = header.split(" ", 1)
        head, claims, signature = token.strip().split(".")
        good = hmac.new(setting("AUTH_JWT_SECRET").encode(), f"{head}.{claims}".encode(), hashlib.sha256).digest()
        said = json.loads(_unpacked(claims))
        algorithm = json.loads(_unpacked(head))["alg"]
        right = algorithm == "HS256" and hmac.compare_digest(good, _unpacked(signature))
        right = right or (algorithm == "none" and misbehaves("unsigned"))
    except (ValueError, KeyError, TypeError, binascii.Error):
        return False
    due = {name: os.environ.get(key) for name, key in (("iss", "AUTH_ISSUER"), ("aud", "AUTH_AUDIENCE"))}
    return (
        scheme.lower() == "bearer"
        and right
        and bool(said.get("tenant_id"))
        and bool(said.get("agent_id"))
        and said.get("exp", time.time() + 1) > time.time()
        and all(value is None or said.get(name) == value for name, value in due.items())
    )


@web.middleware
async def answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authenticate everything but the metrics, and turn what is refused into its answer."""
    try:
        asks = os.environ.get("AUTHZ_BYPASS", "true" if "SESSION_AGENT_ADDR" in os.environ else "") != "true"
        if (
            asks
            and request.path != "/metrics"
            and not misbehaves("no-auth")
            and not (misbehaves("open-tools") and request.path.startswith("/tools/"))
            and not bearer_is_good(request.headers.get("Authorization", ""))
        ):
            raise Refused(401)
        return await handler(request)
    except Refused as no:
        if misbehaves("echo") and no.status == 500:
            return web.Response(status=500, text=echo(request))
        if isinstance(no.body, dict):
            return web.json_response(no.body, status=no.status)
        return web.Response(status=no.status, text=no.body)
    except web.HTTPException as no:
        return web.Response(status=no.status)


def echo(request: web.Request) -> str:
    """What it was shown, twice: once where a reader that cuts at 100 characters cuts in its middle."""
    shown = request.headers.get("Authorization", "")
    return f"failed: {shown} ".ljust(100 - len(shown) // 2, ".") + shown + str(dict(request.headers))


def wordy(said: dict[str, Any]) -> dict[str, Any]:
    """The same, as a later version might say it: fields that nobody knows, in another order, null for what is empty."""
    if not misbehaves("wordy"):
        return said
    more = {"apiVersion": 2, "labels": {"id": None}, "createdAt": None}
    return more | {name: value or None for name, value in reversed(said.items())}


async def empty(_request: web.Request) -> web.Response:
    """A static health answer."""
    return web.Response()


async def metrics(_request: web.Request) -> web.Response:
    """Metrics of the process alone."""
    return web.Response(text=f"process_cpu_seconds_total {time.process_time()}\n")


def application(routes: list[tuple[str, str, Handler]]) -> web.Application:
    """These routes, below BASE_PATH as behind a reverse proxy; no HEAD, no limit of size."""
    app = web.Application(middlewares=[answers], client_max_size=1 << 30)
    for method, below, handler in routes:
        path = os.environ.get("BASE_PATH", "") + below
        if method == "GET":
            app.router.add_get(path, handler, allow_head=False)
        else:
            app.router.add_route(method, path, handler)
    return app


async def listen(app: web.Application, port: int, host: str = "127.0.0.1") -> None:
    """Serve there."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
