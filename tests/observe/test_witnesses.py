"""Witnesses and their sink: real processes that report over real sockets, are stopped, killed, doubled and cut off."""

import ast
import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from chaosreprise import witness
from chaosreprise.clock import SystemClock
from chaosreprise.history import Coverage, Observe, Sign, Timed
from chaosreprise.observe.witnesses import WitnessSource

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICE = ROOT / "k8s" / "witness" / "service.yaml"
TOKEN = "shown-by-witnesses"
SECOND = 1_000_000_000
FILE = str(pathlib.Path(witness.__file__))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Sink:
    """A sink that listens, and what it told."""

    def __init__(self, port: int) -> None:
        self.port, self.events = port, list[Timed]()
        self.source = WitnessSource("witness", "127.0.0.1", port, TOKEN, 20)

    def signs(self, session: str = "s1") -> list[Sign]:
        return [event for event in self.events if isinstance(event, Sign) and event.session == session]

    def boots(self, session: str = "s1") -> list[str]:
        return list(dict.fromkeys(sign.inc[1] for sign in self.signs(session)))

    def gaps(self) -> list[str]:
        return [
            event.why for event in self.events if isinstance(event, Coverage) and not event.on and event.why != "done"
        ]

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():  # the test's own time limit ends it
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(port: int | None = None) -> AsyncIterator[Sink]:
    sink, stop = Sink(port or free_port()), asyncio.Event()
    task = asyncio.create_task(sink.source.run(SystemClock(), sink.events.append, stop))
    await sink.until(lambda: sink.events)
    try:
        yield sink
    finally:
        stop.set()
        await task


