"""Defects in what passes between the control plane and its agents: what is given again, under which number, and what is not."""

import contextlib
import time
from typing import Any

from aiohttp import WSCloseCode

from chaosreprise.lab.database import Connection, StoreAway
from chaosreprise.lab.defects.roster import KnowsLives
from chaosreprise.lab.sockets import Link, Payload, Switchboard
from chaosreprise.lab.store import Command

UNHEARD_S = 0.65
_NUMBERS = """
update agent_commands set payload = payload || jsonb_build_object('seq', (payload->>'seq')::integer + 1)
where session_id = %(session)s and (payload->>'seq')::integer >= %(seq)s"""
_NUMBER = "update sessions set command_seq = command_seq + 1 where id = %s"


class SendsAgain(Switchboard):
    """What an agent that is heard has not acknowledged in time is taken for lost, and given again under a new number.

    A session gets its next command when the one before is acknowledged, so what waits there moves on by a number.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._unheard: dict[str, dict[str, tuple[Command, float]]] = {}

    async def serve(self, link: Link) -> None:
        self._unheard[link.agent] = {}
        await super().serve(link)

    async def _send(self, link: Link, commands: list[Command]) -> None:
        unheard = self._unheard[link.agent]
        busy = {command.session for command, _ in unheard.values()}
        given = []
        for command in commands:
            if command.status != "pending" or command.session not in busy:
                given.append(command)
                busy.add(command.session)
        unheard |= {command.id: (command, float("inf")) for command in given}
        await super()._send(link, given)
        now = time.monotonic()
        unheard.update({command.id: (command, now) for command in given if command.id in unheard})

    async def _take(self, link: Link, kind: str, said: Payload) -> None:
        read = time.monotonic()
        await super()._take(link, kind, said)
        unheard, newest = self._unheard[link.agent], self._links.get(link.agent)
        if kind == "heartbeat" and newest is not None:
            for command, given in list(unheard.values()):
                if read - given > UNHEARD_S:
                    await self._again(newest, command)
        elif unheard.pop(said.commandId, None) is not None and newest is not None:
            newest.news.set()

    async def _again(self, link: Link, command: Command) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(_NUMBERS, {"session": command.session, "seq": command.payload["seq"]})
            await connection.execute(_NUMBER, (command.session,))

        with contextlib.suppress(StoreAway):
            await self._outbox.database.run(work)
            payload = command.payload | {"seq": command.payload["seq"] + 1}
            again = command._replace(payload=payload, status="sent")
            self._unheard[link.agent].pop(command.id)
            await self._send(link, [again])


class NotTwiceToOneLife(Switchboard):
    """What was written to an agent's connection is not given again while that process lives: it has it, so it is thought."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._written: dict[tuple[str, int], set[str]] = {}

    async def _send(self, link: Link, commands: list[Command]) -> None:
        written = self._written.setdefault((link.agent, KnowsLives.lives.get(link.agent, 0)), set())
        given = [command for command in commands if command.id not in written]
        await super()._send(link, given)
        written.update(command.id for command in given)


class GoodbyeIsTheEnd(Switchboard):
    """What was sent to an agent that has closed its connection in order is not given again: it said goodbye, so it had no more to do."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._given: dict[str, set[str]] = {}
        self._over: set[str] = set()

    async def _send(self, link: Link, commands: list[Command]) -> None:
        left = [command for command in commands if command.id not in self._over]
        self._given.setdefault(link.agent, set()).update(command.id for command in left)
        await super()._send(link, left)

    async def _listen(self, link: Link) -> None:
        await super()._listen(link)
        if link.socket.close_code == WSCloseCode.OK:
            self._over |= self._given.pop(link.agent, set())
