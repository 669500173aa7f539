"""One Python or Node interpreter as a child process: it runs steps, one at a time, and keeps its variables between them.

Its standard input and output are the channel, one JSON line each way; the other end is `loop.py` or `loop.js`. An answer is
known by its number, so whatever else is printed there is nobody's. It ends by itself when its parent is gone, after what it
runs. It has a process group of its own, so that what a step has started ends with it when it is killed. A seam for planted defects.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from typing import NamedTuple, Self

LONGEST_ANSWER = 1 << 30
NAMES = {"python": "python", "python3": "python", "node": "node", "javascript": "node"}
PROGRAMS = {"python": ("python3", "-u", "-c"), "node": ("node", "-e")}
LOOPS = {"python": "loop.py", "node": "loop.js"}
NOT_FOR_STEPS = ("AUTH_JWT_SECRET",)


class NotStarted(Exception):
    """There is no such runtime, or not here."""


class Lost(Exception):
    """It has ended, before the step or over it; the message says how."""


class Printed(NamedTuple):
    stdout: str
    stderr: str


class Interpreter:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._number = 0

    @classmethod
    async def start(cls, runtime: str, folder: pathlib.Path) -> Self:
        """With `folder` as its working directory. Raises NotStarted or OSError."""
        program, *how = PROGRAMS[canonical(runtime)]
        path = shutil.which(program)
        if path is None:
            raise NotStarted(f"{program} is not on the PATH")
        loop = cls.loop(canonical(runtime))
        process = await asyncio.create_subprocess_exec(
            path, *how, loop, cwd=folder, stdin=PIPE, stdout=PIPE, limit=LONGEST_ANSWER, process_group=0,
            env={name: value for name, value in os.environ.items() if name not in NOT_FOR_STEPS},
        )  # fmt: skip
        return cls(process)

    @classmethod
    def loop(cls, runtime: str) -> str:
        """The program of its other end."""
        return pathlib.Path(__file__).with_name(LOOPS[runtime]).read_text()

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, code: str) -> Printed:
        """Run it after the steps before it, however long that takes. Raises Lost."""
        async with self._turn:
            self._number += 1
            if not self.alive:
                raise Lost(self._end())
            try:
                return await self._exchange(self._number, code)
            except (ConnectionError, EOFError) as error:
                self.kill()  # where only the channel was closed
                await self._process.wait()
                raise Lost(self._end()) from error

    def kill(self) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _exchange(self, number: int, code: str) -> Printed:
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None
        assert answers is not None
        to.write(json.dumps({"id": number, "code": code}).encode() + b"\n")
        await to.drain()
        while line := await answers.readline():
            printed = self.answer(line, number)
            if printed is not None:
                return printed
        raise EOFError

    def answer(self, line: bytes, number: int) -> Printed | None:
        """None for what was printed by something else."""
        try:
            said = json.loads(line)
            if said["id"] == number:
                return Printed(_clean(said["stdout"]), _clean(said["stderr"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def _end(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            return f"the interpreter was ended by signal {-code}"
        return f"the interpreter has ended with {code}"


def canonical(runtime: str) -> str:
    """Its name in the contract. Raises NotStarted for one that is not known."""
    name = NAMES.get(runtime.lower())
    if name is None:
        raise NotStarted(f"unknown runtime {runtime!r}")
    return name


def _clean(text: str) -> str:
    """Without halves of characters, which no JSON can carry on."""
    return text.encode("utf-8", "replace").decode()
