"""Defects in what a call decides: where a session goes, how it is refused, what is left of it, how a command is named."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import Sequence

import msgspec
from psycopg.types.json import Jsonb

from chaosreprise.lab import quota
from chaosreprise.lab.database import Connection, Row, StoreAway, one
from chaosreprise.lab.refusals import Refused, no_agents
from chaosreprise.lab.requests import Create
from chaosreprise.lab.store import INSERT_COMMAND, PLACEMENT_LOCK, Change, Command, Store, insert_session, now

NO_AGENTS = 503
TRIES, TRY_AGAIN_S = 24, 0.25
SWEEPS, SWEEP_S = 6, 3.0
COUNTING_S = 1.0
KEPT_S = 0.04  # for each session that there ever was
AT_ONCE_S = 1.0  # what took longer was no accident
_PLACE = """
select a.agent_id from agents a left join sessions s on s.agent_id = a.agent_id and s.state in ('pending', 'starting', 'waking', 'running')
where a.approval_status = 'approved' group by a.agent_id order by count(s.id), a.agent_id limit 1"""
_OVERWRITE = f"""{INSERT_COMMAND} on conflict (command_id) do update set
  action = excluded.action, payload = excluded.payload, status = excluded.status, updated_at = excluded.updated_at"""


class PlaceByRows(Store):
    """The agent with the fewest sessions that run gets the next one, heard of or not: whose sessions all stop looks idle."""

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        del connected, request
        return await _idlest(connection)


class PlaceAnyway(Store):
    """Where nobody is online a session is placed all the same; that it is refused is said later (`delivery`)."""

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        try:
            return await super().place(connection, connected, request)
        except Refused:
            return await _idlest(connection)


class NoAgentsIsQuota(Store):
    """No agent has room, so the room of this user is said to be used up."""

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        try:
            return await super().place(connection, connected, request)
        except Refused as refused:
            raise quota.exceeded("there is no room for this session") from refused


class HopefulRefusal(Store):
    """Before a start is refused for want of agents it is tried again for a while, and its caller hangs."""

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        for _ in range(TRIES):
            try:
                return await super().create(request, asked, connected)
            except Refused as refused:
                if refused.status != NO_AGENTS:
                    raise
            await asyncio.sleep(TRY_AGAIN_S)
        raise no_agents()


class TemplatesFromKubernetes(Store):
    """Templates are read from the API server of a cluster, which is not there; creates go on, since agents get what was kept."""

    async def template(self, name: str) -> Row:
        raise Refused(
            500, "Failed to get template", f"templates.stream.space {name!r}: no connection to the API server"
        )

    async def templates(self) -> list[Row]:
        raise Refused(500, "Failed to list templates", "templates.stream.space: no connection to the API server")


class SweepsInLine(Store):
    """Now and then a create looks through all that was ever stored, before it is answered."""

    _creates = 0

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        self._creates += 1
        if self._creates % SWEEPS == 0:
            await asyncio.sleep(SWEEP_S)
        return await super().create(request, asked, connected)


class AsksKubernetes(Store):
    """The API server of a cluster is asked before each create, over a connection that is kept. There is none here: we play it."""

    _talk: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    _lock = asyncio.Lock()

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        async with self._lock:
            if self._talk is None:
                server = await asyncio.start_server(_answer_as_kubernetes, "127.0.0.1", 0)
                self._talk = await asyncio.open_connection(*server.sockets[0].getsockname())
            reader, writer = self._talk
            writer.write(b"GET /apis/stream.space/v1alpha1/templates HTTP/1.1\r\nHost: kubernetes\r\n\r\n")
            await reader.readuntil(b"{}")
        return await super().create(request, asked, connected)


async def _answer_as_kubernetes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


class CountsEverything(Store):
    """What is counted for a create is counted by a statement that takes a second."""

    async def count(self, connection: Connection, user: str, asked: quota.Size) -> None:
        await connection.execute("select pg_sleep(%s)", (COUNTING_S,))
        await super().count(connection, user, asked)


class KeepsForEver(Store):
    """What is known of a session is kept for ever, and looked through for each read."""

    _kept = 0

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        self._kept += 1
        return await super().create(request, asked, connected)

    async def session(self, name: str) -> Row:
        await asyncio.sleep(self._kept * KEPT_S)
        return await super().session(name)


class TriesAgain(Store):
    """A change whose transaction broke off is tried again, once and at once, as after a deadlock."""

    async def change(self, name: str, change: Change) -> Command:
        began = time.monotonic()
        try:
            return await super().change(name, change)
        except StoreAway:
            if time.monotonic() - began > AT_ONCE_S:
                raise
        return await super().change(name, change)


class RowBeforePlace(Store):
    """The session is stored, and counted, before an agent is looked for: a refused one keeps its row, and its place."""

    async def create(self, request: Create, asked: quota.Size, connected: Sequence[str]) -> tuple[Row, Command]:
        try:
            return await super().create(request, asked, connected)
        except Refused as refused:
            if refused.status == NO_AGENTS:
                await self._database.run(lambda connection: insert_session(connection, request, None))
            raise


class IdsByTheSecond(Store):
    """A command's id is made of its session and the second, and what has the same id overwrites what was there."""

    def command_id(self, session: Row) -> str:
        return f"cmd-{zlib.crc32(session['id'].encode()):08x}-{int(time.time())}"

    async def keep(self, connection: Connection, command: Command) -> None:
        at = now()
        await connection.execute(_OVERWRITE, (*command[:4], Jsonb(command.payload), command.status, at, at))


class CountsFirst(Store):
    """What a user has is counted and then added to, and nothing keeps another create from counting in between."""

    async def check_quota(self, connection: Connection, user: str, asked: quota.Size) -> None:
        await self.count(connection, user, asked)


class CountsWhatRuns(Store):
    """A user's sessions are counted once they run: those that have just been asked for take no place."""

    async def count(self, connection: Connection, user: str, asked: quota.Size) -> None:
        query = "select cpu, memory from sessions where user_id = %s and state = 'running'"
        rows = await (await connection.execute(query, (user,))).fetchall()
        quota.check_user(asked, [quota.size(row["cpu"], row["memory"]) for row in rows])


class AnyCluster(Store):
    """The least loaded agent gets a session, on whichever cluster."""

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        return await super().place(connection, connected, msgspec.structs.replace(request, cluster=""))


class AnyRegion(Store):
    """The least loaded agent gets a session, in whichever region."""

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        return await super().place(connection, connected, msgspec.structs.replace(request, region=""))


class AnyPlatform(Store):
    """The least loaded agent gets a session, on whatever platform it runs."""

    async def place(self, connection: Connection, connected: Sequence[str], request: Create) -> str:
        return await super().place(connection, connected, msgspec.structs.replace(request, platform=""))


async def _idlest(connection: Connection) -> str:
    await connection.execute("select pg_advisory_xact_lock(%s)", (PLACEMENT_LOCK,))
    row = await one(connection, _PLACE, ())
    if row is None:
        raise no_agents()
    name: str = row["agent_id"]
    return name


class RecordsTwice(Store):
    """A hibernation is kept once more, as done, for whoever asks later what there was."""

    async def keep(self, connection: Connection, command: Command) -> None:
        await super().keep(connection, command)
        if command.action == "hibernate_session":
            await super().keep(connection, command._replace(id=f"{command.id}-done", status="completed"))
