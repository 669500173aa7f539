"""All SQL of the control plane, one transaction a method: what is promised about state is decided here.

A change of a session's state and its command are one transaction, and the row of the session is locked meanwhile, so
commands of a session have one order (`seq`, which travels in the payload). Placement runs under one lock, after the
user's row, so concurrent creates see each other. What an agent reports counts only for the command that it is about:
a late message never overwrites what came after it.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from chaosreprise.lab import quota
from chaosreprise.lab.database import Connection, Database
from chaosreprise.lab.refusals import Refused, bad_request, session_not_found
from chaosreprise.lab.requests import AgentInfo, Create
from chaosreprise.lab.schema import ACTIVE, OPEN
from chaosreprise.lab.settings import NAMESPACE, PLATFORM

PLACEMENT_LOCK = 7_301_001
DEFAULT_MAX_SESSIONS = 64
Row = dict[str, Any]


class Command(NamedTuple):
    """A command as it is delivered."""

    id: str
    agent: str
    session: str
    action: str
    payload: Row
    status: str


class Change(NamedTuple):
    """What a call does to a session: its command, the states it may start from, and the state meanwhile."""

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
REPORTS = {  # what an agent may report -> the states that it may follow
    "running": ("pending", "starting", "waking"),
    "hibernated": ("hibernating",),
    "terminated": ("terminating",),
}
_COMMAND = "command_id, agent_id, session_id, action, payload, status"


def now() -> datetime:
    """The control plane's clock, as the columns want it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Store:
    def __init__(self, database: Database, fresh_s: float) -> None:
        self._database = database
        self._fresh_s = fresh_s

    # users, templates

    async def user(self, name: str) -> Row | None:
        return await self._one("select * from users where username = %s and active", (name,))

    # sessions

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        """Place a session and store its start. Refuses with 403, 404 and 503."""

        async def work(connection: Connection) -> tuple[Row, Command]:
            await _check_template(connection, request.template)
            await _check_quota(connection, request.user, asked)
            agent = await _place(connection, connected, now() - timedelta(seconds=self._fresh_s))
            session = await _insert_session(connection, request, agent)
            return session, await _insert_command(connection, session, "start_session", _start_payload(session))

        return await self._database.run(work)

    async def change(self, name: str, change: Change) -> Command:
        """Put a session into its passing state and store the command. Refuses with 404 and 409."""

        async def work(connection: Connection) -> Command:
            session = await _row(connection, "select * from sessions where id = %s for update", (name,))
            if session is None:
                raise session_not_found(name)
            if session["agent_id"] is None:
                raise Refused(409, "Session not ready", f"session {name} has no agent")
            if session["state"] not in change.allowed:
                raise Refused(409, change.refusal, f"session {name} is {session['state']}")
            session = await _row(
                connection,
                "update sessions set state = %s, command_seq = command_seq + 1, updated_at = %s where id = %s returning *",
                (change.state, now(), name),
            )
            assert session is not None
            return await _insert_command(connection, session, change.action, {})

        return await self._database.run(work)

    async def session(self, name: str) -> Row:
        if row := await self._one("select * from sessions where id = %s", (name,)):
            return row
        raise session_not_found(name)

    async def sessions(self, user: str | None) -> list[Row]:
        return await self._all(
            "select * from sessions where %(user)s::text is null or user_id = %(user)s order by created_at desc, id",
            {"user": user},
        )

    # steps

    async def endpoint(self, name: str) -> Row:
        """Where the interpreter of a running session listens. Refuses with 404 and 409."""
        row = await self._one(
            "select state, port, token from sessions left join endpoints on session_id = id where id = %s", (name,)
        )
        if row is None:
            raise session_not_found(name)
        if row["state"] != "running" or row["port"] is None:
            raise Refused(409, "Invalid session state", f"session {name} is {row['state']}, not running")
        return row

    async def record_step(self, number: str, session: str, command: str) -> None:
        await self._do("insert into session_steps values (%s, %s, %s, 'accepted')", (number, session, command))

    # commands, as they are delivered and answered

    async def open_commands(self, agent: str) -> list[Command]:
        """All that this agent has not finished, oldest first."""
        return await self._commands(f"agent_id = %s and {OPEN}", agent)

    async def pending_commands(self, agent: str) -> list[Command]:
        return await self._commands("agent_id = %s and status = 'pending'", agent)

    async def all_commands(self, agent: str) -> list[Command]:
        return await self._commands("agent_id = %s", agent)

    async def mark_sent(self, command: str) -> None:
        await self._do(
            "update agent_commands set status = 'sent', sent_at = %(now)s, updated_at = %(now)s "
            "where command_id = %(command)s and status = 'pending'",
            {"command": command, "now": now()},
        )

    async def acknowledge(self, agent: str, command: str) -> None:
        """An agent has the command; a session that waits for its start is starting."""

        async def work(connection: Connection) -> None:
            names = {"agent": agent, "command": command, "now": now()}
            await connection.execute(
                "update agent_commands set status = 'ack', acknowledged_at = %(now)s, updated_at = %(now)s "
                "where command_id = %(command)s and agent_id = %(agent)s and status in ('pending', 'sent')",
                names,
            )
            await connection.execute(
                "update sessions s set state = 'starting', updated_at = %(now)s from agent_commands c "
                "where c.command_id = %(command)s and c.agent_id = %(agent)s and c.action = 'start_session' "
                "and s.id = c.session_id and s.state = 'pending'",
                names,
            )

        await self._database.run(work)

    async def report(self, agent: str, command: str, state: str, endpoint: Row) -> None:
        """What an agent says of a session after a command; counts only while that is the session's last command."""
        if state not in REPORTS:
            raise bad_request(f"state {state!r} is not reported by agents")

        async def work(connection: Connection) -> None:
            session = await _row(connection, _REPORT, {
                "agent": agent, "command": command, "state": state, "now": now(), "from": list(REPORTS[state]),
                "pod": endpoint.get("podName"),
                "url": f"tcp://127.0.0.1:{endpoint['port']}" if "port" in endpoint else None,
            })  # fmt: skip
            if session is None:
                return
            await connection.execute("delete from endpoints where session_id = %s", (session["id"],))
            if "port" in endpoint:
                values = (session["id"], endpoint["port"], endpoint["token"])
                await connection.execute("insert into endpoints values (%s, %s, %s)", values)

        await self._database.run(work)

    async def complete(self, agent: str, command: str) -> bool:
        """Whether this is what completed it."""
        return await self._changed(
            "update agent_commands set status = 'completed', completed_at = %(now)s, updated_at = %(now)s "
            f"where command_id = %(command)s and agent_id = %(agent)s and {OPEN}",
            {"agent": agent, "command": command, "now": now()},
        )

    async def fail(self, agent: str, command: str, why: str) -> None:
        """A command that can't be done, and with it its session."""

        async def work(connection: Connection) -> None:
            row = await _row(
                connection,
                "update agent_commands set status = 'failed', error_message = %(why)s, updated_at = %(now)s "
                f"where command_id = %(command)s and agent_id = %(agent)s and {OPEN} returning session_id, payload",
                {"agent": agent, "command": command, "why": why, "now": now()},
            )
            if row is not None:
                await connection.execute(
                    "update sessions set state = 'failed', updated_at = %s where id = %s and command_seq = %s",
                    (now(), row["session_id"], row["payload"]["seq"]),
                )

        await self._database.run(work)

    # agents

    async def agent(self, name: str) -> Row | None:
        return await self._one("select * from agents where agent_id = %s", (name,))

    async def agents(self, filters: dict[str, str]) -> list[Row]:
        names = {"platform": None, "status": None, "region": None} | filters
        wanted = [f"(%({name})s::text is null or {name} = %({name})s)" for name in ("platform", "status", "region")]
        return await self._all(f"select * from agents where {' and '.join(wanted)} order by agent_id", names)

    async def register(self, agent: str, info: AgentInfo) -> Row:
        row = await self._one(
            "update agents set platform = %s, region = %s, capacity = %s, metadata = %s, updated_at = %s "
            "where agent_id = %s returning *",
            (info.platform, info.region or None, Jsonb(info.capacity), Jsonb(info.metadata), now(), agent),
        )
        assert row is not None
        return row

    async def heartbeat(self, agent: str, status: str, capacity: Row | None = None) -> datetime:
        at = now()
        await self._do(
            "update agents set status = %(status)s, last_heartbeat = %(at)s, updated_at = %(at)s, "
            "capacity = coalesce(%(capacity)s, capacity) where agent_id = %(agent)s",
            {"agent": agent, "status": status, "at": at, "capacity": Jsonb(capacity) if capacity else None},
        )
        return at

    async def offline(self, agent: str) -> None:
        await self._do("update agents set status = 'offline', updated_at = %s where agent_id = %s", (now(), agent))

    async def all_offline(self) -> None:
        """At the start of the control plane: no agent is connected to it."""
        await self._do("update agents set status = 'offline', updated_at = %s where status <> 'offline'", (now(),))

    async def stale_offline(self) -> list[str]:
        """Mark those that have been silent for too long; their names."""
        at = now()
        rows = await self._all(
            "update agents set status = 'offline', updated_at = %s where status <> 'offline' and last_heartbeat < %s returning agent_id",
            (at, at - timedelta(seconds=self._fresh_s)),
        )
        return [row["agent_id"] for row in rows]

    async def _commands(self, condition: str, agent: str) -> list[Command]:
        rows = await self._all(f"select {_COMMAND} from agent_commands where {condition} order by position", (agent,))
        return [Command(*(row[name] for name in _COMMAND.split(", "))) for row in rows]

    async def _one(self, query: str, values: Any) -> Row | None:
        return await self._database.run(lambda connection: _row(connection, query, values))

    async def _all(self, query: str, values: Any) -> list[Row]:
        async def work(connection: Connection) -> list[Row]:
            return await (await connection.execute(query, values)).fetchall()

        return await self._database.run(work)

    async def _changed(self, query: str, values: Any) -> bool:
        async def work(connection: Connection) -> bool:
            return (await connection.execute(query, values)).rowcount > 0

        return await self._database.run(work)

    async def _do(self, query: str, values: Any) -> None:
        await self._changed(query, values)


