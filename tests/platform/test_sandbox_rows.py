"""Rows of a sandbox in SQLite, read while a real process writes them: whole, at once, and disturbing nobody; what can't be read is a gap."""

import asyncio
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from chaosreprise.clock import SystemClock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Coverage, Report, Timed
from chaosreprise.platform import sandbox_rows
from chaosreprise.platform.file import Evidence

WRITER = """
import sqlite3, sys
# waits for no lock, as the platform does not
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
db.execute(f"pragma journal_mode={sys.argv[2]}")
db.execute("pragma wal_autocheckpoint=0")
db.execute("create table if not exists sessions (id text primary key, status text, runtime_id text)")
db.execute("create table if not exists session_steps (id text primary key, session_id text, command text, status text)")
print("ready", flush=True)
for line in sys.stdin:
    try:
        for statement in line.strip().split(";"):
            db.execute(statement)
        print("done", flush=True)
    except sqlite3.Error as error:
        print(error, flush=True)
"""
MANY = (
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) "
    "insert into session_steps select {name} || i, 's', hex(zeroblob(500)), 'accepted' from n"
)
MODES = ["delete", "truncate", "persist", "wal"]


class Writer:
    def __init__(self, path: pathlib.Path, mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.said() == "ready"

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def begin(self, statements: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{statements}\n")
        self.process.stdin.flush()

    def do(self, statements: str) -> str:
        self.begin(statements)
        return self.said()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


Begin = Callable[[str], Writer]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "control plane?.db"


@pytest.fixture
def writer(path: pathlib.Path) -> Iterator[Begin]:
    begun: list[Writer] = []

    def begin(mode: str) -> Writer:
        begun.append(Writer(path, mode))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def steps(path: pathlib.Path) -> list[str]:
    return [str(row[0]) for row in asyncio.run(sandbox_rows.Sqlite(path).read())[1]]


@pytest.mark.parametrize("mode", MODES)
def test_a_row_is_there_as_soon_as_it_was_acknowledged(mode: str, path: pathlib.Path, writer: Begin) -> None:
    own = writer(mode)
    for number in range(5):
        assert own.do(f"insert into session_steps values ('step-{number}', 's', 'code', 'accepted')") == "done"
        assert steps(path) == [f"step-{before}" for before in range(number + 1)]


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_disturbs_no_writer_and_sees_no_row_that_is_taken_back(
    mode: str, path: pathlib.Path, writer: Begin
) -> None:
    own = writer(mode)
    rounds = [
        f"insert into session_steps values ('kept-{n}', 's', 'code', 'accepted');"
        f"begin;insert into session_steps values ('gone-{n}', 's', 'code', 'accepted');rollback"
        for n in range(100)
    ]
    own.begin("\n".join(rounds))
    looked: list[list[str]] = []
    while not looked or "kept-99" not in looked[-1]:
        try:
            looked.append(steps(path))
        except Unreachable:  # it wrote all the time
            continue
    assert [own.said() for _ in rounds] == ["done"] * len(rounds)
    assert {name.partition("-")[0] for seen in looked for name in seen} == {"kept"}
    assert all(before == after[: len(before)] for before, after in pairwise(looked))


def test_what_is_not_committed_is_no_row_though_it_stands_in_the_file(path: pathlib.Path, writer: Begin) -> None:
    own = writer("delete")
    assert own.do("insert into session_steps values ('before', 's', 'code', 'accepted')") == "done"
    size = path.stat().st_size
    assert own.do("pragma cache_size=2;begin;" + MANY.format(name="'open-'")) == "done"
    assert path.stat().st_size > size, "it has spilled"
    with pytest.raises(Unreachable, match="a change is under way"):
        steps(path)
    assert own.do("rollback") == "done"
    assert steps(path) == ["before"]


def test_what_a_killed_writer_has_left_open_is_a_gap_until_somebody_takes_it_back(
    path: pathlib.Path, writer: Begin
) -> None:
    own = writer("delete")
    assert own.do("insert into session_steps values ('before', 's', 'code', 'accepted')") == "done"
    assert own.do("pragma cache_size=2;begin;" + MANY.format(name="'open-'")) == "done"
    own.process.send_signal(signal.SIGKILL)
    own.process.wait()
    with pytest.raises(Unreachable, match="or was never finished"):
        steps(path)
    assert writer("delete").do("select count(*) from session_steps") == "done"
    assert steps(path) == ["before"]


def test_a_lock_is_a_gap_where_it_keeps_readers_out_and_none_where_nothing_has_changed(
    path: pathlib.Path, writer: Begin
) -> None:
    own = writer("delete")
    assert own.do("insert into session_steps values ('before', 's', 'code', 'accepted');begin exclusive") == "done"
    assert steps(path) == ["before"]
    assert own.do("commit;pragma journal_mode=wal;pragma locking_mode=exclusive;delete from sessions") == "done"
    with pytest.raises(Unreachable, match="locked"):
        steps(path)


@pytest.mark.parametrize("what", ["", "not a database" * 100])
def test_a_file_that_is_none_is_a_gap(what: str, path: pathlib.Path) -> None:
    with pytest.raises(Unreachable, match="No such file"):
        steps(path)
    path.write_text(what)
    with pytest.raises(Unreachable, match=r"no such table|not a database"):
        steps(path)


def test_its_source_says_when_it_could_not_look(path: pathlib.Path, writer: Begin) -> None:
    """And goes on where it was."""
    own = writer("delete")
    assert own.do("insert into session_steps values ('before', 's', 'code', 'accepted')") == "done"
    events: list[Timed] = []

    async def until(holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.01)

    async def watch() -> None:
        stop = asyncio.Event()
        source = sandbox_rows.source(
            "rows", Evidence(kind="sqlite", path=path.name, hz=50), path.parent, "a1", lambda: None
        )
        task = asyncio.create_task(source.run(SystemClock(), events.append, stop))
        await until(lambda: any(isinstance(one, Report) for one in events))
        own.do("pragma cache_size=2;begin;" + MANY.format(name="'late-'"))
        await until(lambda: [one.on for one in events if isinstance(one, Coverage)] == [True, False])
        own.do("commit")
        await until(lambda: sum(isinstance(one, Report) for one in events) == 2001)
        stop.set()
        await task

    asyncio.run(asyncio.wait_for(watch(), 60))
    covered = [one for one in events if isinstance(one, Coverage)]
    assert [one.on for one in covered][:3] == [True, False, True]
    assert "a change is under way" in covered[1].why
    assert {one.state for one in events if isinstance(one, Report)} == {"completed"}


def test_columns_of_other_types_are_read_as_text(path: pathlib.Path, writer: Begin) -> None:
    own = writer("delete")
    said = "insert into sessions values (x'7331', null, 1);insert into session_steps values (7, null, x'ff', 3)"
    assert own.do(said) == "done"
    events: list[Timed] = []

    async def watch() -> None:
        stop = asyncio.Event()
        stop.set()
        source = sandbox_rows.source(
            "rows", Evidence(kind="sqlite", path=path.name, hz=50), path.parent, "a1", lambda: None
        )
        await source.run(SystemClock(), events.append, stop)

    asyncio.run(watch())
    reports = [(one.about, one.id, one.state) for one in events if isinstance(one, Report)]
    assert reports == [("session", "s1", ""), ("command", "7", "3")]
