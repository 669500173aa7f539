"""Defects in where steps run, and in how long their answers take."""

import asyncio
import pathlib
import sys

from chaosreprise.lab.database import Row
from chaosreprise.lab.defects.roster import Remembers
from chaosreprise.lab.interpreter import Said
from chaosreprise.lab.steps import Steps

GROWS_BY_S, LONGEST_S = 0.15, 6.0
MIXED = 5
IN_LINE_S = 0.25
SPARED = 3  # every so many steps: a process for each would keep the machine busy with nothing else


class GrowingSteps(Steps):
    """Each step leaves something behind that every later answer looks through."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self._before = 0

    async def run(self, session: str, endpoint: Row, number: str, command: str) -> Said:
        self._before += 1
        looking_s = min(LONGEST_S, self._before * GROWS_BY_S)
        said = await super().run(session, endpoint, number, command)
        await asyncio.sleep(looking_s)
        return said


class OneAtATime(Steps):
    """Steps wait for each other, also those of different sessions."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self._line = asyncio.Lock()

    async def run(self, session: str, endpoint: Row, number: str, command: str) -> Said:
        async with self._line:
            await asyncio.sleep(IN_LINE_S)
            return await super().run(session, endpoint, number, command)


class LastAnswer(Steps):
    """Answers wait in one place for whoever asks: now and then one is taken that another session had just been given."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self._steps = 0
        self._last: tuple[str, Said] | None = None

    async def run(self, session: str, endpoint: Row, number: str, command: str) -> Said:
        said = await super().run(session, endpoint, number, command)
        self._steps += 1
        before, self._last = self._last, (session, said)
        mixed = before is not None and before[0] != session and self._steps % MIXED == 0
        return before[1] if before is not None and mixed else said


class SpareInterpreter(Steps):
    """While an agent is away some steps run in a spare process in the session's folder, and then in the first one again."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self._steps = 0

    async def run(self, session: str, endpoint: Row, number: str, command: str) -> Said:
        self._steps += bool(Remembers.away)
        if not Remembers.away or self._steps % SPARED:
            return await super().run(session, endpoint, number, command)
        spare = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", command, cwd=self._folder / "workspaces" / session,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await spare.communicate()
        return Said(number, endpoint["life"], "completed", out.decode(), err.decode())
