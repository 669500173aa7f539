"""Defects in how an agent keeps its connection, and in what outlives it: acknowledgements, queues, second connections."""

import asyncio
import contextlib
import pathlib
from collections import deque
from typing import Any

import aiohttp

from chaosreprise.lab.agent import Agent, Saying, say
from chaosreprise.lab.hands import Hands, LoggedSlots
from chaosreprise.lab.lane import Command
from chaosreprise.lab.settings import Settings
from chaosreprise.stack.client import AsyncKeeper, read_file
from chaosreprise.stack.protocol import KEEPER_FILE

TICK_S, SILENT = 0.1, 12  # looks of its own without an answer: a machine that stalls is no silent control plane
LAST_S, LATER_S = 0.2, 0.2
SAID_AGAIN = 200  # what an agent has to say of the commands that can be under way


class AcknowledgesOnReceipt(Agent):
    """A command is acknowledged when it has come, not when it is begun."""

    async def _work(self, link: Saying, hands: Hands, commands: "asyncio.Queue[Command]") -> None:
        taken: asyncio.Queue[Command] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._take(link, commands, taken)),
            asyncio.create_task(self._begin(link, hands, taken)),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _take(self, link: Saying, commands: "asyncio.Queue[Command]", taken: "asyncio.Queue[Command]") -> None:
        while True:
            command = await commands.get()
            taken.put_nowait(command)
            await self._acknowledge(link, command)

    async def _begin(self, link: Saying, hands: Hands, taken: "asyncio.Queue[Command]") -> None:
        await super()._work(link, hands, taken)


class DoneAtTheEnd(AcknowledgesOnReceipt):
    """Asked to end, an agent reports as complete whatever it has taken."""

    def __init__(self, name: str, folder: pathlib.Path, settings: Settings) -> None:
        super().__init__(name, folder, settings)
        self._in_hand: set[str] = set()

    async def _serve(self, link: aiohttp.ClientWebSocketResponse) -> None:
        self._in_hand.clear()
        try:
            await super()._serve(link)
        except asyncio.CancelledError:
            for number in self._in_hand:
                await say(link, "complete", {"commandId": number, "result": {}})
            raise

    async def _acknowledge(self, link: Saying, command: Command) -> None:
        self._in_hand.add(command["commandId"])
        await super()._acknowledge(link, command)

    async def _do(self, link: Saying, hands: Hands, command: Command) -> None:
        await super()._do(link, hands, command)
        self._in_hand.discard(command["commandId"])


class Whichever:
    """The connection that there is at the moment; what can't be said is not said, unless `again` keeps it for the next one."""

    def __init__(self) -> None:
        self._link: Saying | None = None
        self._said: deque[str] = deque(maxlen=SAID_AGAIN)

    async def becomes(self, link: Saying, *, again: bool) -> None:
        self._link = link
        for text in list(self._said) if again else ():
            await link.send_str(text)

    async def send_str(self, text: str) -> None:
        self._said.append(text)
        assert self._link is not None
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._link.send_str(text)


class KeepsItsQueue(AcknowledgesOnReceipt):
    """What has come is worked off whether or not its connection lives on: only the end of the process ends it."""

    again = False

    def __init__(self, name: str, folder: pathlib.Path, settings: Settings) -> None:
        super().__init__(name, folder, settings)
        self._kept: asyncio.Queue[Command] = asyncio.Queue()
        self._whichever = Whichever()
        self._worker: asyncio.Task[None] | None = None

    async def _begin(self, link: Saying, hands: Hands, taken: "asyncio.Queue[Command]") -> None:
        del hands  # they end with the connection
        await self._whichever.becomes(link, again=self.again)
        self._worker = self._worker or asyncio.create_task(self._for_ever())
        while True:
            self._kept.put_nowait(await taken.get())

    async def _for_ever(self) -> None:
        async with await AsyncKeeper.connect(read_file(self._folder / KEEPER_FILE).socket) as keeper:
            hands = self._hands(LoggedSlots(keeper, self._log, self._name))
            await self._lane.work(self._kept, lambda command: self._do(self._whichever, hands, command))


class Resumes(KeepsItsQueue):
    """The same, and to each new connection what was said on the former ones is said again, since it may not have arrived."""

    again = True


class OpensASecond(Agent):
    """When the control plane is silent a second connection is opened, and the first one left as it is.

    What still comes on that is worked off a little later, beside the second.
    """

    def __init__(self, name: str, folder: pathlib.Path, settings: Settings) -> None:
        super().__init__(name, folder, settings)
        self._left: set[Any] = set()

    async def _serve(self, link: aiohttp.ClientWebSocketResponse) -> None:
        serving = asyncio.create_task(super()._serve(link))
        silence = asyncio.create_task(self._silence())
        try:
            await asyncio.wait({serving, silence}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return serving.result()
            self._left.add(link)
            await self.run()
        finally:
            serving.cancel()
            silence.cancel()
            await asyncio.gather(serving, silence, return_exceptions=True)

    async def _silence(self) -> None:
        """Until nothing was answered for so many looks."""
        url = f"{self._settings.url(f'agents/{self._name}')}/health"
        silent = 0
        async with aiohttp.ClientSession() as http:
            asking = asyncio.create_task(_asked(http, url))
            while silent < SILENT:
                await asyncio.sleep(TICK_S)
                silent += 1
                if asking.done():
                    silent, asking = 0, asyncio.create_task(_asked(http, url))
            asking.cancel()

    async def _listen(self, link: aiohttp.ClientWebSocketResponse, commands: "asyncio.Queue[Command]") -> None:
        await super()._listen(link, commands)
        while not commands.empty():
            await asyncio.sleep(TICK_S)
        await asyncio.sleep(LAST_S)

    async def _beat(self, link: Saying) -> None:
        await super()._beat(await _forgiving(link))

    async def _do(self, link: Saying, hands: Hands, command: Command) -> None:
        if link in self._left:
            await asyncio.sleep(LATER_S)
        await super()._do(await _forgiving(link), hands, command)


async def _forgiving(link: Saying) -> Saying:
    there = Whichever()
    await there.becomes(link, again=False)
    return there


async def _asked(http: aiohttp.ClientSession, url: str) -> None:
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with http.get(url) as answer:
            await answer.read()
