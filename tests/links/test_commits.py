"""PostgreSQL and psycopg through a tapped proxy: what is told of them, and the two faults in the middle of a commit."""

import asyncio
import collections
import random
import threading

import dialogues
import pgserver
import psycopg
import pytest
from dialogues import pg
from linkwire import embedded, eventually, how_it_ends, near, read_all, read_exactly
from peers import seen, tapped

from chaosreprise.lab.database import Database, StoreAway
from chaosreprise.links.client import Toxiproxy

SQL = "create table rows (x int primary key, y text);\n\ncreate table other (x int);\n\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pgserver.running(tmp_path_factory.mktemp("pg"), SQL) as place:
        yield place


@pytest.fixture(scope="module")
def client():
    with embedded() as (_, url):
        yield Toxiproxy(url)


@pytest.fixture
def proxy(client, place):
    made = tapped(client, place)
    yield made
    made.destroy()


@pytest.fixture
def rows(place):
    """What is really in the tables, looked at past the proxy."""
    with psycopg.connect(pgserver.dsn(place), autocommit=True) as direct:
        direct.execute("truncate rows, other")

        def look(table="rows"):
            return [row[0] for row in direct.execute(f"select x from {table} order by x").fetchall()]

        yield look


def connect(proxy, **options):
    return psycopg.connect(pgserver.dsn(proxy.address), **options)


def tally(client, proxy, toxic):
    return client._door.ask("GET", "reprise", "connections")[proxy.name]["toxics"][toxic]


def watched(proxy, work):
    """What the feed told while `work` was done."""

    async def scenario():
        async with seen(proxy) as feed:
            await asyncio.to_thread(work)
            await feed.until(what="close")
            return feed.all

    return asyncio.run(scenario())


# How a row may be written in a transaction of its own: each gets an open connection and a number.
def in_a_block(connection, x):
    with connection.transaction():
        connection.execute("insert into rows values (%s)", [x])


def by_statement(connection, x):
    connection.execute("insert into rows values (%s)", [x])


def by_simple_query(connection, x):
    connection.execute(f"insert into rows values ({x})")


def by_two_statements(connection, x):
    connection.execute(f"insert into rows values ({x}); insert into other values ({x})")


def by_a_block_in_one_query(connection, x):
    connection.execute(f"begin; insert into rows values ({x}); commit")


def by_pipeline(connection, x):
    with connection.pipeline():
        connection.execute("insert into rows values (%s)", [x])
        connection.execute("insert into other values (%s)", [x])


def by_pipelined_block(connection, x):
    with connection.pipeline(), connection.transaction():
        connection.execute("insert into rows values (%s)", [x])


def by_a_pipeline_that_reads_before_its_end(connection, x):
    with connection.pipeline():
        connection.execute("insert into rows values (%s) returning x", [x]).fetchone()


def by_prepared_statement(connection, x):
    connection.execute("insert into rows values (%s)", [x], prepare=True)


def by_copy(connection, x):
    with connection.cursor().copy("copy rows (x) from stdin") as copy:
        copy.write_row([x])


WAYS = [value for name, value in list(globals().items()) if name.startswith(("in_a", "by_"))]
each_way = pytest.mark.parametrize("write", WAYS, ids=lambda way: way.__name__)


@each_way
def test_a_lost_commit_is_done_and_never_told_to_the_client(client, proxy, rows, write):
    connection = connect(proxy, autocommit=True)
    write(connection, 1)
    connection.execute("select 1")
    proxy.add_toxic(type="pg_commit_lost", name="lost", stream="downstream")
    with connection.transaction():
        connection.execute("select count(*) from rows")
    with pytest.raises(psycopg.OperationalError):
        write(connection, 2)
    assert connection.closed
    assert rows() == [1, 2]
    assert tally(client, proxy, "lost") == {"seen": 1, "bitten": 1}
    with connect(proxy, autocommit=True) as later:
        write(later, 3)
    assert rows() == [1, 2, 3]


@each_way
def test_a_reset_in_commit_undoes_the_transaction(client, proxy, rows, write):
    connection = connect(proxy, autocommit=True)
    write(connection, 1)
    connection.execute("select 1")
    proxy.add_toxic(type="pg_reset_in_commit", name="reset", stream="upstream")
    with connection.transaction():
        connection.execute("select count(*) from rows")
    with pytest.raises(psycopg.OperationalError):
        write(connection, 2)
    assert connection.closed
    assert rows() == [1]
    assert tally(client, proxy, "reset") == {"seen": 1, "bitten": 1}
    with connect(proxy, autocommit=True) as later:
        write(later, 3)
    assert rows() == [1, 3]