@contextlib.contextmanager
def living(
    port: int, session: str = "s1", *more: str, pod: str = "pod-1", token: str = TOKEN, stderr=subprocess.DEVNULL
):
    """A witness as it stands in an image: the file alone, without this project."""
    command = [
        sys.executable,
        "-I",
        "-S",
        FILE,
        "--sink",
        f"http://127.0.0.1:{port}/",
        "--session",
        session,
        "--pod",
        pod,
    ]
    process = subprocess.Popen([*command, *more], env={witness.TOKEN: token}, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def post(port: int, body: bytes | str, token: str = TOKEN) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/", body, {"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


async def posted(port: int, body: bytes | str, token: str = TOKEN) -> int:
    return await asyncio.to_thread(post, port, body, token)


def said(**other: Any) -> str:
    now = witness.now()
    fine = {"v": 1, "session": "s1", "pod": "p", "boot": "0" * 32, "now": now, "reports": [[1, now]]}
    return json.dumps(fine | other)


def test_each_process_of_a_session_is_told_apart_and_counts_its_reports():
    async def run() -> None:
        async with listening() as sink:
            began = time.monotonic_ns()
            with living(sink.port), living(sink.port, "s2"):
                await sink.until(lambda: sink.signs() and sink.signs()[-1].number >= 4 and sink.signs("s2"))
                signs = sink.signs()
                assert len({tuple(sign.inc) for sign in signs}) == 1
                assert signs[0].inc[0] == "pod-1"
                numbers = [sign.number for sign in signs]
                assert numbers == sorted(set(numbers))
                assert numbers[0] == 1
                assert all(began <= sign.lo <= sign.hi <= time.monotonic_ns() for sign in signs)
                assert sink.boots("s2") != sink.boots("s1")
            assert not sink.gaps()

    asyncio.run(run())


def test_a_process_that_was_killed_and_came_back_is_another_one():
    async def run() -> None:
        async with listening() as sink:
            with living(sink.port) as first:
                await sink.until(lambda: len(sink.signs()) > 2)
                first.kill()
                first.wait()
            assert await posted(sink.port, said(session="s2")) == 200  # what the first one had sent is read by now
            with living(sink.port):
                await sink.until(lambda: len(sink.boots()) == 2 and sink.signs()[-1].number > 2)
            first_boot, second_boot = sink.boots()
            lives = {boot: [sign for sign in sink.signs() if sign.inc[1] == boot] for boot in (first_boot, second_boot)}
            assert lives[second_boot][0].number == 1  # its memory is new
            assert lives[first_boot][-1].hi < lives[second_boot][0].lo

    asyncio.run(run())


def test_a_frozen_process_is_the_same_one_and_says_how_long_it_was_away():
    async def run() -> None:
        async with listening() as sink:
            with living(sink.port) as process:
                await sink.until(lambda: len(sink.signs()) > 2)
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(1.5)
                before = sink.signs()[-1].number
                process.send_signal(signal.SIGCONT)
                await sink.until(lambda: sink.signs()[-1].number > before + 2)
            assert len(sink.boots()) == 1
            assert max(sign.away_ns for sign in sink.signs()) > SECOND
            samples = [event.value for event in sink.events if isinstance(event, Observe)]
            assert max(samples) > 1
            assert not sink.gaps()

    asyncio.run(run())


def test_two_processes_of_one_session_at_once_surely_lived_together():
    async def run() -> None:
        async with listening() as sink:
            with living(sink.port, pod="pod-1"), living(sink.port, pod="pod-2"):
                await sink.until(lambda: len(sink.boots()) == 2 and _together(sink))

    asyncio.run(run())


def _together(sink: Sink) -> bool:
    """Whether both surely lived at one moment."""
    one, other = ([sign for sign in sink.signs() if sign.inc[1] == boot] for boot in sink.boots())
    return max(one[0].hi, other[0].hi) < min(one[-1].lo, other[-1].lo)


def test_what_was_said_while_the_sink_was_away_comes_later_and_is_dated_back():
    async def run() -> None:
        port = free_port()
        async with listening(port) as sink:
            with living(port) as process:
                await sink.until(lambda: len(sink.signs()) > 1)
                return_to = process.pid
                async with listening_again(sink, port) as again:
                    await again.until(lambda: len(again.signs()) > 3)
                assert not again.gaps()
                assert os.path.exists(f"/proc/{return_to}")
                first = again.signs()[0]
                assert first.number > 1
                assert again.boots() == sink.boots()

    asyncio.run(run())


@contextlib.asynccontextmanager
async def listening_again(sink: Sink, port: int) -> AsyncIterator[Sink]:
    """The sink ends, nobody listens for a while, and another one begins where it was."""
    await sink.source.close()
    await asyncio.sleep(1)
    async with listening(port) as again:
        yield again


def test_who_has_no_buffer_left_is_missed_by_the_numbers():
    async def run() -> None:
        async with listening() as sink:
            assert await posted(sink.port, said()) == 200
            assert await posted(sink.port, said(reports=[[9, witness.now() - 5]])) == 200
            assert any("7 reports of p never came" in why for why in sink.gaps())

    asyncio.run(run())


def test_what_comes_twice_counts_once():
    async def run() -> None:
        async with listening() as sink:
            same = said()
            assert [await posted(sink.port, same), await posted(sink.port, same)] == [200, 200]
        assert [sign.number for sign in sink.signs()] == [1]

    asyncio.run(run())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\x00", b"[]", b"[" * 60_000, b"{" * 5000, said(session="../../etc"), said(v=2), said(reports=[]), said(reports=[[0, 1]]),
        said(reports=[[2, 5], [1, 6]]), said(reports=[[1, 10**18 * 4]]), said(boot="x"), said(kept=-1), said(more="x"), said(session="s" * 300),
        said(found=["x"]), said(now=-1), said(reports=[[1, 2**70]]), "x" * 100_000,
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_a_gap_if_it_shows_the_token_and_nothing_otherwise(body: bytes | str):
    async def run() -> None:
        async with listening() as sink:
            assert await posted(sink.port, body, "another") == 401
            assert not sink.gaps()
            assert await posted(sink.port, body) == 400
            assert "can't be read" in sink.gaps()[0]
            assert await posted(sink.port, said()) == 200
        assert [sign.number for sign in sink.signs()] == [1]

    asyncio.run(run())


def test_who_says_what_it_can_not_have_heard_is_not_believed():
    async def run() -> None:
        async with listening() as sink:
            life = sink.source.life
            assert await posted(sink.port, said(echo=[life, time.monotonic_ns() + 10**12, 0])) == 400
            assert await posted(sink.port, said(echo=["another sink", 2**60, 0])) == 200  # of which we know no clock

    asyncio.run(run())


def test_what_speaks_no_http_does_not_end_the_sink():
    async def run() -> None:
        async with listening() as sink:
            for line in (
                b"\x16\x03\x01\n\n",
                b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\nx",
                b"GET\r\n" * 9000,
            ):
                with socket.create_connection(("127.0.0.1", sink.port)) as raw, contextlib.suppress(OSError):
                    raw.sendall(line)
            assert await posted(sink.port, said()) == 200

    asyncio.run(run())


def test_a_port_that_is_taken_is_said_in_one_sentence():
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            async with listening(port) as sink:
                await sink.until(sink.gaps)
                assert f"127.0.0.1:{port}: nobody can listen there (Address already in use)" in sink.gaps()[0]

    asyncio.run(run())


def test_an_end_that_is_asked_for_is_said_and_does_not_wait_for_a_sink():
    async def run() -> None:
        async with listening() as sink:
            with living(sink.port) as process:
                await sink.until(lambda: len(sink.signs()) > 1)
                process.terminate()
                assert await asyncio.to_thread(process.wait, 30) == 0
            await sink.until(lambda: sink.signs()[-1].ending)
        with living(free_port(), stderr=subprocess.PIPE) as alone:
            assert alone.stderr is not None
            assert b"the sink does not take it" in await asyncio.to_thread(alone.stderr.readline)
            alone.terminate()
            assert await asyncio.to_thread(alone.wait, 30) == 0
            alone.stderr.close()

    asyncio.run(run())


def test_files_are_counted_apart_from_memory(tmp_path: pathlib.Path):
    async def run() -> None:
        async with listening() as sink:
            for number in (1, 2):
                with living(sink.port, "s1", "--home", str(tmp_path)):
                    await sink.until(lambda number=number: len(sink.boots()) == number)
            first, second = [sign for sign in sink.signs() if sign.number == 1]
            assert [(first.kept, first.found), (second.kept, second.found)] == [(1, []), (2, [first.inc[1]])]
            assert {sign.found is None for sign in sink.signs() if sign.number > 1} <= {True}
            ledger = tmp_path / witness.LEDGER
            ledger.write_bytes(bytes(ledger.stat().st_size))
            with living(sink.port, "s3", "--home", str(tmp_path)):
                await sink.until(lambda: sink.signs("s3"))
            assert (sink.signs("s3")[0].kept, sink.signs("s3")[0].found) == (2, [""])
            with living(sink.port, "s2", "--home", str(tmp_path / "absent")):
                await sink.until(lambda: sink.signs("s2"))
            assert sink.signs("s2")[0].kept is None

    asyncio.run(run())


def test_a_session_is_known_by_what_its_deployment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path):
    monkeypatch.setattr(witness, "LABELS", tmp_path / "labels")
    pod = "alice-firefox-3f2a9b1c-7d9f8c6b5-x2x4k"
    assert witness.session_of(pod) == "alice-firefox-3f2a9b1c"
    (tmp_path / "labels").write_text('app="streamspace-session"\nsession="alice-other"\n')
    assert witness.session_of(pod) == "alice-other"
    monkeypatch.setenv(witness.SESSION, "told")
    assert witness.session_of(pod) == "told"
    monkeypatch.setenv(witness.HOME, str(tmp_path))
    assert witness.home_of() is None  # nothing is mounted there: a container's own layer is kept by nobody


def test_an_image_needs_this_file_alone():
    tree = ast.parse(pathlib.Path(FILE).read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    dockerfile = (ROOT / "k8s" / "witness" / "Dockerfile").read_text()
    [(source, target)] = re.findall(r"^COPY (\S+) (\S+)$", dockerfile, re.MULTILINE)
    assert (ROOT / source).samefile(FILE)
    [entry] = re.findall(r"^ENTRYPOINT (.+)$", dockerfile, re.MULTILINE)
    assert json.loads(entry) == ["python3", "-I", "-S", target]
    told = re.findall(r"(REPRISE_WITNESS_\w+)=", dockerfile)
    assert told == [witness.SINK, witness.TOKEN, witness.HOME]
    [sink] = re.findall(r"^ARG SINK=(.+)$", dockerfile, re.MULTILINE)
    assert sink == "http://reprise-witness:9470/"
    template = json.loads((ROOT / "k8s" / "witness" / "template.json").read_text())
    assert template["name"] == template["manifest"]["metadata"]["name"] == "reprise-witness"
    assert {"baseImage", "ports"} <= set(template["manifest"]["spec"])  # without which no session starts
    assert "name: reprise-witness\nspec:\n  ports:\n    - name: http\n      port: 9470\n" in SERVICE.read_text()


def test_a_witness_without_a_sink_says_what_it_needs():
    ran = subprocess.run([sys.executable, FILE, "--sink", "nowhere"], capture_output=True, text=True, env={})
    assert ran.returncode == 2
    assert "--sink 'nowhere': expected a URL such as http://10.0.0.7:9470/" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_sign_is_lost_in_a_history():
    sign = Sign(
        lo=1,
        hi=2,
        ledger="witness",
        session="s1",
        inc=["p", "b"],
        number=3,
        kept=1,
        found=["", "b"],
        away_ns=4,
        ending=True,
    )
    assert msgspec.json.decode(msgspec.json.encode(sign), type=Sign) == sign
