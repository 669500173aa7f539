"""Tokens that last shorter than a run: on a real lab, and on a small real server that refuses them for ever."""

import asyncio
import pathlib
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from platformfiles import STREAMSPACE

from chaosreprise.errors import Unreachable
from chaosreprise.history import Answer
from chaosreprise.platform import adapter, file
from chaosreprise.platform.adapter import Operation
from chaosreprise.stack import starter

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
        (folder / "p.toml").write_text(STREAMSPACE.format(port=listener.getsockname()[1]))
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


def lists(folder: pathlib.Path, answers: list[tuple[int, object]]) -> tuple[list[str], list[str]]:
    """Tidying up where a list is answered so, one after the other: whom it stopped, and all that was asked."""
    asked: list[str] = []

    async def main() -> list[str]:
        async def any_call(request: web.Request) -> web.Response:
            asked.append(f"{request.method} {request.path_qs}")
            if request.path.endswith("login"):
                return web.json_response({"token": "t", "user": {"role": "admin"}})
            status, body = (202, {}) if request.method == "DELETE" else answers.pop(0)
            return web.json_response(body, status=status, headers={"Retry-After": "0"} if status == 429 else {})

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", any_call)
        return await with_server(folder, app)

    return asyncio.run(main()), asked


async def with_server(folder: pathlib.Path, app: web.Application) -> list[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        site = web.SockSite(runner, free)
        await site.start()
        (folder / "password").write_text("word")
        (folder / "p.toml").write_text(STREAMSPACE.format(port=free.getsockname()[1]))
        try:
            return await adapter.make(file.load(str(folder / "p.toml")), "r1").tidy()
        finally:
            await runner.cleanup()


def test_who_tidies_up_asks_for_each_user_where_the_whole_list_comes_in_parts_and_waits_when_told_to(
    tmp_path: pathlib.Path,
) -> None:
    ours = {"name": "s1", "state": "running", "tags": ["reprise-r1"], "resources": None}
    part, own = {"sessions": [], "total": 9}, {"sessions": [ours], "total": 1}
    gone = {"sessions": None, "total": 0}
    stopped, asked = lists(tmp_path, [(200, part), (429, {}), (200, own), (200, gone)])
    assert stopped == ["s1"]
    assert [one for one in asked if "login" not in one] == [
        "GET /api/v1/sessions",
        "GET /api/v1/sessions?user=a",
        "GET /api/v1/sessions?user=a",
        "DELETE /api/v1/sessions/s1",
        "GET /api/v1/sessions",
    ]
    with pytest.raises(Unreachable, match=r"may be left .*not whole, even for one user"):
        lists(tmp_path, [(200, part), (200, part)])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate")
def test_a_certificate_of_ones_own_is_trusted_where_this_machine_is_told_to(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names], check=True, capture_output=True)

    async def main() -> None:
        trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trusted.load_cert_chain(cert, key)
        runner = web.AppRunner(Platform(lambda _: True).application())
        await runner.setup()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            await web.SockSite(runner, free, ssl_context=trusted).start()
            (tmp_path / "password").write_text("word")
            text = STREAMSPACE.format(port=free.getsockname()[1]).replace("http:", "https:")
            (tmp_path / "p.toml").write_text(text)
            try:
                speaks = adapter.make(file.load(str(tmp_path / "p.toml")), "r1")
                await speaks.open()
                await speaks.close()
            finally:
                await runner.cleanup()

    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(main())
    monkeypatch.setenv("SSL_CERT_FILE", cert)
    asyncio.run(main())