@pytest.mark.parametrize(
    ("kind", "stream", "there"),
    [("pg_commit_lost", "downstream", [1, 2, 3]), ("pg_reset_in_commit", "upstream", [1, 2])],
)
def test_only_the_nth_transaction_with_that_statement_is_meant(proxy, rows, kind, stream, there):
    attributes = {"statement": "into rows", "nth": 3}
    proxy.add_toxic(type=kind, stream=stream, attributes=attributes)
    with connect(proxy, autocommit=True) as connection:
        for x in (1, 2):
            with connection.transaction():
                connection.execute("insert into other values (%s)", [x])
            in_a_block(connection, x)
        with pytest.raises(psycopg.OperationalError):
            in_a_block(connection, 3)
    assert rows() == there


@pytest.mark.parametrize(("kind", "stream"), [("pg_commit_lost", "downstream"), ("pg_reset_in_commit", "upstream")])
def test_what_is_no_commit_is_spared(client, proxy, rows, kind, stream):
    proxy.add_toxic(type=kind, stream=stream, name="t", attributes={"count": 0})
    with connect(proxy, autocommit=True) as connection:
        with connection.transaction(force_rollback=True):
            connection.execute("insert into rows values (1)")
        with connection.transaction():
            connection.execute("select * from rows")
        connection.execute("select 'commit; insert into rows values (1)'")
        connection.execute("select /* ; commit */ $$; commit $$, 'it''s; commit'")
        connection.execute("set statement_timeout = 0")
        assert tally(client, proxy, "t") == {"seen": 0, "bitten": 0}
    assert rows() == []


def test_a_commit_that_the_server_makes_a_rollback_is_spared(client, proxy, rows):
    for kind, stream in (("pg_commit_lost", "downstream"), ("pg_reset_in_commit", "upstream")):
        proxy.add_toxic(type=kind, stream=stream, name=kind, attributes={"count": 0})
    with connect(proxy, autocommit=True) as connection:
        connection.execute("begin")
        connection.execute("insert into rows values (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into rows values (1)")
        assert connection.execute("commit").statusmessage == "ROLLBACK"
        assert tally(client, proxy, "pg_commit_lost") == tally(client, proxy, "pg_reset_in_commit")
    assert rows() == []


def test_a_statement_that_fails_is_told_so_under_an_armed_toxic(proxy, rows):
    with connect(proxy, autocommit=True) as connection:
        by_statement(connection, 1)
        proxy.add_toxic(type="pg_commit_lost", stream="downstream")
        for write in (by_statement, by_simple_query, by_pipeline):
            with pytest.raises(psycopg.errors.UniqueViolation):
                write(connection, 1)
        with pytest.raises(psycopg.errors.UniqueViolation):
            by_two_statements(connection, 1)
    assert rows() == [1]


def test_a_toxic_that_comes_and_goes_in_the_middle_of_a_transaction_leaves_it_whole(proxy, rows):
    with connect(proxy, autocommit=True) as connection:
        with connection.transaction():
            connection.execute("insert into rows values (1)")
            for kind, stream in (("pg_commit_lost", "downstream"), ("pg_reset_in_commit", "upstream")):
                proxy.add_toxic(type=kind, stream=stream, name=kind)
                connection.execute("insert into other values (1)")
                proxy.destroy_toxic(kind)
        in_a_block(connection, 2)
    assert rows() == [1, 2]


def test_transactions_are_whole_while_toxics_that_do_not_mean_them_come_and_go(proxy, rows):
    draw, stop = random.Random(7), threading.Event()
    harmless = {
        "pg_commit_lost": ("downstream", {"statement": "what nobody says", "count": 0}),
        "pg_reset_in_commit": ("upstream", {"statement": "what nobody says", "count": 0}),
        "slicer": ("downstream", {"average_size": 5, "size_variation": 2}),
    }

    def come_and_go():
        while not stop.is_set():
            for kind in draw.sample(sorted(harmless), 3):
                stream, attributes = harmless[kind]
                proxy.add_toxic(type=kind, stream=stream, name=kind, attributes=attributes)
            for kind in draw.sample(sorted(harmless), 3):
                proxy.destroy_toxic(kind)

    changing = threading.Thread(target=come_and_go)
    changing.start()
    try:
        with connect(proxy, autocommit=True) as connection:
            for x in range(200):
                draw.choice(WAYS)(connection, x)
    finally:
        stop.set()
        changing.join()
    assert rows() == list(range(200))


