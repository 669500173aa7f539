"""A child of the run as a server of its owner: JSON lines on standard input and output.

Used by the load and the recorder. Requests overlap; the end of standard input ends the child at once, so that nothing
outlives an owner that was killed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from chaosreprise.errors import RepriseError, complain

Handler = Callable[[str, dict[str, Any]], Awaitable[object]]
LIMIT = 2**24  # bytes of a line


def arguments(prog: str) -> argparse.Namespace:
    """What every child of a run is told: `run`, `history`, and the `kind` of the adapter to import while the platform starts."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}")
    parser.add_argument("--run", required=True)
    parser.add_argument("--history", type=pathlib.Path, required=True)
    parser.add_argument("--kind", required=True)
    return parser.parse_args()


async def lines_of_stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def serve(lines: asyncio.StreamReader, handle: Handler) -> None:
    """Answer requests until standard input ends or a request `bye` came; what is under way then is cancelled."""
    tasks: set[asyncio.Task[None]] = set()
    while line := await lines.readline():
        request = json.loads(line)
        number, verb = request.pop("id"), request.pop("do")
        if verb == "bye":
            _answer({"id": number, "ok": True, "result": None})
            break
        task = asyncio.create_task(_one(number, verb, request, handle))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(_end_on_bug)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _one(number: int, verb: str, arguments: dict[str, Any], handle: Handler) -> None:
    try:
        result = await handle(verb, arguments)
    except RepriseError as error:
        _answer({"id": number, "ok": False, "code": error.code, "say": str(error)})
    else:
        _answer({"id": number, "ok": True, "result": result})


def end_on_error(task: asyncio.Task[Any]) -> None:
    """A done-callback for work that nobody waits for. An error in it ends the process, and the owner is told why.

    By an answer without a request: the log may be on the disk that has just got full.
    """
    if not task.cancelled() and isinstance(error := task.exception(), RepriseError):
        with contextlib.suppress(OSError):
            _answer({"id": None, "ok": False, "code": error.code, "say": str(error)})
        complain(error)
        os._exit(74)  # EX_IOERR of sysexits(3)
    _end_on_bug(task)


def _end_on_bug(task: asyncio.Task[None]) -> None:
    """An error that nobody raised on purpose ends the process: the owner sees its pipe close, never a silent wait."""
    if not task.cancelled() and (error := task.exception()):
        traceback.print_exception(error)
        os._exit(70)  # EX_SOFTWARE of sysexits(3)


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
