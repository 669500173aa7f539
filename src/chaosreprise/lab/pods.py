"""A part of the lab as the one process of a pod. All share a volume, the lab's folder, and find each other by their services.

The database makes the folder when there is none yet; the others wait for it. Nothing restarts them but the cluster.
"""

import os
import pathlib
import socket
import time

from chaosreprise.errors import BadInput
from chaosreprise.lab import agent, control, postgres
from chaosreprise.lab.settings import CONTROL_PLANE, FILE, load

LOOK_EVERY_S = 0.1
AGENTS, DATABASE = "agents/", "database"


def main(folder: pathlib.Path, part: str) -> None:
    """Become this part. Raises BadInput for what is none."""
    if part == DATABASE:
        settings = load(folder)
        command = postgres.server_command(folder / "data", settings.database_port, "*")
        os.execv(command[0], command)
    while not (folder / FILE).exists():
        time.sleep(LOOK_EVERY_S)
    settings = load(folder)
    if part == CONTROL_PLANE:
        listener = socket.create_server(("", settings.control_port))
        os.dup2(listener.fileno(), control.LISTEN_FD)
        control.main(folder, part)
    elif part.removeprefix(AGENTS) in settings.agents:
        agent.main(part.removeprefix(AGENTS), folder)
    else:
        raise BadInput(f"{part}: no part of this lab: expected {DATABASE}, {CONTROL_PLANE} or {AGENTS}NAME")
