"""The control plane's process: it serves the socket that the keeper hands over, and waits for its database by itself.

It starts beside PostgreSQL rather than after it, which saves half a second of each start. Nothing is kept in memory that
matters: after a restart agents come back, tokens are valid, and what is not finished is delivered again. So there may be
several of them, which know nothing of each other but what stands in their database.
"""

import asyncio
import contextlib
import pathlib
import signal
import socket

from aiohttp import web

from chaosreprise.lab import defects
from chaosreprise.lab.api import Api
from chaosreprise.lab.database import CONNECTIONS, Database
from chaosreprise.lab.delivery import Delivery
from chaosreprise.lab.frames import Frames
from chaosreprise.lab.log import LabLog
from chaosreprise.lab.others import Others
from chaosreprise.lab.outbox import Outbox
from chaosreprise.lab.roster import Roster
from chaosreprise.lab.settings import load, secret
from chaosreprise.lab.sockets import Switchboard
from chaosreprise.lab.steps import Steps
from chaosreprise.lab.store import Store
from chaosreprise.lab.streams import Streams

LISTEN_FD = 3
LAST_ANSWERS_S = 0.5
KEPT_FOR_AGENTS = 2


def main(folder: pathlib.Path, here: str) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(folder, here))


async def _serve(folder: pathlib.Path, here: str) -> None:
    settings, dsn = load(folder), secret(folder, "control.dsn")
    defect = defects.chosen()
    database = defect.of(Database)(dsn)
    outbox, roster = defect.of(Outbox)(database), defect.of(Roster)(database, settings.offline_s, here)
    delivery, frames = defect.of(Delivery)(outbox), defect.of(Frames)()
    others = defect.of(Others)(database, dsn, here, exist=len(settings.control_planes) > 1)
    switchboard = defect.of(Switchboard)(
        outbox, roster, delivery, frames, others, LabLog(folder), settings.offline_s, settings.ping_s
    )
    calls = database.within(CONNECTIONS - KEPT_FOR_AGENTS)  # however many wait for each other, heartbeats do not
    store = defect.of(Store)(calls, settings.offline_s, here)
    streams = defect.of(Streams)(store, settings.sessions_link)
    api = Api(
        secret(folder, "token"),
        secret(folder, "bootstrap"),
        settings.token_s,
        store,
        roster,
        switchboard,
        others,
        defect.of(Steps)(folder),
        streams,
    )
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=LAST_ANSWERS_S)
    await runner.setup()
    for ports in settings.agent_ports.values():
        port = ports[list(settings.control_planes).index(here)]
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    await web.SockSite(runner, socket.socket(fileno=LISTEN_FD)).start()
    work = [
        asyncio.create_task(switchboard.start(settings.reconcile_s)),
        asyncio.create_task(others.listen(switchboard.news)),
    ]
    await asyncio.wait({*work, _until_terminated()}, return_when=asyncio.FIRST_COMPLETED)
    switchboard.cut_all()
    await outbox.dismissed()
    streams.cut_all("the control plane ends")
    await runner.cleanup()
    for task in work:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await database.close()


def _until_terminated() -> "asyncio.Future[None]":
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return ended
