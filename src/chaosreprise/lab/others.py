"""The other control planes of this platform, which share its database: what one accepts for an agent of another reaches it.

What waits stands in the database, and each control plane looks there for its own agents once a round (`sockets`), so nothing
is lost when nobody tells. Telling only makes it quick: a notification, with the agent's name, to all that listen. One that
may have been missed is made up for by looking for everybody. A seam for planted defects.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NoReturn

import psycopg

from chaosreprise.lab.database import CONNECT_TIMEOUT_S, Database, StoreAway

CHANNEL = "reprise_commands"
AGAIN_S = 0.1
_TELL = """
select pg_notify(%(channel)s, agent_id) from agents
where agent_id = %(agent)s and status <> 'offline' and control_plane <> %(here)s"""


class Others:
    """`here`: the name of this one. `exist`: whether there are others; nothing is told, and nothing asked, without them."""

    def __init__(self, database: Database, dsn: str, here: str, *, exist: bool) -> None:
        self._database, self._dsn, self._here, self._exist = database, dsn, here, exist

    async def told(self, agent: str) -> bool:
        """Whether another one has this agent, as far as the rows say; it has been told then that there is news for it."""
        if not self._exist:
            return False
        values = {"channel": CHANNEL, "agent": agent, "here": self._here}
        try:
            return await self._database.one(_TELL, values) is not None
        except StoreAway:
            return True  # nobody knows; who has it looks by itself

    async def have(self, agent: str) -> bool:
        """Whether another one has this agent. Raises StoreAway."""
        if not self._exist:
            return False
        row = await self._database.one(
            "select 1 from agents where agent_id = %s and status <> 'offline' and control_plane <> %s",
            (agent, self._here),
        )
        return row is not None

    async def listen(self, news: Callable[[str | None], None]) -> NoReturn:
        """Hear for ever for whom there is news; None: it may be for anybody."""
        while not self._exist:
            await asyncio.Event().wait()
        while True:
            with contextlib.suppress(psycopg.Error):
                await self._hear(news)
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, news: Callable[[str | None], None]) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
        async with connection:
            await connection.execute(f"listen {CHANNEL}")
            news(None)
            async for told in connection.notifies():
                news(told.payload)
