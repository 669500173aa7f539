"""Faults by SQL on a real PostgreSQL: each bites who was connected before and who comes, and leaves nothing, whoever undoes it."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest
import toydatabase
from toystack import eventually

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotAllowed, NotPossible, NotProven
from chaosreprise.faults import client as faults
from chaosreprise.faults import heir, passing, registry, sql
from chaosreprise.faults.base import Context
from chaosreprise.faults.kinds import read_only
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform.links import OfFile
from chaosreprise.procs import myself

pytestmark = pytest.mark.long

KINDS = {
    "database.read_only": {},
    "database.exhaust_connections": {},
    "database.lock_table": {"table": "things"},
    "database.slow_statements": {"delay_s": 0.1},
}
HELD = ("database.read_only", "database.lock_table", "database.exhaust_connections")  # the last lets nobody in any more
TOO_MANY = "too many clients"
SOON_S = 10.0  # 0.3 s where nobody else uses the machine
HANGS = """
import asyncio, json, sys
from chaosreprise.clock import SECOND, boottime
from chaosreprise.faults import registry
from chaosreprise.faults.base import Context
from chaosreprise.procs import myself
platform, kinds = sys.argv[1], json.loads(sys.argv[2])
async def hang():
    targets, context = {}, Context(None, [myself()], platform_file=platform)
    for kind, args in kinds.items():
        targets[kind] = await registry.get(kind).plan(context, "database", args)
    lease_end = boottime() + 3 * SECOND
    for kind, target in targets.items():
        await registry.get(kind).inject(context, f"hangs/{kind}", target, lease_end)
    print(json.dumps(targets), flush=True)
    await asyncio.sleep(60)
