"""Interpreters as child processes: one a session, one step at a time."""

import asyncio
import json
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = {"python": ("python3", HERE / "interpreter.py"), "node": ("node", HERE / "interpreter.js")}
NAMES = {"python": "python", "python3": "python", "node": "node", "javascript": "node"}


class Lost(Exception):
    """The interpreter gave no answer."""


class Interpreter:
    """A live interpreter in its session's folder."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, runtime: str, folder: Path) -> "Interpreter":
        """Start one; ValueError for a runtime that is not known."""
        if runtime.lower() not in NAMES:
            raise ValueError(runtime)
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        program, script = COMMANDS[NAMES[runtime.lower()]]
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(program, script, cwd=folder, stdin=pipe, stdout=pipe, limit=1 << 30)
        )

    async def run(self, code: str) -> dict[str, str]:
        """Run code: stdout and stderr. Lost if the interpreter is gone or goes meanwhile."""
        async with self._turn:
            assert self._process.stdin
            assert self._process.stdout
            try:
                self._process.stdin.write(json.dumps({"code": code}).encode() + b"\n")
                await self._process.stdin.drain()
                answer = await self._process.stdout.readline()
                said: dict[str, str] = json.loads(answer)
            except (OSError, ValueError) as error:
                raise Lost(f"interpreter gave no answer: {type(error).__name__}") from error
            return said

    def end(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()
