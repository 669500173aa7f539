"""Sessions: what is promised about their state is decided here, one transaction a method. A seam for planted defects.

A change of a session's state and its command are one transaction, and the session's row is locked meanwhile, so the
commands of a session have one order (`seq`, which travels in the payload). Placement runs under one lock, taken after
the user's row, so concurrent creates see each other. What agents report is the business of `outbox`.
"""
# ruff: noqa: S608 - what is put together here are constants and names of this package, never input

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from chaosreprise.lab import quota
from chaosreprise.lab.database import Connection, Database, Row, one
from chaosreprise.lab.metrics import Counts
from chaosreprise.lab.refusals import Refused, no_agents, session_not_found, template_not_found
from chaosreprise.lab.requests import Create, NewTemplate
from chaosreprise.lab.schema import ACTIVE
from chaosreprise.lab.settings import NAMESPACE

PLACEMENT_LOCK = 7_301_001
DEFAULT_MAX_SESSIONS = 64


class Command(NamedTuple):
    """A command as it is stored and delivered."""

    id: str
    agent: str
    session: str
    action: str
    payload: Row
    status: str = "pending"


COMMAND_COLUMNS = "command_id, agent_id, session_id, action, payload, status"  # in the order of Command
INSERT_COMMAND = (
    f"insert into agent_commands ({COMMAND_COLUMNS}, created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s)"
)


class Change(NamedTuple):
    """What a call does to a session: its command, the states it may start from, the state meanwhile."""

    action: str
    allowed: frozenset[str]
    state: str
    refusal: str


HIBERNATE = Change("hibernate_session", frozenset({"running"}), "hibernating", "Invalid session state")
WAKE = Change("wake_session", frozenset({"hibernated"}), "waking", "Invalid session state")
STOP = Change(
    "stop_session",
    frozenset({"pending", "starting", "running", "hibernating", "hibernated", "waking", "failed"}),
    "terminating",
    "Session already terminating",
)

CHANGES = {change.action: change for change in (HIBERNATE, WAKE, STOP)} | {"start_session": None}


def now() -> datetime:
    """The control plane's clock, as the columns want it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Store:
    """`here`: the name of this control plane."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        self._database = database
        self._fresh_s = fresh_s
        self._here = here

    async def user(self, name: str) -> Row | None:
        return await self._database.one("select * from users where username = %s and active", (name,))

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        """Place a session and store its start. Refuses with 403, 404 and 503."""

        async def work(connection: Connection) -> tuple[Row, Command]:
            manifest = await _manifest(connection, request.template)
            await self.check_quota(connection, request.user, asked)
            agent = await self.place(connection, connected, request)
            session = await insert_session(connection, request, agent)
            details = _start_details(session) | {"templateManifest": manifest}
            return session, await self.insert_command(connection, session, "start_session", details)

        return await self._database.run(work)

    async def check_quota(self, connection: Connection, user: str, asked: quota.Size) -> None:
        """The user's row stays locked until the end, so that two creates of one user don't share the last place."""
        if await one(connection, "select 1 from users where id = %s and active for update", (user,)) is None:
            raise quota.exceeded(f"no user {user}")
        await self.count(connection, user, asked)

    async def count(self, connection: Connection, user: str, asked: quota.Size) -> None:
        cursor = await connection.execute(f"select cpu, memory from sessions where user_id = %s and {ACTIVE}", (user,))
        quota.check_user(asked, [quota.size(row["cpu"], row["memory"]) for row in await cursor.fetchall()])

    async def change(self, name: str, change: Change) -> Command:
        """Put a session into its passing state and store the command. Refuses with 404 and 409."""

        async def work(connection: Connection) -> Command:
            session = await one(connection, "select * from sessions where id = %s for update", (name,))
            if session is None:
                raise session_not_found(name)
            if session["agent_id"] is None:
                raise Refused(409, "Session not ready", f"session {name} has no agent")
            return await self.insert_command(connection, await _changed(connection, session, change), change.action, {})

        return await self._database.run(work)

    async def order(self, command: Command) -> Row:
        """Store a command that no user asked for: its row. One for a session of its agent is numbered like any other."""

        async def work(connection: Connection) -> Row:
            session = await one(
                connection,
                "select * from sessions where id = %s and agent_id = %s for update",
                (command.session, command.agent),
            )
            payload = command.payload
            if session is not None:
                payload |= _payload(await _changed(connection, session, CHANGES[command.action]), {})
            await self.keep(connection, command._replace(payload=payload))
            row = await one(connection, "select * from agent_commands where command_id = %s", (command.id,))
            assert row is not None
            return row

        return await self._database.run(work)

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        """The least loaded agent among those that are connected, online, heard of, and of the cluster and platform that are
        asked for; first among those in the region that is asked for. The lock holds until the end.

        Who is connected to another control plane stands in the rows; for one's own connections one knows better.
        """
        await connection.execute("select pg_advisory_xact_lock(%s)", (PLACEMENT_LOCK,))
        row = await one(
            connection,
            f"""select a.agent_id, count(s.id) as active
            from agents a left join sessions s on s.agent_id = a.agent_id and s.{ACTIVE}
            where (a.agent_id = any(%(connected)s) or a.control_plane <> %(here)s) and a.status = 'online'
            and a.approval_status = 'approved' and a.last_heartbeat >= %(since)s
            and %(cluster)s in ('', a.cluster_id) and %(platform)s in ('', a.platform)
            group by a.id
            having count(s.id) < coalesce((a.capacity->>'maxSessions')::integer, {DEFAULT_MAX_SESSIONS})
            order by %(region)s not in ('', coalesce(a.region, '')), active, a.agent_id limit 1""",
            {
                "connected": list(connected),
                "here": self._here,
                "since": now() - timedelta(seconds=self._fresh_s),
                "cluster": request.cluster,
                "region": request.region,
                "platform": request.platform,
            },
        )
        if row is None:
            raise no_agents()
        name: str = row["agent_id"]
        return name

    async def insert_command(self, connection: Connection, session: Row, action: str, details: Row) -> Command:
        command = Command(
            self.command_id(session), session["agent_id"], session["id"], action, _payload(session, details)
        )
        await self.keep(connection, command)
        return command

    def command_id(self, session: Row) -> str:
        """A name that no other command has."""
        del session
        return f"cmd-{secrets.token_hex(4)}"

    async def keep(self, connection: Connection, command: Command) -> None:
        at = now()
        await connection.execute(INSERT_COMMAND, (*command[:4], Jsonb(command.payload), command.status, at, at))

    async def session(self, name: str) -> Row:
        if row := await self._database.one("select * from sessions where id = %s", (name,)):
            return row
        raise session_not_found(name)

    async def sessions(self, user: str | None) -> list[Row]:
        """Newest first."""
        return await self._database.all(
            "select * from sessions where %(user)s::text is null or user_id = %(user)s order by created_at desc, id",
            {"user": user},
        )

    async def template(self, name: str) -> Row:
        if row := await self._database.one("select * from templates where name = %s", (name,)):
            return row
        raise template_not_found(name)

    async def templates(self) -> list[Row]:
        return await self._database.all("select * from templates order by name", {})

    async def add_template(self, asked: NewTemplate) -> Row:
        """Refuses with 409."""
        values = msgspec.structs.asdict(asked) | {"manifest": Jsonb(asked.manifest)}
        row = await self._database.one(
            f"insert into templates ({', '.join(values)}) values ({', '.join(f'%({name})s' for name in values)}) "
            "on conflict (name) do nothing returning *",
            values,
        )
        if row is None:
            raise Refused(409, "Template exists", f"there is a template {asked.name}")
        return row

    async def counts(self) -> Counts:
        """All at one moment."""

        async def work(connection: Connection) -> Counts:
            await connection.execute("set transaction isolation level repeatable read")
            agents = await connection.execute("select approval_status, status from agents")
            sessions = await connection.execute("select user_id, state, cpu, memory from sessions")
            users = await one(connection, "select count(*) as n from users", {})
            assert users is not None
            return Counts(await agents.fetchall(), await sessions.fetchall(), users["n"])

        return await self._database.run(work)

    async def endpoint(self, name: str) -> Row:
        """Where the interpreter of a running session listens. Refuses with 404 and 409."""
        row = await self._database.one(
            "select state, host, port, token, life from sessions left join endpoints on session_id = id where id = %s",
            (name,),
        )
        if row is None:
            raise session_not_found(name)
        if row["state"] != "running" or row["port"] is None:
            raise Refused(409, "Invalid session state", f"session {name} is {row['state']}, not running")
        return row

    async def lives_on(self, name: str, former: str, life: str) -> None:
        """The interpreter of a session has another life from now on, unless that has been written down already."""
        await self._database.do(
            "update endpoints set life = %s where session_id = %s and life = %s", (life, name, former)
        )

    async def record_step(self, number: str, session: str, command: str) -> None:
        await self._database.do("insert into session_steps values (%s, %s, %s, 'accepted')", (number, session, command))