asyncio.run(hang())
"""
OWNER = """
import os, pathlib, sys, json, time
from chaosreprise.faults import client
run, keeper, platform, history, kind, args = sys.argv[1:]
warden = client.Warden.start(run=run, platform_id=run, keeper=keeper, history=pathlib.Path(history), platform_file=platform, guarded=False)
warden.request("inject", fault="f1", kind=kind, on="database", hold_ns=60 * 10**9, args=json.loads(args))
print(warden.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    database = toydatabase.Database(tmp_path_factory.mktemp("stacks") / "database")
    yield database
    database.stack.end()


@pytest.fixture(scope="module")
def warden(database, tmp_path_factory):
    warden = start_warden(database, tmp_path_factory.mktemp("run"), "toy@sql")
    yield warden
    warden.close()


@pytest.fixture
def established(database):
    """A session of the platform, from before the fault."""
    with database.connect() as connection:
        yield connection


@pytest.fixture(autouse=True)
def whole(database):
    yield
    assert_whole(database)


def start_warden(database, folder, platform):
    return faults.Warden.start(
        run=f"run-{platform}",
        platform_id=platform,
        keeper=database.stack.address,
        history=folder,
        platform_file=str(database.platform_file),
        guarded=False,
    )


def inject(warden, kind, name, **args):
    return warden.request("inject", fault=name, kind=kind, on="database", hold_ns=60 * 10**9, args=KINDS[kind] | args)


def undo(warden, name):
    assert warden.request("undo", fault=name)["state"] == "clean"


def assert_whole(database):
    with database.connect() as connection:
        connection.execute("insert into things values (1)")
        connection.execute("truncate things")
    with database.connect("postgres") as connection:
        ours = "select pid, application_name from pg_stat_activity where application_name like 'reprise%'"
        assert connection.execute(ours).fetchall() == []
        left = "select name from pg_file_settings where name ~ 'reprise|read_only'"
        assert connection.execute(left).fetchall() == []
    assert heirs() == []


def heirs():
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if heir.MODULE.encode() in path.read_bytes().split(b"\0"):
                found.append(path)
    return found


def refuses_to_write(connection):
    try:
        connection.execute("insert into things values (1)")
    except psycopg.errors.ReadOnlySqlTransaction:
        return True
    return False


def bites(kind, database, established):
    """What its clients see."""
    match kind:
        case "database.read_only":
            assert refuses_to_write(established)
            assert established.execute("select count(*) from things").fetchone() == (0,)
            with database.connect() as new:
                assert refuses_to_write(new)
        case "database.exhaust_connections":
            established.execute("insert into things values (1)")
            for role in ("app", "postgres"):
                with pytest.raises(psycopg.OperationalError, match=TOO_MANY):
                    database.connect(role)
        case "database.lock_table":
            assert waits(established, "select count(*) from things")
            with database.connect() as new:
                assert waits(new, "insert into things values (1)")
            established.execute('select count(*) from "Other Things"')
        case "database.slow_statements":
            assert took(established, "select count(*) from things") > 0.05
            with database.connect() as new:
                assert took(new, 'insert into "Other Things" values (1)') > 0.05


def took(connection, statement):
    """The median of three."""
    found = []
    for _ in range(3):
        time.sleep(0.01)
        began = time.monotonic()
        connection.execute(statement)
        found.append(time.monotonic() - began)
    return sorted(found)[1]


def waits(connection, statement):
    connection.execute("set lock_timeout = 100")
    try:
        connection.execute(statement)
    except psycopg.errors.LockNotAvailable:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_by_sql_bites_and_leaves_nothing(kind, database, warden, established):
    answer = inject(warden, kind, kind)
    assert answer["state"] == "proven"
    bites(kind, database, established)
    undo(warden, kind)
    established.execute("insert into things values (1)")
    assert_whole(database)
    asyncio.run(undo_again(database, kind, answer["target"], f"run-toy@sql/{kind}"))


async def undo_again(database, kind, target, mark):
    """By somebody else, who knows no more than the ledger."""
    fault, context = registry.get(kind), Context(database.stack.address, [])
    await fault.undo(context, mark, target)
    await fault.verify(context, mark, target)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_warden_left_is_undone_from_the_ledger_alone(kind, database, tmp_path):
    killed = start_warden(database, tmp_path, f"killed@{kind}")
    inject(killed, kind, "f1")
    os.kill(killed.pid, signal.SIGKILL)
    [healed] = faults.heal(f"killed@{kind}")
    assert (healed.state, healed.by) == ("clean", "heal")
    killed.close()


@pytest.mark.parametrize("kind", KINDS)
def test_with_everybody_dead_it_ends_by_itself(kind, database, tmp_path, established):
    command = [sys.executable, "-c", OWNER, f"orphan@{kind}", database.stack.address, str(database.platform_file)]
    command += [str(tmp_path), kind, json.dumps(KINDS[kind])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        warden = int(owner.stdout.readline())
        bites(kind, database, established)
        os.kill(warden, signal.SIGKILL)
        owner.kill()
    eventually(lambda: is_whole(database), SOON_S)
    [healed] = faults.heal(f"orphan@{kind}")
    assert healed.state == "clean"


def is_whole(database):
    try:
        assert_whole(database)
    except (AssertionError, psycopg.Error):
        return False
    return True


def test_who_writes_in_spite_of_read_only_is_named_and_the_fault_is_not_proven(database, warden, established):
    established.execute("set default_transaction_read_only = off")
    established.execute("set application_name = 'careless'")
    with (
        writing(established),
        pytest.raises(NotProven, match=r"it leaks: pid \d+ of app \(careless, from 127.0.0.1:\d+\)"),
    ):
        inject(warden, "database.read_only", "leak")


@contextlib.contextmanager
def writing(connection):
    """Statements that write, one after the other."""
    end = threading.Event()

    def write():
        while not end.is_set():
            connection.execute("insert into things values (1)")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(write)
        try:
            yield
        finally:
            end.set()
            done.result()


def test_read_only_waits_for_the_end_of_a_transaction_that_writes(database, warden, established):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with established.transaction():
            established.execute("insert into things values (1)")
            asked = pool.submit(inject, warden, "database.read_only", "patient")
            time.sleep(0.5)
            assert not asked.done()
            established.execute("insert into things values (2)")
        assert asked.result()["proof"]["writers_ended_after_ms"] > 200
    assert refuses_to_write(established)
    undo(warden, "patient")


def test_what_would_overrule_read_only_is_refused_by_name(database, warden):
    with database.connect("postgres") as admin:
        admin.execute("alter role app set default_transaction_read_only = off")
        try:
            with pytest.raises(NotPossible, match="role app sets default_transaction_read_only = off for itself"):
                inject(warden, "database.read_only", "overruled")
        finally:
            admin.execute("alter role app reset default_transaction_read_only")


def test_read_only_puts_back_what_was_there_and_leaves_alone_what_others_changed(database, warden):
    with database.connect("postgres") as admin:
        admin.execute("alter system set default_transaction_read_only = off")
        inject(warden, "database.read_only", "put back")
        undo(warden, "put back")
        written = "select setting from pg_file_settings where name = 'default_transaction_read_only'"
        assert admin.execute(written).fetchall() == [("off",)]
        inject(warden, "database.read_only", "changed")
        admin.execute("alter system reset default_transaction_read_only")
        answer = warden.request("undo", fault="changed")
        assert (answer["state"], answer["by"]) == ("clean", "somebody else")


def test_a_late_undo_takes_nothing_back_that_a_later_fault_has_made(database, warden):
    first = inject(warden, "database.read_only", "first")
    undo(warden, "first")
    inject(warden, "database.read_only", "second")
    asyncio.run(undo_again(database, "database.read_only", first["target"], "run-toy@sql/first"))
    with database.connect() as new:
        assert refuses_to_write(new)
    undo(warden, "second")


def test_what_is_cut_short_while_it_waits_to_be_alone_can_be_undone(database):
    asyncio.run(cut_short(database, "cut/short"))


async def cut_short(database, mark):
    """The server may give its session the lock when nobody waits for the answer any more."""
    fault = registry.get("database.read_only")
    context = Context(database.stack.address, [myself()], platform_file=str(database.platform_file))
    target = await fault.plan(context, "database", {})
    await fault.inject(context, mark, target, boottime() + 60 * SECOND)
    await sql.rows(fault._made[mark].witness, "select pg_advisory_lock(hashtext(%s))", read_only.MARK)
    await fault.undo(context, mark, target)
    await fault.verify(context, mark, target)


def test_what_becomes_free_is_used_up_again(database, warden):
    with database.connect() as leaving:
        inject(warden, "database.exhaust_connections", "again")
        leaving.close()
        eventually(lambda: refused(database))
        time.sleep(0.2)
        assert refused(database)
    undo(warden, "again")


def refused(database):
    try:
        with database.connect():
            return False
    except psycopg.OperationalError as error:
        return TOO_MANY in str(error)


def test_who_holds_a_table_is_named_when_no_lock_is_granted(database, warden, established):
    with established.transaction():
        established.execute("insert into things values (1)")
        with pytest.raises(NotPossible, match=r"things: no lock was granted within 2 s .*pid \d+ of app"):
            inject(warden, "database.lock_table", "held")


def test_readers_may_go_on_at_a_locked_table(database, warden, established):
    inject(warden, "database.lock_table", "writers", readers=False)
    assert established.execute("select count(*) from things").fetchone() == (0,)
    assert waits(established, "insert into things values (1)")
    undo(warden, "writers")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("nothing", "no such table"),
        ("pg_class", "the database's own"),
        ("a b", "no such table"),
        ('"Other Things', "no such table"),
    ],
)
def test_a_table_that_can_not_be_locked_is_refused(table, why, warden):
    with pytest.raises((NotPossible, NotAllowed), match=why):
        inject(warden, "database.lock_table", "none", table=table)