_REPORT = """
update sessions s set state = %(state)s, pod_name = coalesce(%(pod)s, s.pod_name), url = %(url)s, last_activity = %(now)s,
  updated_at = %(now)s, terminated_at = case when %(state)s = 'terminated' then %(now)s else s.terminated_at end
from agent_commands c
where c.command_id = %(command)s and c.agent_id = %(agent)s and s.id = c.session_id
  and (c.payload->>'seq')::integer = s.command_seq and s.state = any(%(from)s)
returning s.id
"""


async def _row(connection: Connection, query: str, values: Any) -> Row | None:
    return await (await connection.execute(query, values)).fetchone()


async def _check_template(connection: Connection, template: str) -> None:
    if await _row(connection, "select 1 from templates where name = %s", (template,)) is None:
        raise Refused(404, "Template not found", f"no template {template}")


async def _check_quota(connection: Connection, user: str, asked: quota.Size) -> None:
    """The user's row stays locked until the end, so that two creates of one user don't share the last place."""
    if await _row(connection, "select 1 from users where id = %s and active for update", (user,)) is None:
        raise quota.exceeded(f"no user {user}")
    cursor = await connection.execute(f"select cpu, memory from sessions where user_id = %s and {ACTIVE}", (user,))
    quota.check_user(asked, [quota.size(row["cpu"], row["memory"]) for row in await cursor.fetchall()])


