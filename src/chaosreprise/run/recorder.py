"""The recorder as a process of its own: runs every source of the adapter and writes what they see.

`watch` begins; `end` looks a last time, at everything that the platform says of this run, and closes the coverage.
Without `end` the history says that the recorder died: absence of an effect proves nothing then.
"""

import asyncio
import contextlib
from typing import Any

from chaosreprise.clock import SystemClock
from chaosreprise.errors import BadInput, RunBroken, Unreachable
from chaosreprise.history import Coverage, Timed, Writer
from chaosreprise.platform import adapter, file
from chaosreprise.serve import arguments, end_on_error, lines_of_stdin, serve

FIRST_LOOK_S = 10.0
TICK_S = 0.005


class Recorder:
    def __init__(self, writer: Writer, run: str) -> None:
        self._writer, self._run, self._clock = writer, run, SystemClock()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._unseen: dict[str, str] = {}  # and why, as far as that is known
        self._flushing = False

    async def watch(self, platform: str, frames: bool = False) -> dict[str, Any]:
        """`frames`: also what passes on the links to agents."""
        self._cover(on=True, why="opened")
        speaker = adapter.make(file.load(platform), self._run)
        for source in [*speaker.sources(), *(speaker.frames() if frames else [])]:
            self._unseen[source.name] = "it did not answer"
            task = asyncio.create_task(source.run(self._clock, self._emit, self._stop), name=source.name)
            task.add_done_callback(end_on_error)
            self._tasks.append(task)
        for _ in range(int(FIRST_LOOK_S / TICK_S)):
            if not self._unseen:
                return {"sources": [task.get_name() for task in self._tasks]}
            await asyncio.sleep(TICK_S)
        name, why = min(self._unseen.items())
        raise Unreachable(
            f"evidence.{name}: could not be looked at within {FIRST_LOOK_S:g} s ({why}): check what the platform file says of it"
        )

    def _emit(self, event: Timed) -> None:
        """A command sent before its ledger is watched would prove nothing: `watch` answers once all are.

        What one look sees reaches the kernel together and at once: a moment may wait for it.
        """
        self._writer.write(event)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        if isinstance(event, Coverage) and event.of in self._unseen:
            if event.on:
                del self._unseen[event.of]
            else:
                self._unseen[event.of] = event.why

    def _flush(self) -> None:
        self._flushing = False
        with contextlib.suppress(RunBroken):  # the next write raises it, where it ends the run
            self._writer.flush()

    async def end(self) -> dict[str, Any]:
        self._stop.set()
        await asyncio.gather(*self._tasks)
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
