"""How a StreamSpace is asked by who examines it: each question by itself, and nothing that would change it."""

from typing import Any

import httpx

from chaosreprise.errors import RepriseError, Unreachable
from chaosreprise.platform.file import Platform
from chaosreprise.platform.streamspace_login import login


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