def test_slow_statements_let_transactions_across_tables_through_without_an_error(database, warden, established):
    inject(warden, "database.slow_statements", "across", delay_s=0.02)
    with database.connect() as other, concurrent.futures.ThreadPoolExecutor() as pool:
        work = [pool.submit(across, connection) for connection in (established, other)]
        assert [one.result() for one in work] == [20, 20]
    undo(warden, "across")


def across(connection):
    for _ in range(20):
        with connection.transaction():
            connection.execute('insert into "Other Things" values (1)')
            connection.execute("insert into things values (1)")
    return 20


@pytest.mark.parametrize("kind", ["database.exhaust_connections", "database.lock_table", "database.slow_statements"])
def test_what_the_server_has_ended_before_is_said(kind, database, warden):
    with database.connect("postgres") as admin:
        inject(warden, kind, f"{kind} lost")
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'reprise run%'"
        )
    answer = warden.request("undo", fault=f"{kind} lost")
    assert (answer["state"], answer["by"]) == ("clean", "database")


def test_a_warden_that_hangs_meets_the_lease_in_the_server(database, established):
    """It is frozen, so nobody of ours undoes; what it holds is ended by the server, or by the process that waits for that."""
    kinds = {kind: KINDS[kind] for kind in HELD}
    command = [sys.executable, "-c", HANGS, str(database.platform_file), json.dumps(kinds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as warden:
        targets = json.loads(warden.stdout.readline())
        os.kill(warden.pid, signal.SIGSTOP)
        try:
            assert waits(established, "select count(*) from things")
            assert refused(database)
            eventually(lambda: is_whole(database), 20)
        finally:
            warden.kill()
    for kind, target in targets.items():
        asyncio.run(undo_again(database, kind, target, f"hangs/{kind}"))


def test_without_an_administrator_it_is_refused():
    for kind, args in KINDS.items():
        with pytest.raises(NotPossible, match=r"components\.database\.admin is not set"):
            asyncio.run(registry.get(kind).plan(Context(None, []), "database", args))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "database.lock_table"])
def test_an_administrator_who_is_no_superuser_is_refused(kind, database, tmp_path):
    (tmp_path / "admin.dsn").write_text(database.dsn("app"))
    (tmp_path / "platform.toml").write_text(toydatabase.PLATFORM.format(api=9))
    context = Context(None, [], platform_file=str(tmp_path / "platform.toml"))
    with pytest.raises(NotPossible, match=r"'app' of components\.database\.admin is no superuser"):
        asyncio.run(registry.get(kind).plan(context, "database", KINDS[kind]))


