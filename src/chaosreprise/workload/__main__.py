"""The load as a process of its own: `python -m chaosreprise.workload`, requests as JSON lines on standard input.

The first request is `plan`, so that the process starts while the platform does. The end of standard input without `end`
before it means that the owner died: so does the load, at once.
"""

import asyncio
import functools
from typing import Any

import msgspec

from chaosreprise.clock import SystemClock
from chaosreprise.errors import BadInput
from chaosreprise.history import Tail, Writer
from chaosreprise.platform import adapter, file
from chaosreprise.serve import arguments, end_on_error, lines_of_stdin, serve
from chaosreprise.workload import stall
from chaosreprise.workload.load import Load
from chaosreprise.workload.model import Model
from chaosreprise.workload.plan import Plan
from chaosreprise.workload.steps import StepLoad

VERBS = (
    "open",
    "baseline",
    "send",
    "hush",
    "burst",
    "prompt",
    "running",
    "quiet",
    "drain",
    "clean",
    "close",
    "answers",
    "cycle",
    "left_alone",
    "end",
)


async def main() -> None:
    options = arguments("chaosreprise.workload")
    adapter.module_of(options.kind)
    lines = await lines_of_stdin()
    load: Load | None = None
    with Writer(options.history, "load", options.run) as writer:

        async def handle(verb: str, fields: dict[str, Any]) -> object:
            nonlocal load
            if verb == "plan":
                plan = msgspec.convert(fields["plan"], Plan)
                speaker = adapter.make(file.load(fields["platform"]), options.run)
                clock = SystemClock()
                model = Model(Tail(options.history, "recorder"), clock)
                load = (Load if plan.hibernates else StepLoad)(speaker, writer, model, plan, options.run, clock)
                return {}
            if load is None or verb not in VERBS:
                raise BadInput(f"{verb!r}: not a request to the load, or it has no plan yet")
            return await getattr(load, verb)(**fields)

        # at once: a verdict on the run so far must not see what was read late without the reason
        watching = asyncio.create_task(stall.watch(SystemClock(), functools.partial(writer.write, at_once=True)))
        watching.add_done_callback(end_on_error)
        await serve(lines, handle)
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(main())
