"""The control plane's process: it serves the socket that the keeper hands over, and waits for its database by itself.

It starts beside PostgreSQL rather than after it, which saves half a second of each start. Nothing is kept in memory that
matters: after a restart agents come back, tokens are valid, and what is not finished is delivered again.
"""

import asyncio
import contextlib
import pathlib
import signal
import socket

from aiohttp import web

from chaosreprise.lab import defects
from chaosreprise.lab.api import Api
from chaosreprise.lab.database import Database
from chaosreprise.lab.delivery import Delivery
from chaosreprise.lab.frames import Frames
from chaosreprise.lab.log import LabLog
from chaosreprise.lab.outbox import Outbox
from chaosreprise.lab.roster import Roster
from chaosreprise.lab.settings import load, secret
from chaosreprise.lab.sockets import Switchboard
from chaosreprise.lab.steps import Steps
from chaosreprise.lab.store import Store

LISTEN_FD = 3
LAST_ANSWERS_S = 0.5


def main(folder: pathlib.Path) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(folder))


async def _serve(folder: pathlib.Path) -> None:
    settings = load(folder)
    database = Database(secret(folder, "control.dsn"))
    defect = defects.chosen()
    outbox, roster = defect.of(Outbox)(database), defect.of(Roster)(database, settings.offline_s)
    delivery, frames = defect.of(Delivery)(outbox), defect.of(Frames)()
    switchboard = Switchboard(outbox, roster, delivery, frames, LabLog(folder), settings.offline_s)
    store = defect.of(Store)(database, settings.offline_s)
    api = Api(secret(folder, "token"), store, roster, switchboard, defect.of(Steps)(folder))
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=LAST_ANSWERS_S)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=LISTEN_FD)).start()
    looking = asyncio.create_task(switchboard.start(settings.reconcile_s))
    ended = _until_terminated()
    await asyncio.wait({looking, ended}, return_when=asyncio.FIRST_COMPLETED)
    switchboard.cut_all()
    await runner.cleanup()
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
    await database.close()


def _until_terminated() -> "asyncio.Future[None]":
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return ended