async def _place(connection: Connection, connected: Sequence[str], fresh: datetime) -> str:
    """The least loaded agent among those that are connected, online and heard of. The lock holds until the end."""
    await connection.execute("select pg_advisory_xact_lock(%s)", (PLACEMENT_LOCK,))
    row = await _row(
        connection,
        f"""select a.agent_id, count(s.id) as active from agents a left join sessions s on s.agent_id = a.agent_id and s.{ACTIVE}
        where a.agent_id = any(%s) and a.status = 'online' and a.approval_status = 'approved' and a.last_heartbeat >= %s
        group by a.agent_id, a.capacity
        having count(s.id) < coalesce((a.capacity->>'maxSessions')::integer, {DEFAULT_MAX_SESSIONS})
        order by active, a.agent_id limit 1""",
        (list(connected), fresh),
    )
    if row is None:
        raise Refused(503, "No agents available", "no agent is online with room for a session")
    name: str = row["agent_id"]
    return name


async def _insert_session(connection: Connection, request: Create, agent: str) -> Row:
    at = now()
    values = {
        "id": f"{request.user}-{request.template}-{secrets.token_hex(4)}",
        "user_id": request.user, "template_name": request.template, "state": "pending", "agent_id": agent,
        "tags": request.tags, "platform": PLATFORM, "namespace": NAMESPACE,
        "memory": request.resources.memory, "cpu": request.resources.cpu, "persistent_home": request.persistentHome,
        "idle_timeout": request.idleTimeout, "max_session_duration": request.maxSessionDuration,
        "command_seq": 1, "created_at": at, "updated_at": at,
    }  # fmt: skip
    names = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    row = await _row(connection, f"insert into sessions ({names}) values ({places}) returning *", values)
    assert row is not None
    return row


def _start_payload(session: Row) -> Row:
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


async def _insert_command(connection: Connection, session: Row, action: str, details: Row) -> Command:
    payload = {"sessionId": session["id"], "namespace": session["namespace"], "seq": session["command_seq"]} | details
    command = Command(f"cmd-{secrets.token_hex(4)}", session["agent_id"], session["id"], action, payload, "pending")
    at = now()
    await connection.execute(
        f"insert into agent_commands ({_COMMAND}, created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (*command[:4], Jsonb(payload), command.status, at, at),
    )
    return command