@pytest.fixture
def wire(client, far):
    """Both ends of a connection of which the client has begun to speak PostgreSQL's protocol, under `pg_commit_lost`."""
    made = tapped(client, far.address)
    made.add_toxic(type="pg_commit_lost", stream="downstream")
    with near(made.address) as client_end, far.take() as server_end:
        say(client_end, server_end, dialogues.startup())
        say(server_end, client_end, pg("R", b"\0\0\0\0") + pg("Z", b"I"))
        yield client_end, server_end
    made.destroy()


def say(sender, receiver, data):
    sender.sendall(data)
    assert read_exactly(receiver, len(data)) == data


@pytest.mark.parametrize("at_once", [True, False])
def test_not_one_byte_of_the_answer_of_a_lost_commit_reaches_the_client(wire, at_once):
    client_end, server_end = wire
    say(client_end, server_end, pg("Q", b"insert into t values (1)\0"))
    server_end.sendall(pg("C", b"INSERT 0 1\0"))
    if not at_once:
        assert how_it_ends(client_end, 0.1) == "open"
    server_end.sendall(pg("Z", b"I"))
    assert read_all(client_end) == b""


def test_an_error_at_the_very_commit_arrives_behind_what_was_held_for_it(wire):
    client_end, server_end = wire
    say(client_end, server_end, pg("Q", b"insert into t values (1)\0"))
    server_end.sendall(pg("C", b"INSERT 0 1\0"))
    assert how_it_ends(client_end, 0.1) == "open"
    rest = pg("E", b"SERROR\0C23505\0Mdeferred\0\0") + pg("Z", b"I")
    server_end.sendall(rest)
    assert read_exactly(client_end, 16 + len(rest)) == pg("C", b"INSERT 0 1\0") + rest


def test_what_is_held_goes_on_when_the_toxic_is_removed(client, far):
    proxy = tapped(client, far.address)
    proxy.add_toxic(type="pg_commit_lost", stream="downstream")
    with near(proxy.address) as client_end, far.take() as server_end:
        say(client_end, server_end, dialogues.startup() + pg("Q", b"insert into t values (1)\0"))
        server_end.sendall(pg("C", b"INSERT 0 1\0"))
        assert how_it_ends(client_end, 0.1) == "open"
        proxy.destroy_toxic("pg_commit_lost_downstream")
        assert read_exactly(client_end, 16) == pg("C", b"INSERT 0 1\0")
        say(server_end, client_end, pg("Z", b"I"))
    proxy.destroy()


def test_a_copy_in_the_extended_protocol_leaves_later_answers_with_their_own_statements(proxy, rows):
    """libpq sends a sync before the rows, which the server passes over, and one behind them."""

    def work():
        with connect(proxy, autocommit=True) as connection:
            raw = connection.pgconn
            assert raw.exec_params(b"copy rows (x) from stdin", None).status == psycopg.pq.ExecStatus.COPY_IN
            raw.put_copy_data(b"1\n")
            raw.put_copy_end()
            while raw.get_result():
                pass
            for x in (2, 3):
                raw.exec_params(b"insert into rows values (%d)" % x, None)

    lines = watched(proxy, work)
    told = [line["text"] for line in lines if line["what"] == "complete"]
    assert told == ["copy rows (x) from stdin", "insert into rows values (2)", "insert into rows values (3)"]
    assert rows() == [1, 2, 3]


def test_a_toxic_that_comes_in_the_middle_of_a_transaction_loses_its_commit(proxy, rows):
    connection = connect(proxy)
    connection.execute("insert into rows values (1)")
    proxy.add_toxic(type="pg_commit_lost", stream="downstream")
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    assert rows() == [1]


@pytest.mark.parametrize(
    ("kind", "stream", "there"), [("pg_commit_lost", "downstream", [1]), ("pg_reset_in_commit", "upstream", [])]
)
def test_the_labs_own_store_does_not_know_what_became_of_it(proxy, rows, kind, stream, there):
    async def scenario():
        database = Database(pgserver.dsn(proxy.address))
        await database.all("select * from rows", [])
        proxy.add_toxic(type=kind, stream=stream, attributes={"statement": "insert into rows"})
        with pytest.raises(StoreAway):
            await database.do("insert into rows values (%s)", [1])
        found = await database.all("select x from rows", [])
        await database.close()
        return [row["x"] for row in found]

    assert asyncio.run(scenario()) == there == rows()


