"""The rows of sessions and steps, in SQLite and PostgreSQL, and what is said when they can't be written."""

import contextlib
import signal

import psycopg
import pytest
from sandboxes import Beside, marks, until

from chaosreprise.lab.sandbox.prepare import CONTROL, DATABASE

COLUMNS = {
    "sessions": ["id", "status", "runtime_id"],
    "session_steps": ["id", "session_id", "command", "status"],
    "jobs": ["id", "status"],
}


@pytest.fixture(scope="module")
def postgres(new_platform):
    return new_platform(database="postgres")


@pytest.fixture(scope="module")
def sqlite(new_platform):
    return new_platform()


@contextlib.contextmanager
def reading(platform):
    """Hold the lock that a reader holds while it reads."""
    with contextlib.closing(platform.reader()) as reader:
        reader.execute("begin")
        reader.execute("select * from session_steps").fetchall()
        yield


def test_sqlite_has_its_tables_from_the_start(sqlite):
    tables = {name for (name,) in sqlite.rows("select name from sqlite_master where type = 'table'")}
    assert tables == {*COLUMNS, "policies", "audit_events", "idempotency_keys"}
    for table, columns in COLUMNS.items():
        described = sqlite.rows(f"pragma table_info({table})")
        assert [(name, kind) for _, name, kind, *_ in described] == [(name, "TEXT") for name in columns] or [
            (name, kind.upper()) for _, name, kind, *_ in described
        ] == [(name, "TEXT") for name in columns]


def test_sqlite_waits_for_no_reader_and_accepts_nothing_without_its_row(sqlite):
    session = sqlite.created()
    with reading(sqlite):
        assert sqlite.step(session, marks("s")).status_code == 500
        refused = sqlite.create()
        assert (refused.status_code, refused.content) == (500, b"")
    assert "database is locked" in sqlite.log(CONTROL)
    assert sqlite.ledger(session) == ["s"]
    assert sqlite.steps_of(session) == []
    assert sqlite.rows("select id from sessions") == [(session,)]
    others = [path.name for path in sqlite.workspace(session).parent.iterdir() if path.name != session]
    until(lambda: not any(sqlite.interpreters(name) for name in others), "what has no row has ended")
    assert [sqlite.data_step(name, "1").status_code for name in others] == [410]
    assert sqlite.printed(session, "print(1)") == "1\n"


def test_sqlite_waits_for_readers_where_its_url_says_so(sqlite):
    url = f"{sqlite.made.database}&_pragma=busy_timeout(30000)"
    sqlite.end(CONTROL)
    sqlite.start(CONTROL, DATABASE_URL=url)
    session = sqlite.session()
    try:
        with reading(sqlite):
            step = Beside(sqlite.step, session, marks("s"))
            until(lambda: sqlite.ledger(session) == ["s"], "it has run")
            assert sqlite.http.get(f"{sqlite.made.control}/healthz").status_code == 200, "others do not wait"
            assert step.is_alive()
        assert step.status() == 202
        assert len(sqlite.steps_of(session)) == 1
    finally:
        sqlite.restart(CONTROL)


def test_rows_outlive_the_control_plane(sqlite):
    before = sqlite.rows("select * from session_steps order by rowid")
    sqlite.restart(CONTROL)
    sqlite.printed(sqlite.session(), "print(1)")
    after = sqlite.rows("select * from session_steps order by rowid")
    assert after[:-1] == before
    assert [row[0] for row in after] == sorted(row[0] for row in after)


def test_postgresql_has_the_same_rows(postgres):
    session = postgres.created()
    said = [postgres.step(session, code).json() for code in ("x = 5*10", "print(x)")]
    assert said[1]["stdout"] == "50\n"
    assert postgres.rows("select * from sessions") == [(session, "active", session)]
    assert postgres.steps_of(session) == [
        (said[0]["id"], "x = 5*10", "accepted"),
        (said[1]["id"], "print(x)", "accepted"),
    ]


def test_postgresql_takes_no_row_that_it_can_not_store(postgres):
    session = postgres.session()
    assert postgres.step(session, "print('\0')").status_code == 500
    assert postgres.step(session, "print(1)").status_code == 202


def test_nothing_makes_the_tables_in_postgresql(postgres):
    session = postgres.session()
    with psycopg.connect(postgres.made.database) as connection:
        connection.execute("alter table session_steps rename to elsewhere")
    try:
        assert postgres.step(session, marks("s")).status_code == 500
    finally:
        with psycopg.connect(postgres.made.database) as connection:
            connection.execute("alter table elsewhere rename to session_steps")
    assert postgres.ledger(session) == ["s"]
    assert postgres.steps_of(session) == []


def test_a_database_that_is_away_refuses_and_comes_back(postgres):
    session = postgres.session()
    postgres.end(DATABASE, signal.SIGQUIT)
    assert postgres.step(session, marks("s")).status_code == 500
    assert postgres.create().status_code == 500
    assert postgres.http.get(f"{postgres.made.control}/healthz").status_code == 200
    postgres.start(DATABASE)
    assert postgres.step(session, marks("t")).status_code == 202
    assert postgres.ledger(session) == ["s", "t"]
    assert len(postgres.steps_of(session)) == 1
