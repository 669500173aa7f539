"""In which order an agent works off what it was given: one command after the other. A seam for planted defects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Command = dict[str, Any]
Do = Callable[[Command], Awaitable[None]]


class Lane:
    async def work(self, commands: "asyncio.Queue[Command]", do: Do) -> None:
        """For ever; what `do` raises ends it."""
        while True:
            await do(await commands.get())


class BySession(Lane):
    """In a cluster, where a pod takes seconds: those of one session in their order, those of others beside it."""

    async def work(self, commands: "asyncio.Queue[Command]", do: Do) -> None:
        last: dict[str, asyncio.Task[None]] = {}
        coming = asyncio.create_task(commands.get())
        try:
            while True:
                await asyncio.wait({coming, *last.values()}, return_when=asyncio.FIRST_COMPLETED)
                for session in [name for name, task in last.items() if task.done()]:
                    last.pop(session).result()
                if coming.done():
                    command = coming.result()
                    session = command["payload"]["sessionId"]
                    last[session] = asyncio.create_task(_after(last.get(session), do, command))
                    coming = asyncio.create_task(commands.get())
        finally:
            for task in (coming, *last.values()):
                task.cancel()


async def _after(before: "asyncio.Task[None] | None", do: Do, command: Command) -> None:
    if before is not None:
        await before
    await do(command)
