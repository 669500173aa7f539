"""The sessions of a session agent, and how a step runs in them: once, however often it is asked for.

`Hosted` and `Hosts` are seams for planted defects.
"""

import asyncio
import collections
import pathlib

import msgspec

from chaosreprise.lab.sandbox.interpreter import Interpreter, Lost, canonical

KEPT_ANSWERS = 64  # of each session; a data plane asks again within a minute


class Said(msgspec.Struct, frozen=True):
    """`failed`: the interpreter gave no answer, and `stderr` says why."""

    status: str
    stdout: str
    stderr: str


NOT_KEPT = Said("failed", "", "this step has run before, and its answer is no longer kept")


class Hosted:
    """One session. `steps` are those that were ever asked for, so that none runs twice."""

    def __init__(self, runtime: str, token: str, folder: pathlib.Path, interpreter: Interpreter) -> None:
        self.runtime, self.token = runtime, token
        self._folder, self._interpreter = folder, interpreter
        self._steps: dict[str, asyncio.Future[Said]] = {}
        self._kept: collections.deque[str] = collections.deque()
        self._not_kept: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._not_kept.set_result(NOT_KEPT)

    async def run(self, step: str, code: str) -> Said:
        """What came of it; asked for again, what came, or comes, of it the first time."""
        if step not in self._steps:
            self._steps[step] = asyncio.ensure_future(self.do(code))
            self._kept.append(step)
            self._forget()
        return await asyncio.shield(self._steps[step])

    async def do(self, code: str) -> Said:
        """Run it now."""
        try:
            printed = await self._interpreter.run(code)
        except Lost as error:
            return Said("failed", "", str(error))
        return Said("completed", printed.stdout, printed.stderr)

    def end(self) -> None:
        self._interpreter.kill()

    def _forget(self) -> None:
        """The oldest answer, once it is there and there are too many."""
        if len(self._kept) > KEPT_ANSWERS and self._steps[self._kept[0]].done():
            self._steps[self._kept.popleft()] = self._not_kept


class Conflict(Exception):
    """The session is there with another runtime."""


class Hosts:
    """All sessions of this agent. `workspaces` is where those work that say nothing else."""

    def __init__(
        self, workspaces: pathlib.Path, made_by: type[Hosted], interpreters: type[Interpreter] = Interpreter
    ) -> None:
        self.workspaces, self._made_by, self._interpreters = workspaces, made_by, interpreters
        self._sessions: dict[str, Hosted] = {}
        self._one_at_a_time = asyncio.Lock()

    def find(self, session: str) -> Hosted | None:
        return self._sessions.get(session)

    def runs(self, session: str) -> Hosted | None:
        """Where the steps of this session run."""
        return self.find(session)

    async def register(self, session: str, runtime: str, token: str, folder: str) -> None:
        """A known session stays as it is, its token too. Raises Conflict, NotStarted or OSError."""
        async with self._one_at_a_time:
            known, name = self._sessions.get(session), canonical(runtime)
            if known is None:
                here = pathlib.Path(folder) if folder else self.workspaces / session
                here.mkdir(mode=0o750, parents=True, exist_ok=True)
                interpreter = await self._interpreters.start(name, here)
                self._sessions[session] = self._made_by(name, token, here, interpreter)
            elif known.runtime != name:
                raise Conflict(f"session {session} runs {known.runtime}")

    def terminate(self, session: str) -> None:
        if session in self._sessions:
            self._sessions.pop(session).end()
