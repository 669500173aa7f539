"""Defects in how an agent works off what it was given: a lane for each kind of command."""

import asyncio
from collections.abc import Awaitable, Callable

from chaosreprise.lab.lane import Command, Lane

PULL_S = 0.15


class StartsApart(Lane):
    """A start waits for its image in a lane of its own, so that a stop overtakes it and finds nothing to end."""

    async def work(self, commands: "asyncio.Queue[Command]", do: Callable[[Command], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as starts:
            while True:
                command = await commands.get()
                if command["action"] == "start_session":
                    starts.create_task(self._start(command, do))
                else:
                    await do(command)

    async def _start(self, command: Command, do: Callable[[Command], Awaitable[None]]) -> None:
        await asyncio.sleep(PULL_S)
        await do(command)
