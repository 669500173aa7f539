"""`python -m chaosreprise.links.guest URL FILE`: keeps proxies of ours on somebody else's Toxiproxy for as long as it lives.

Puts the proxies of FILE there (as `populate` takes them), puts them back when the server has lost them, and takes them away when it
ends. It may be killed, with its parent: so a second process waits for its end, and takes them away then. Proxies with other names
are never touched; with our names, there are none but ours.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import time
from typing import Any, NoReturn

from chaosreprise.errors import RepriseError, complain
from chaosreprise.links.client import Toxiproxy

LOOK_EVERY_S = 0.25
PATIENCE_S = 5.0


def main() -> NoReturn:
    url, file = sys.argv[1:]
    wanted: list[dict[str, Any]] = json.loads(pathlib.Path(file).read_text())
    server = Toxiproxy(url)
    _take_away_after_death(server, wanted)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _keep(server, wanted)
    finally:
        take_away(server, wanted)


def _keep(server: Toxiproxy, wanted: list[dict[str, Any]]) -> NoReturn:
    said = ""
    while True:
        try:
            put_back(server, wanted)
            said = ""
        except RepriseError as error:
            if str(error) != said:
                complain(said := str(error))
        time.sleep(LOOK_EVERY_S)


def put_back(server: Toxiproxy, wanted: list[dict[str, Any]]) -> None:
    """Only what is not there: one that is disabled, or has toxics, is under a fault."""
    there = server.proxies()
    if missing := [proxy for proxy in wanted if proxy["name"] not in there]:
        server.populate(missing)


def take_away(server: Toxiproxy, wanted: list[dict[str, Any]]) -> None:
    """A server that is away may come back with them, or without them."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(RepriseError):
            there = server.proxies()
            for proxy in wanted:
                if proxy["name"] in there:
                    there[proxy["name"]].destroy()
            return
        time.sleep(LOOK_EVERY_S)


def _take_away_after_death(server: Toxiproxy, wanted: list[dict[str, Any]]) -> None:
    """By a child in a session of its own, which reads a pipe that nobody writes to: it ends with this process."""
    reads, writes = os.pipe()
    if os.fork():
        os.close(reads)
        return
    os.close(writes)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(reads, 1)
    take_away(server, wanted)
    os._exit(0)


if __name__ == "__main__":
    main()
