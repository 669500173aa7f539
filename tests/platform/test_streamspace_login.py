"""Tokens that last shorter than a run: on a real lab, and on a small real server that refuses them for ever."""

import asyncio
import pathlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from chaosreprise.errors import Unreachable
from chaosreprise.history import Answer
from chaosreprise.platform import adapter, file
from chaosreprise.platform.adapter import Operation
from chaosreprise.stack import starter

TEXT = """\
version = 1
kind = "streamspace"
name = "x"
[control]
url = "http://127.0.0.1:{port}"
user = "u"
password = {{ file = "password" }}
template = "t"
[budget]
users = ["a"]
[timing]
settle = {{ backoff_s = 1, reconcile_s = 1, slowest_s = 1 }}
"""
LIFE_S = 1.0
MANY = 100  # more than the adapter has connections


class Platform:
    """A control plane whose tokens are worth something for as long as `worth` says; what it was asked, and what it did."""

    def __init__(self, worth: Callable[[str], bool], logins: tuple[int, ...] = ()) -> None:
        self._worth, self._logins = worth, list(logins)
        self.given = 0
        self.asked: Counter[int] = Counter()
        self.done: list[str] = []

    def application(self) -> web.Application:
        async def login(request: web.Request) -> web.Response:
            assert (await request.json()) == {"username": "u", "password": "word"}
            status = self._logins.pop(0) if self._logins else 200
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
            self.given += status == 200
            return web.json_response({"token": f"t{self.given}"} if status == 200 else {"error": "x"}, status=status)

        async def stop(request: web.Request) -> web.Response:
            good = self._worth(request.headers["Authorization"].removeprefix("Bearer "))
            self.asked[200 if good else 401] += 1
            if not good:
                return web.json_response({"error": "Invalid token"}, status=401)
            self.done.append(request.match_info["name"])
            return web.json_response({"name": request.match_info["name"], "commandId": "cmd-1"}, status=202)

        made = web.Application()
        made.add_routes([web.post("/api/v1/auth/login", login), web.delete("/api/v1/sessions/{name}", stop)])
        return made


def on(
    platform: Platform, folder: pathlib.Path, work: Callable[[adapter.Adapter], Awaitable[list[Answer]]]
) -> list[Answer]:
    async def main() -> list[Answer]:
        runner = web.AppRunner(platform.application(), shutdown_timeout=0.1)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        (folder / "password").write_text("word")
        (folder / "p.toml").write_text(TEXT.format(port=listener.getsockname()[1]))
        speaker = adapter.make(file.load(str(folder / "p.toml")), "r1")
        try:
            await speaker.open()
            return await work(speaker)
        finally:
            await speaker.close()
            await runner.cleanup()

    return asyncio.run(main())


def stop(name: str) -> Operation:
    return Operation(cmd=name, op="stop", key=name, session=name)


async def one(speaker: adapter.Adapter) -> list[Answer]:
    return [await speaker.perform(stop("s1"))]


def test_all_calls_that_one_token_fails_share_one_login_and_are_done_once_each(tmp_path):
    platform = Platform(lambda token: token != "t1")
    answers = on(
        platform, tmp_path, lambda speaker: asyncio.gather(*(speaker.perform(stop(f"s{n}")) for n in range(MANY)))
    )
    assert Counter(answer.outcome for answer in answers) == {"ok": MANY}
    assert sorted(platform.done) == sorted(f"s{n}" for n in range(MANY))
    assert platform.given == 2
    assert platform.asked[200] == MANY


def test_a_platform_that_refuses_every_token_is_asked_twice_and_called_so(tmp_path):
    platform = Platform(lambda _: False)
    [answer] = on(platform, tmp_path, one)
    assert (answer.outcome, answer.rule, answer.status) == ("fail", "no-token", 401)
    assert answer.error is not None
    assert answer.error.endswith(
        "refuses u with 401 right after a login that it accepted: check the clocks and the secret of its tokens"
    )
    assert (platform.asked, platform.given, platform.done) == ({401: 2}, 2, [])


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "login as u was refused with 401: check control.user"),
        (503, "with 503"),
        (0, "the control plane does not answer"),
    ],
)
def test_a_login_that_fails_leaves_the_refusal_which_proves_that_nothing_was_done(tmp_path, status, says):
    platform = Platform(lambda _: False, logins=(200, status))
    [answer] = on(platform, tmp_path, one)
    assert (answer.outcome, answer.rule) == ("fail", "no-token")
    assert answer.error is not None
    assert says in answer.error
    assert platform.done == []


def test_whoever_could_not_log_in_at_first_is_told_so(tmp_path):
    with pytest.raises(Unreachable, match="does not answer"):
        on(Platform(lambda _: True, logins=(0,)), tmp_path, one)


def test_on_a_lab_whose_tokens_last_a_second_every_kind_of_call_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    stack = starter.start(agents=1, users=2, heartbeat_s=0.2, reconcile_s=0.1, token_s=LIFE_S, owned=True)
    try:
        found = asyncio.run(_a_life(file.load(str(stack.platform_file))))
    finally:
        stack.end()
    assert [answer.error for answer in found if answer.outcome != "ok"] == []


async def _a_life(platform: file.Platform) -> list[Answer]:
    """A session from start to stop, each call after the token of the one before has run out; its stream is held once."""
    speaker = adapter.make(platform, "r1")
    await speaker.open()
    try:
        made = await speaker.perform(
            Operation(cmd="c0", op="start", key=speaker.keys(1)[0], user=platform.file.budget.users[0])
        )
        answers, name = [made], made.session
        until = time.monotonic() + 60
        while (said := await speaker.perform(Operation(cmd="r", op="read", key="r", session=name))).result != "running":
            assert time.monotonic() < until, said
            await asyncio.sleep(0.05)
        await asyncio.sleep(LIFE_S)
        held = await speaker.hold(name or "")
        assert held is not None, "a stream is opened with a token that is worth something"
        await held.close()
        for number, op in enumerate(("step", "read", "stop")):
            await asyncio.sleep(LIFE_S)
            answers.append(await speaker.perform(Operation(cmd=f"c{number}", op=op, key=f"k{number}", session=name)))  # type: ignore[arg-type]
        return [*answers, said]
    finally:
        await speaker.close()
