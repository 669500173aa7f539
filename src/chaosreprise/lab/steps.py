"""Where a step runs: in the session's own interpreter, at the port that its endpoint names, by the link to sessions. A seam for planted defects."""

import pathlib

from chaosreprise.lab.database import Row
from chaosreprise.lab.interpreter import InterpreterLost, Said, run
from chaosreprise.lab.refusals import Refused
from chaosreprise.lab.settings import load

STEP_LIMIT_S = 30.0


class Steps:
    """`folder` is the lab's."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._link = load(folder).sessions_link

    async def run(self, session: str, endpoint: Row, number: str, command: str) -> Said:
        """Run it. Refuses with 500 when nobody knows what became of it."""
        del session  # its endpoint says all
        try:
            where = endpoint["host"], endpoint["port"], endpoint["token"], endpoint["life"]
            return await run(*where, number, command, STEP_LIMIT_S, self._link)
        except InterpreterLost as error:
            raise Refused(500, "Session not reachable", str(error)) from error
