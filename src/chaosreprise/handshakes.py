"""A socket whose TLS handshake is cancelled is left open by httpcore (1.0, over anyio), once for each question to a server that is frozen."""

from collections.abc import Mapping
from typing import Any

import httpx


async def _close_what_is_cut(request: httpx.Request) -> None:
    opened: Any = None

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        nonlocal opened
        if event == "connection.connect_tcp.complete":
            opened = info["return_value"]
        elif event == "connection.start_tls.failed":
            await opened.aclose()

    request.extensions["trace"] = trace


HOOKS = {"request": [_close_what_is_cut]}
"""The `event_hooks` of a client whose questions may be cancelled."""
