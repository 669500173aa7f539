"""A question to a server that is frozen leaves no socket behind when it is cancelled before TLS was agreed upon."""

import asyncio

import httpx

from chaosreprise import handshakes


def test_a_handshake_that_is_cancelled_leaves_no_socket() -> None:
    asyncio.run(_ask())


async def _ask() -> None:
    begun, closed = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        begun.set()
        assert await reader.read() == b""
        closed.set()
        writer.close()

    async with asyncio.timeout(30), await asyncio.start_server(silent, "127.0.0.1") as server:
        async with httpx.AsyncClient(trust_env=False, event_hooks=handshakes.HOOKS) as http:
            asked = asyncio.create_task(http.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            await begun.wait()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            await closed.wait()