def test_no_secret_reaches_the_ledger(database, warden):
    answer = inject(warden, "database.lock_table", "secret")
    undo(warden, "secret")
    assert answer["target"]["admin"] == {"env": None, "file": str(database.platform_file.parent / "admin.dsn")}
    assert toydatabase.PASSWORD not in json.dumps({**answer, "target": {**answer["target"], "admin": None}}).replace(
        "toy@", ""
    )


COMMITS = {"database.commit_lost": True, "database.reset_in_commit": False}  # whether what was refused is there


class Writer:
    """A client on the link that writes number after number, and connects again when it must. `refused`: those that failed."""

    def __init__(self, database):
        self._database, self._end = database, threading.Event()
        self.written, self.refused = [], []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._end.is_set():
            with contextlib.suppress(psycopg.OperationalError), self._database.connect(by_link=True) as connection:
                while not self._end.wait(0.01):
                    number += 1
                    self._write(connection, number)

    def _write(self, connection, number):
        try:
            connection.execute("insert into things values (%s)", [number])
        except psycopg.OperationalError:
            self.refused.append(number)
            raise
        self.written.append(number)

    def stop(self):
        self._end.set()
        self._thread.join()


@pytest.fixture
def writer(database):
    writer = Writer(database)
    eventually(lambda: writer.written)
    yield writer
    writer.stop()
    with database.connect() as connection:
        connection.execute("truncate things")


def numbers(database):
    with database.connect() as connection:
        return {number for [number] in connection.execute("select number from things")}


def strike(warden, kind, name, **args):
    return warden.request("inject", fault=name, kind=kind, on="database", hold_ns=60 * 10**9, args=args)


@pytest.mark.parametrize("kind", COMMITS)
def test_a_fault_on_commits_hits_each_until_it_is_undone(kind, database, warden, writer):
    answer = strike(warden, kind, kind)
    assert answer["proof"]["hit"] >= 1
    done = len(writer.written)
    eventually(lambda: len(writer.refused) > 3)
    refused = writer.refused[:3]
    assert len(writer.written) == done, "nobody is told of a commit"
    undo(warden, kind)
    eventually(lambda: len(writer.written) > done)
    assert (set(refused) & numbers(database) == set(refused)) is COMMITS[kind]
    asyncio.run(undo_again(database, kind, answer["target"], f"run-toy@sql/{kind}"))


@pytest.mark.parametrize("kind", COMMITS)
def test_a_fault_on_so_many_commits_spares_the_others(kind, warden, writer):
    proof = strike(warden, kind, f"{kind} twice", commits=2, statement="insert into things")["proof"]
    assert proof["hit"] == 2
    assert proof["spared"], "who was hit is not known of those that come later"
    done = len(writer.written)
    eventually(lambda: len(writer.written) > done + 3)
    assert len(writer.refused) == 2
    undo(warden, f"{kind} twice")


def test_commits_that_nobody_makes_can_not_be_hit(database, monkeypatch):
    monkeypatch.setattr(passing, "PROVE_S", 0.3)

    async def no_traffic():
        fault, context = registry.get("database.commit_lost"), context_of(database)
        target = await fault.plan(context, "database", {})
        await fault.inject(context, "quiet/f1", target, boottime() + 60 * SECOND)
        try:
            with pytest.raises(
                NotProven, match=r"links/database: no commit that was meant came, or too few, within 0\.3 s"
            ):
                await fault.prove(context, "quiet/f1", target)
        finally:
            await fault.undo(context, "quiet/f1", target)

    with database.connect(by_link=True):
        asyncio.run(no_traffic())


def context_of(database):
    file = str(database.platform_file)
    return Context(database.stack.address, [myself()], OfFile(file), file)


def test_a_link_with_a_connection_that_is_not_read_is_left_alone(database):
    proxy = Toxiproxy(database.links).get_proxy("database")
    proxy.update(tap=False)
    with database.connect(by_link=True):
        proxy.update(tap=True)
        with database.connect(by_link=True), pytest.raises(NotPossible, match=r"is not read .*: its commits would go"):
            asyncio.run(registry.get("database.commit_lost").plan(context_of(database), "database", {}))


@pytest.mark.parametrize("kind", COMMITS)
def test_a_fault_on_commits_is_undone_by_the_keeper_when_everybody_is_dead(kind, database, tmp_path, writer):
    command = [sys.executable, "-c", OWNER, f"orphan@{kind}", database.stack.address, str(database.platform_file)]
    with subprocess.Popen([*command, str(tmp_path), kind, "{}"], stdout=subprocess.PIPE) as owner:
        os.kill(int(owner.stdout.readline()), signal.SIGKILL)
        owner.kill()
    done = len(writer.written)
    eventually(lambda: len(writer.written) > done + 1, SOON_S)
    [healed] = faults.heal(f"orphan@{kind}")
    assert (healed.state, healed.by) == ("clean", "keeper")