def test_the_feed_tells_statements_and_what_became_of_them(proxy, rows):
    def work():
        with connect(proxy, autocommit=True) as connection:
            in_a_block(connection, 1)
            by_prepared_statement(connection, 2)
            by_prepared_statement(connection, 3)
            with pytest.raises(psycopg.errors.UniqueViolation):
                by_simple_query(connection, 1)

    lines = watched(proxy, work)
    assert [(line["what"], line.get("user")) for line in lines[:2]] == [("open", None), ("startup", "postgres")]
    told = [(line["what"], line["text"]) for line in lines if line["what"] in {"query", "parse", "execute"}]
    insert = "insert into rows values ($1)"
    assert told == [
        ("query", "BEGIN"), ("parse", insert), ("execute", insert), ("query", "COMMIT"),
        ("parse", insert), ("execute", insert), ("execute", insert), ("query", "insert into rows values (1)"),
    ]  # fmt: skip
    assert [(line["tag"], line["text"]) for line in lines if line["what"] == "complete"] == [
        ("BEGIN", "BEGIN"), ("INSERT 0 1", insert), ("COMMIT", "COMMIT"), ("INSERT 0 1", insert), ("INSERT 0 1", insert),
    ]  # fmt: skip
    commits = [
        (line["what"], line["direction"], line["wrote"], line["statements"]) for line in lines if line.get("commits")
    ]
    assert commits[:2] == [("query", "upstream", True, [insert]), ("complete", "downstream", True, [insert])]
    assert collections.Counter(one[:2] for one in commits[2:]) == {
        ("sync", "upstream"): 2,
        ("ready", "downstream"): 2,
        ("query", "upstream"): 1,
    }
    assert [line["code"] for line in lines if line["what"] == "error"] == ["23505"]
    assert "password" not in str(lines).lower()


def test_everything_that_psycopg_does_passes_whole_while_it_is_read(proxy, rows):
    big = "x" * 300_000

    def work():
        with connect(proxy, autocommit=True) as connection:
            with connection.cursor().copy("copy rows from stdin") as copy:
                for x in range(1000):
                    copy.write_row([x, big[: x * 3]])
            by_statement(connection, 5000)
            with connection.cursor().copy("copy rows to stdout") as copy:
                assert sum(1 for _ in copy.rows()) == 1001
            connection.execute("update rows set y = %s where x = 1", [big])
            assert connection.execute("select y from rows where x = 1").fetchone() == (big,)
            with connection.transaction(), connection.cursor("named") as cursor:
                assert sum(1 for _ in cursor.execute("select * from rows")) == 1001
            connection.cursor().executemany("insert into other values (%s)", [[x] for x in range(3000)])
            assert len(list(connection.cursor().stream("select * from rows"))) == 1001

    lines = watched(proxy, work)
    assert not [line for line in lines if line["what"] in {"blind", "gap"}]
    assert rows("other") == list(range(3000))
    copied = [line for line in lines if line["what"] == "complete" and line["tag"].startswith("COPY")]
    assert [line["text"] for line in copied] == ["copy rows from stdin", "copy rows to stdout"]
    assert [line["text"] for line in lines if line["what"] == "complete"].count("insert into other values ($1)") == 3000


def test_a_connection_that_postgresql_encrypts_is_said_to_be_so(client, far):
    proxy = tapped(client, far.address)

    async def scenario():
        async with seen(proxy) as feed:
            connecting = asyncio.create_task(asyncio.to_thread(_try_to_connect, proxy))
            end = await asyncio.to_thread(far.take)
            assert len(end.recv(8)) == 8
            end.sendall(b"S")
            line = await feed.until(what="encrypted")
            end.close()
            await connecting
            return line

    assert asyncio.run(scenario())["why"] == "PostgreSQL accepted the client's request for encryption"
    proxy.destroy()


def _try_to_connect(proxy):
    with pytest.raises(psycopg.OperationalError):
        connect(proxy, sslmode="require")


def test_a_server_that_is_not_reached_by_a_reset_commit_holds_no_lock(proxy, rows):
    proxy.add_toxic(type="pg_reset_in_commit", stream="upstream")
    with pytest.raises(psycopg.OperationalError), connect(proxy) as connection:
        connection.execute("insert into rows values (1)")
    with connect(proxy, autocommit=True) as other:
        proxy.destroy_toxic("pg_reset_in_commit_upstream")
        other.execute("set lock_timeout = '5s'")
        assert eventually(
            lambda: other.execute("select count(*) from pg_locks where mode = 'RowExclusiveLock'").fetchone() == (0,)
        )
