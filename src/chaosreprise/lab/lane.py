"""In which order an agent works off what it was given: one command after the other. A seam for planted defects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Command = dict[str, Any]


class Lane:
    async def work(self, commands: "asyncio.Queue[Command]", do: Callable[[Command], Awaitable[None]]) -> None:
        """For ever; what `do` raises ends it."""
        while True:
            await do(await commands.get())