async def _changed(connection: Connection, session: Row, change: Change | None) -> Row:
    """The session, locked before, in its passing state with the number of its next command. Refuses with 409."""
    if change is None or session["state"] not in change.allowed:
        error = change.refusal if change else HIBERNATE.refusal
        raise Refused(409, error, f"session {session['id']} is {session['state']}")
    changed = {"state": change.state, "command_seq": session["command_seq"] + 1, "updated_at": now()}
    await connection.execute(
        "update sessions set state = %(state)s, command_seq = %(command_seq)s, updated_at = %(updated_at)s where id = %(id)s",
        changed | {"id": session["id"]},
    )
    return session | changed


async def _manifest(connection: Connection, template: str) -> Any:
    row = await one(connection, "select manifest from templates where name = %s", (template,))
    if row is None:
        raise template_not_found(template)
    return row["manifest"]


async def insert_session(connection: Connection, request: Create, agent: str | None) -> Row:
    at = now()
    values = {
        "id": f"{request.user}-{request.template}-{secrets.token_hex(4)}",
        "user_id": request.user,
        "template_name": request.template,
        "state": "pending",
        "agent_id": agent,
        "tags": request.tags,
        "namespace": NAMESPACE,
        "memory": request.resources.memory,
        "cpu": request.resources.cpu,
        "persistent_home": request.persistentHome,
        "idle_timeout": request.idleTimeout,
        "max_session_duration": request.maxSessionDuration,
        "command_seq": 1,
        "created_at": at,
        "updated_at": at,
    }
    places = ", ".join(f"%({name})s" for name in values)
    row = await one(
        connection,
        f"insert into sessions ({', '.join(values)}, cluster_id, platform) values ({places}, "
        "(select cluster_id from agents where agent_id = %(agent_id)s::varchar), "
        "(select platform from agents where agent_id = %(agent_id)s::varchar)) returning *",
        values,
    )
    assert row is not None
    return row


def _start_details(session: Row) -> Row:
    """What a start carries, word for word as it was asked for."""
    return {
        "user": session["user_id"],
        "template": session["template_name"],
        "memory": session["memory"],
        "cpu": session["cpu"],
        "persistentHome": session["persistent_home"],
        "idleTimeout": session["idle_timeout"],
        "maxSessionDuration": session["max_session_duration"],
        "tags": session["tags"],
    }


def _payload(session: Row, details: Row) -> Row:
    return {"sessionId": session["id"], "namespace": session["namespace"], "seq": session["command_seq"]} | details
