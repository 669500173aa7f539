"""The reaper: what bears the mark of a fault for longer than its lease is undone, as long as this process runs.

It knows of no run and reads no ledger, so it needs none to be alive. It lives through an API server that is away, and through being
started anew: how old a mark is says the server too (`reaping`).
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import RepriseError
from chaosreprise.kubernetes import reaping
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.where import Where

LOOK_EVERY_S = 1.0
Say = Callable[[str], object]


def run(where: Where, say: Say) -> None:
    """Until SIGTERM or SIGINT. Says what was undone, what can't be, and when the server is away and back: each once."""
    asyncio.run(_until_ended(where, say))


async def _until_ended(where: Where, say: Say) -> None:
    task = asyncio.ensure_future(_keep(where, say))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _keep(where: Where, say: Say) -> None:
    first: reaping.First = {}
    failing: set[tuple[str, str, str]] = set()
    away = False
    async with await Api.to(where) as api:
        say(f"looks after the namespace {where.namespace}")
        while True:
            try:
                reaped = await reaping.reap(api, boottime() / SECOND, first)
            except RepriseError as error:
                if not away:
                    say(f"can't look: {error}")
                away = True
            else:
                if away:
                    say("can look again")
                away = False
                for one in reaped:
                    if one.well or (one.what, one.mark, one.say) not in failing:
                        say(str(one))
                failing = {(one.what, one.mark, one.say) for one in reaped if not one.well}
            await asyncio.sleep(LOOK_EVERY_S)
