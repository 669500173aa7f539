"""Defects of the session agent: what runs where, how often, and whose answer is given."""

import asyncio
import json
import pathlib
import time

from chaosreprise.lab.sandbox.agent import Tokens
from chaosreprise.lab.sandbox.hosted import Hosted, Hosts, Said
from chaosreprise.lab.sandbox.interpreter import Interpreter, Printed

NOW_AND_THEN = 5  # each fifth one
READING_S = 6.5


class DropsSteps(Hosted):
    _asked = 0

    async def do(self, code: str) -> Said:
        self._asked += 1
        if self._asked % NOW_AND_THEN == 0:
            return Said("completed", "", "")
        return await super().do(code)


class AnswersBefore(Hosted):
    _asked = 0
    _before = Said("completed", "", "")

    async def do(self, code: str) -> Said:
        said = await super().do(code)
        before, self._before = self._before, said
        self._asked += 1
        return before if self._asked % NOW_AND_THEN == 0 else said


class MixesSessions(Hosts):
    _asked = 0

    def runs(self, session: str) -> Hosted | None:
        found = super().runs(session)
        others = [other for other in self._sessions.values() if found and other is not found]
        self._asked += 1
        return others[-1] if others and self._asked % NOW_AND_THEN == 0 else found


class StartsAgain(Hosted):
    def __init__(self, runtime: str, token: str, folder: pathlib.Path, interpreter: Interpreter) -> None:
        super().__init__(runtime, token, folder, interpreter)
        self._starting = asyncio.Lock()

    async def do(self, code: str) -> Said:
        async with self._starting:
            if not self._interpreter.alive:
                self._interpreter = await Interpreter.start(self.runtime, self._folder)
        return await super().do(code)


class Recycles(Hosted):
    _ran = 0

    async def do(self, code: str) -> Said:
        said = await super().do(code)
        self._ran += 1
        if self._ran % NOW_AND_THEN == 0 and self._interpreter.alive:
            old, self._interpreter = self._interpreter, await Interpreter.start(self.runtime, self._folder)
            old.kill()
        return said


class SharesItsOutput(Interpreter):
    """The steps' standard output is the channel, and the next line on it is taken for the answer."""

    @classmethod
    def loop(cls, runtime: str) -> str:
        return super().loop(runtime).replace("os.dup2(2, 1)", "")

    def answer(self, line: bytes, number: int) -> Printed | None:
        del number
        try:
            said = json.loads(line)
            return Printed(said["stdout"], said["stderr"])
        except (ValueError, KeyError, TypeError):
            return Printed(line.decode(errors="replace"), "")


class ReadsBeforeItAnswers(Hosts):
    def __init__(self, workspaces: pathlib.Path, made_by: type[Hosted], interpreters: type[Interpreter]) -> None:
        super().__init__(workspaces, made_by, interpreters)
        if _was_here_before(self):
            time.sleep(READING_S)


class OpenAfterARestart(Tokens):
    def __init__(self, hosts: Hosts, *, enforced: bool) -> None:
        super().__init__(hosts, enforced=enforced and not _was_here_before(hosts))


def _was_here_before(hosts: Hosts) -> bool:
    return hosts.workspaces.exists() and any(hosts.workspaces.iterdir())


class AnyToken(Tokens):
    def fits(self, token: str, session: Hosted) -> bool:
        del token, session
        return True
