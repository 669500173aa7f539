"""How long an owner waits for its load: a real one, at a small real control plane with a limit of rates."""

import asyncio
import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Iterator

import msgspec
import pytest
from aiohttp import web
from platformfiles import STREAMSPACE

from chaosreprise.errors import RunBroken
from chaosreprise.run.patience import LoadChild
from chaosreprise.workload.plan import Plan

PLAN = Plan(seed=1, agents=["a1"], reserve=1, ends=0, wakes=0, per_agent=1, starts=1, queue=1, mix={}, users=["a"])
ALONE_S, TIMES = 1, 4


@contextlib.contextmanager
def load(folder: pathlib.Path, answered_s: float) -> Iterator[LoadChild]:
    arguments = ["--run", "r", "--history", str(folder), "--kind", "streamspace"]
    child = LoadChild("load", "chaosreprise.workload", arguments, folder / "logs", answered_s)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
        child.close()


def test_however_often_the_platform_wants_to_be_left_alone_that_is_waited_for(tmp_path: pathlib.Path) -> None:
    """Four times a second, where two are waited for answers."""
    asked: list[float] = []

    async def login(request: web.Request) -> web.Response:
        return web.json_response({"token": "t", "user": {"role": "admin"}})

    async def create(request: web.Request) -> web.Response:
        asked.append(time.monotonic())
        if len(asked) <= TIMES:
            return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": str(ALONE_S)})
        return web.json_response({"error": "no disk left"}, status=500)

    async def run() -> None:
        application = web.Application()
        application.add_routes(
            [web.post("/api/v1/auth/login", login), web.post("/api/v1/sessions", create)],
        )
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        (tmp_path / "password").write_text("word")
        (tmp_path / "platform.toml").write_text(STREAMSPACE.format(port=port))
        try:
            await asyncio.to_thread(ask)
        finally:
            await runner.cleanup()

    def ask() -> None:
        with load(tmp_path, answered_s=2.0) as child:
            child.ask("plan", 60.0, plan=msgspec.to_builtins(PLAN), platform=str(tmp_path / "platform.toml"))
            with pytest.raises(RunBroken, match="only 0 of 1 sessions could be made: 500"):
                child.ask("open")  # the platform's own word, and not that the load took too long

    asyncio.run(run())
    assert len(asked) == TIMES + 1
    assert asked[-1] - asked[0] >= TIMES * ALONE_S, "longer than is waited without a reason"


def test_a_load_that_is_frozen_is_not_waited_for_for_ever(tmp_path: pathlib.Path) -> None:
    with load(tmp_path, answered_s=0.2) as child:
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(RunBroken, match=r"has not answered to `drain` within 0\.2 s, nor to anything else"):
            child.ask("drain")
