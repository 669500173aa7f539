"""What the keeper does itself about a fault on a link: its toxics are removed by their mark, over Toxiproxy's HTTP API.

Small, since the keeper is: one connection a request, no library. It repeats what the warden would have done, and like that may
be repeated. A server that is away is asked again for a while, since it may just be coming back.
"""

import asyncio
import contextlib
import pathlib
import time
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from chaosreprise.stack.mends import Toxics

PATIENCE_S = 180.0
AGAIN_S = 0.1
ANSWER_S = 30.0  # a real server answers only when it has given up all receivers that no longer read, up to 25 s
GONE = 404


async def remove(mend: Toxics) -> None:
    """Returns when none of these toxics is there, or nobody has answered for a while."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(ANSWER_S):
                await _remove(mend)
                return
        if time.monotonic() > until:
            return
        await asyncio.sleep(AGAIN_S)


async def _remove(mend: Toxics) -> None:
    path = f"/proxies/{quote(mend.proxy, safe='')}"
    proxy = await _ask(mend, "GET", path)
    ours = [toxic["name"] for toxic in proxy.get("toxics") or [] if toxic["name"].startswith(mend.mark)]
    if ours and not proxy.get("enabled"):
        await _ask(mend, "POST", path, b'{"enabled": true}')
    for name in ours:
        await _ask(mend, "DELETE", f"{path}/toxics/{quote(name, safe='')}")


async def _ask(mend: Toxics, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
    """What is answered; empty for what is not there. Raises OSError or ValueError for anything else."""
    place = urlsplit(mend.admin)
    allowed = f"Authorization: Bearer {_token(mend.token_file)}\r\n" if mend.token_file else ""
    head = f"{method} {path} HTTP/1.0\r\nHost: {place.netloc}\r\nUser-Agent: chaosreprise\r\n{allowed}Content-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80)
    try:
        writer.write(head.encode() + body)
        said, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status = int(said.split()[1])
    if status >= 400 and status != GONE:
        raise ValueError(f"{method} {path}: {status}")
    return msgspec.json.decode(content, type=dict[str, Any]) if content and status < 300 else {}


def _token(file: str) -> str:
    return pathlib.Path(file).read_text().strip()
