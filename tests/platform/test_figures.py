"""What is sampled beside the load: where a control plane connects to, and how long statements take; of a real lab that misbehaves."""

import asyncio
import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from chaosreprise.clock import SystemClock
from chaosreprise.errors import BadInput
from chaosreprise.history import Coverage, Observe, Timed
from chaosreprise.observe import Source
from chaosreprise.platform import adapter, file, processes
from chaosreprise.platform.processes import Connection
from chaosreprise.procs import connections, myself
from chaosreprise.stack import starter

SLEEP_S = 30.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[starter.Stack]:
    """It asks a Kubernetes with each create."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        environment.setenv("REPRISE_LAB_DEFECT", "asks-kubernetes")
        stack = starter.start(agents=1, users=1, heartbeat_s=0.2, reconcile_s=0.1, owned=True)
        try:
            yield stack
        finally:
            stack.end()


def seen(source: Source, until: str, value: object) -> list[Timed]:
    """What a source tells, until it has told this."""
    told: list[Timed] = []

    async def watch() -> None:
        stop = asyncio.Event()

        def take(event: Timed) -> None:
            told.append(event)
            if getattr(event, "signal", "") == until and (
                event.value == value or (callable(value) and value(event.value))
            ):  # type: ignore[attr-defined]
                stop.set()

        await asyncio.wait_for(source.run(SystemClock(), take, stop), 60)

    asyncio.run(watch())
    return told


def of(path: pathlib.Path, name: str) -> Source:
    return next(one for one in adapter.make(file.load(str(path)), "r1").sources() if one.name == name)


def create(path: pathlib.Path) -> None:
    control = file.load(str(path)).file.control
    assert control is not None
    with httpx.Client(base_url=f"{control.url}/api/v1", trust_env=False, timeout=20) as http:
        given = {"username": "admin", "password": (path.parent / "secrets" / "admin").read_text()}
        token = http.post("/auth/login", json=given).json()["token"]
        body = {"user": "user01", "template": "python", "resources": {"cpu": "100m", "memory": "128Mi"}}
        assert http.post("/sessions", json=body, headers={"Authorization": f"Bearer {token}"}).status_code == 202


def test_a_control_plane_that_calls_nobody_is_connected_to_what_is_known_and_then_to_what_it_calls(
    lab: starter.Stack,
) -> None:
    before = seen(of(lab.platform_file, "processes"), "control-plane.cores", lambda cores: cores >= 0)
    assert {one.value for one in before if isinstance(one, Observe) and one.signal == "elsewhere"} == {0}
    assert [one.on for one in before if isinstance(one, Coverage)] == [True, False]
    mib = {one.signal: one.value for one in before if isinstance(one, Observe) and one.signal.endswith(".mib")}
    assert (
        set(mib)
        == {"agents.mib", "control-plane.mib", "database.mib", "links.mib"} & set(mib)
        >= {"control-plane.mib", "database.mib"}
    )
    assert min(mib.values()) > 1
    create(lab.platform_file)
    after = seen(of(lab.platform_file, "processes"), "elsewhere", 1)
    [ends] = [one.value for one in after if isinstance(one, Observe) and one.signal == "ends"][-1:]
    assert [end.partition(":")[0] for end in ends] == ["127.0.0.1"]


def test_a_connection_is_told_by_who_has_opened_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        here, _ = server.accept()
        with here:
            ends = set(processes._opened(myself(), connections(), {server.getsockname()[1]}))
            assert server.getsockname() in ends
            assert client.getsockname() not in ends


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("0100007F:1F90", ("127.0.0.1", 8080)),
        ("0000000000000000FFFF00000100007F:0050", ("127.0.0.1", 80)),
        ("B80D01200000000000000000010000 00:01BB".replace(" ", ""), ("2001:db8::1", 443)),
    ],
)
def test_an_address_of_the_kernels_table_is_written_as_people_do(words: str, end: tuple[str, int]) -> None:
    assert processes._remote(Connection("", words, "01", 1)) == end


def test_a_statement_that_takes_long_is_seen_and_one_that_waits_for_a_lock_is_not(lab: starter.Stack) -> None:
    dsn = (lab.platform_file.parent / "secrets" / "control.dsn").read_text()

    def run(*statements: str) -> None:
        with contextlib.suppress(psycopg.errors.QueryCanceled), psycopg.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    with psycopg.connect(dsn) as holder:
        holder.execute("select pg_advisory_lock(7)")
        waiting = threading.Thread(target=run, args=("select pg_advisory_lock(7)",))
        waiting.start()
        told = seen(of(lab.platform_file, "statistics"), "statement_ms", lambda ms: ms < 500)
        assert told
        holder.execute("select pg_advisory_unlock(7)")
        holder.commit()
        waiting.join()
    sleeping = threading.Thread(target=run, args=("set statement_timeout = 2000", f"select pg_sleep({SLEEP_S})"))
    began = time.monotonic()
    sleeping.start()
    seen(of(lab.platform_file, "statistics"), "statement_ms", lambda ms: ms > 500)
    assert time.monotonic() - began > 0.5
    sleeping.join()


def test_who_is_not_shown_what_others_do_is_told_what_to_grant(lab: starter.Stack) -> None:
    superuser = (lab.platform_file.parent / "secrets" / "superuser.dsn").read_text()
    told: list[Timed] = []

    async def once() -> None:
        stop = asyncio.Event()
        stop.set()
        await of(lab.platform_file, "statistics").run(SystemClock(), told.append, stop)

    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("revoke pg_read_all_stats from reprise_reader")
        try:
            asyncio.run(once())
        finally:
            connection.execute("grant pg_read_all_stats to reprise_reader")
    [gap] = told
    assert isinstance(gap, Coverage)
    assert (gap.on, gap.why) == (
        False,
        "the role reprise_reader is not shown what others do: grant pg_read_all_stats to reprise_reader",
    )


def test_what_is_known_is_a_host_and_a_port(lab: starter.Stack, tmp_path: pathlib.Path) -> None:
    text = lab.platform_file.read_text()
    path = lab.platform_file.with_name("wrong.toml")
    path.write_text(text.replace('known = ["', 'known = ["database", "'))
    try:
        with pytest.raises(BadInput, match=r"evidence\.processes\.known.*such as 10\.0\.0\.5:5432"):
            file.load(str(path))
    finally:
        path.unlink()
