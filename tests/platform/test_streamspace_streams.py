"""A held stream against a small real server: when it broke, as exactly as that is known, and why; and what is held at all."""

import asyncio
import pathlib
import socket
import struct
import time

import pytest
from aiohttp import web
from platformfiles import STREAMSPACE

from chaosreprise.platform import adapter, file, streamspace_streams
from chaosreprise.platform.adapter import Broken, Held

SESSION = {"streamingProtocol": "websocket", "streamingPath": "/api/v1/sessions/s1/stream"}
TICK_NS = 2 * round(streamspace_streams.LOOK_S * 1e9)


class Platform:
    """Logs in, knows one session, and lets `stream` say what happens on its stream."""

    def __init__(self, stream, session=SESSION) -> None:
        self._stream, self._session = stream, session
        self.asked: list[str] = []
        self.ended_at = 0

    def application(self) -> web.Application:
        async def login(_: web.Request) -> web.Response:
            return web.json_response({"token": "t0ken"})

        async def session(_: web.Request) -> web.Response:
            return web.json_response(self._session)

        async def stream(request: web.Request) -> web.StreamResponse:
            self.asked.append(request.headers["Authorization"])
            if self._stream is None:
                return web.json_response({"error": "x"}, status=409)
            said = web.WebSocketResponse(autoping=False)
            await said.prepare(request)
            await self._stream(self, said, request.transport)
            return said

        made = web.Application()
        made.add_routes([web.post("/api/v1/auth/login", login), web.get("/api/v1/sessions/s1", session)])
        made.add_routes([web.get("/api/v1/sessions/s1/stream", stream)])
        return made


async def held(platform: Platform, folder: pathlib.Path, look) -> object:
    """What `look` makes of what the adapter holds."""
    runner = web.AppRunner(platform.application(), shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    (folder / "password").write_text("word")
    (folder / "p.toml").write_text(STREAMSPACE.format(port=listener.getsockname()[1]))
    speaker = adapter.make(file.load(str(folder / "p.toml")), "r1")
    await speaker.open()
    found: Held | None = await speaker.hold("s1")
    try:
        return await look(found)
    finally:
        if found is not None:
            await found.close()
        await speaker.close()
        await runner.cleanup()


def broken(platform: Platform, folder: pathlib.Path) -> Broken:
    async def look(found: Held | None) -> Broken:
        assert found is not None
        return await asyncio.wait_for(found.broken(), 5)

    return asyncio.run(held(platform, folder, look))


async def closes(platform: Platform, said: web.WebSocketResponse, _) -> None:
    await asyncio.sleep(0.2)
    platform.ended_at = time.monotonic_ns()
    await said.close(code=1001, message=b"it has ended")


async def resets(platform: Platform, said: web.WebSocketResponse, transport) -> None:
    await said.send_str("1")
    await asyncio.sleep(0.2)
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    platform.ended_at = time.monotonic_ns()
    transport.abort()


async def says_nothing(_: Platform, said: web.WebSocketResponse, __) -> None:
    await asyncio.sleep(5)


async def answers_pings(_: Platform, said: web.WebSocketResponse, __) -> None:
    async for one in said:
        await said.pong(one.data)


@pytest.mark.parametrize(
    ("stream", "why"), [(closes, "closed by the platform with 1001: it has ended"), (resets, "the connection was lost")]
)
def test_a_stream_that_ends_broke_between_two_looks_at_it_and_says_why(stream, why, tmp_path: pathlib.Path):
    platform = Platform(stream)
    found = broken(platform, tmp_path)
    assert found.why.startswith(why)
    assert found.lo <= platform.ended_at <= found.hi
    assert found.hi - found.lo < TICK_NS + 1_000_000_000, "a busy machine may be late"
    assert platform.asked == ["Bearer t0ken"]


def test_what_comes_is_passed_over_whatever_its_length_and_a_ping_is_answered(tmp_path: pathlib.Path):
    async def talks(platform: Platform, said: web.WebSocketResponse, _) -> None:
        for length in (0, 125, 126, 65_535, 65_536, 300_000):
            await said.send_bytes(b"x" * length)
        await said.ping(b"there?")
        answer = await said.receive()
        platform.asked.append(f"{answer.type.name} {bytes(answer.data)!r}")
        await said.close(code=4000)
        platform.asked.append(f"closed {said.close_code}")

    platform = Platform(talks)
    assert broken(platform, tmp_path).why == "closed by the platform with 4000"
    assert platform.asked[1:] == ["PONG b'there?'", "closed 1000"]


@pytest.mark.parametrize(
    "head", ["HTTP/1.1 101 X\r\n\r\n", "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: x\r\n\r\n", "x\r\n\r\n", ""]
)
def test_what_is_no_websocket_is_not_held(head: str):
    async def look() -> object:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await streamspace_streams.hold(f"http://127.0.0.1:{port}/x", {}, [])

    assert asyncio.run(look()) is None


def test_a_silent_stream_broke_after_its_last_sign_of_life(tmp_path: pathlib.Path, monkeypatch):
    monkeypatch.setattr(streamspace_streams, "SILENT_S", 0.3)
    began = time.monotonic_ns()
    found = broken(Platform(says_nothing), tmp_path)
    assert found.why == "nothing was heard for 0.3 s"
    assert began < found.lo < found.hi - 300_000_000


def test_a_stream_that_answers_to_pings_is_alive(tmp_path: pathlib.Path, monkeypatch):
    monkeypatch.setattr(streamspace_streams, "SILENT_S", 0.5)
    monkeypatch.setattr(streamspace_streams, "PING_S", 0.1)

    async def look(found: Held | None) -> bool:
        assert found is not None
        waiting = asyncio.create_task(found.broken())
        await asyncio.sleep(1.2)
        waiting.cancel()
        return waiting.done()

    assert asyncio.run(held(Platform(answers_pings), tmp_path, look)) is False


def test_a_stall_of_whoever_holds_it_is_nobodys_silence(tmp_path: pathlib.Path, monkeypatch):
    monkeypatch.setattr(streamspace_streams, "SILENT_S", 0.4)

    async def look(found: Held | None) -> bool:
        assert found is not None
        waiting = asyncio.create_task(found.broken())
        await asyncio.sleep(0.1)
        time.sleep(0.6)
        await asyncio.sleep(0.1)
        done = waiting.done()
        waiting.cancel()
        return done

    assert asyncio.run(held(Platform(says_nothing), tmp_path, look)) is False


@pytest.mark.parametrize(
    ("stream", "session"),
    [
        (answers_pings, {**SESSION, "streamingProtocol": "vnc"}),
        (answers_pings, {**SESSION, "streamingPath": ""}),
        (answers_pings, {"name": "s1"}),
        (None, SESSION),
    ],
)
def test_nothing_is_held_where_no_stream_is_spoken_or_it_does_not_open(stream, session, tmp_path: pathlib.Path):
    async def look(found: Held | None) -> bool:
        return found is None

    assert asyncio.run(held(Platform(stream, session), tmp_path, look)) is True
