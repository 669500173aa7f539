"""The recorder as a process of its own: runs every source of the adapter and writes what they see.

`watch` begins; `end` looks a last time, at everything that the platform says of this run, and closes the coverage.
Without `end` the history says that the recorder died: absence of an effect proves nothing then.
"""

import asyncio
import contextlib
from typing import Any

from chaosreprise.clock import SystemClock
from chaosreprise.errors import BadInput, RunBroken
from chaosreprise.history import Coverage, Timed, Writer
from chaosreprise.platform import adapter, file
from chaosreprise.run.watching import Watching
from chaosreprise.serve import arguments, end_on_error, lines_of_stdin, serve

FIRST_LOOK_S = 10.0


class Recorder:
    def __init__(self, writer: Writer, run: str) -> None:
        self._writer, self._run, self._clock = writer, run, SystemClock()
        self._watching: Watching | None = None
        self._flushing = False

    async def watch(self, platform: str, frames: bool = False) -> dict[str, Any]:
        """`frames`: also what passes on the links to agents."""
        self._cover(on=True, why="opened")
        speaker = adapter.make(file.load(platform), self._run)
        sources = [*speaker.sources(), *(speaker.frames() if frames else [])]
        self._watching = Watching(sources, self._clock, self._emit, end_on_error)
        await self._watching.until_seen(FIRST_LOOK_S)
        return {"sources": self._watching.names}

    def _emit(self, event: Timed) -> None:
        """A command sent before its ledger is watched would prove nothing: `watch` answers once all are.

        What one look sees reaches the kernel together and at once: a moment may wait for it.
        """
        self._writer.write(event)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        with contextlib.suppress(RunBroken):  # the next write raises it, where it ends the run
            self._writer.flush()

    async def end(self) -> dict[str, Any]:
        if self._watching is not None:
            await self._watching.end()
        self._cover(on=False, why="done")
        return {}

    def _cover(self, on: bool, why: str) -> None:
        now = self._clock.now()
        self._writer.write(Coverage(lo=now, hi=now, of="recorder", on=on, why=why), at_once=True)


async def main() -> None:
    options = arguments("chaosreprise.run.recorder")
    adapter.module_of(options.kind)
    lines = await lines_of_stdin()
    with Writer(options.history, "recorder", options.run) as writer:
        recorder = Recorder(writer, options.run)

        async def handle(verb: str, fields: dict[str, Any]) -> object:
            if verb not in ("watch", "end"):
                raise BadInput(f"{verb!r}: not a request to the recorder")
            return await getattr(recorder, verb)(**fields)

        await serve(lines, handle)


if __name__ == "__main__":
    asyncio.run(main())
