"""The ledgers of a sandbox's sessions where no file of theirs can be reached: a step of ours prints what is new in them.

It goes to the data plane, so that it leaves no row, into a session of its own, and reads the folders of all sessions of the run, also of those
whose interpreters have ended. Sessions that share no folder are asked for their own, each, and what is not read by its end is a gap.
What is printed is the platform's word for it. A ledger only grows, so what was not read for a moment is read later; for longer it is a gap.
"""

import asyncio
import contextlib
import json
import secrets
from typing import NamedTuple

import httpx
import msgspec

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Coverage
from chaosreprise.observe import Emit, sample
from chaosreprise.observe.files import emit_lines
from chaosreprise.platform.file import Platform
from chaosreprise.platform.ledgers import LEDGER_FILE, workspaces_parser
from chaosreprise.platform.made import Known, Made
from chaosreprise.platform.said import Said
from chaosreprise.platform.steps import language

ASK_S = 2.0
LATE_S = 2.0  # less than any platform takes to settle: nothing is called lost that only was not read yet
TRIES = 3  # of sessions that give no answer, before a look has failed
ENDED = "it has ended, and nobody reads its ledger any more"
UNWRITTEN = "which sessions the run has made is written down nowhere"
SILENT = "no session of the run prints what its ledger has"
WEAKER = (
    "ledgers are read by steps, so what ran is the platform's own word; "
    f"where no session answers for more than {LATE_S:g} s, what went on there is unknown"
)
PYTHON = """\
def _reprise_told():
    import json, os
    found = {{}}
    for name, known in {known}.items():
        if os.access('../' + name, os.X_OK):
            try:
                with open('../' + name + '/{file}', 'rb') as ledger:
                    status = os.fstat(ledger.fileno())
                    ledger.seek(known)
                    found[name] = [status.st_ino, status.st_size, ledger.read().decode('latin-1')]
            except FileNotFoundError:
                found[name] = None
            except OSError:
                pass
    print({mark!r} + json.dumps(found))
_reprise_told()
"""
NODE = """\
(() => {{
  const fs = require('fs'), found = {{}}
  for (const [name, known] of Object.entries({known})) {{
    const path = '../' + name + '/{file}'
    try {{
      fs.accessSync('../' + name, fs.constants.X_OK)
      try {{
        const status = fs.statSync(path)
        found[name] = [status.ino, status.size, fs.readFileSync(path).subarray(known).toString('latin1')]
      }} catch (error) {{
        if (error.code === 'ENOENT') found[name] = null
      }}
    }} catch {{}}
  }}
  console.log({mark} + JSON.stringify(found))
}})()
"""


class Tail(msgspec.Struct):
    """Of one session's ledger: since when nothing of it is known, its file, and how much of that was read."""

    since: int
    inode: int = 0
    offset: int = 0
    is_off: bool = False


class Part(NamedTuple):
    """What one ledger had: its file, its size in bytes, and what stands behind what was known, a character a byte."""

    inode: int
    size: int
    text: str


class Told:
    """A source of evidence. `made`: the sessions that the run has made, and which of them live, as far as that is written down."""

    def __init__(self, name: str, hz: float, http: httpx.AsyncClient, platform: Platform, made: Made, run: str) -> None:
        assert platform.file.sandbox is not None
        self.name = name
        self._hz, self._http, self._at = hz, http, platform.file.sandbox
        self._url = self._at.data_plane.rstrip("/")
        self._made, self._parse = made, workspaces_parser(run)
        self._tails: dict[str, Tail] = {}
        self._own = ""
        self._read_at = 0

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        self._read_at = clock.now()

        async def look(since: int, last: bool) -> None:
            await self._look(clock, emit, since, last)

        try:
            await sample(self.name, self._hz, clock, emit, stop, look)
        finally:
            await self._end_own()

    async def _look(self, clock: Clock, emit: Emit, since: int, last: bool) -> None:
        if (sessions := self._made.sessions()) is None:
            raise Unreachable(UNWRITTEN)
        if sessions and not self._own:
            await self._make_own()
        began, known = clock.now(), self._made.known()
        for session in known.made:
            self._tails.setdefault(session, Tail(since))
        read = await self._read_all(known, clock, emit)
        now = clock.now()
        if known.left and not read:
            if last or now - self._read_at > LATE_S * SECOND:
                for session in self._tails:
                    self._off(session, now, emit, SILENT)
                raise Unreachable(SILENT)
            return
        self._read_at = began
        for session in self._tails.keys() - read:
            if session not in known.left:
                self._off(session, now, emit, ENDED)
            elif last or now - self._tails[session].since > LATE_S * SECOND:
                self._off(session, now, emit, SILENT)

    async def _read_all(self, known: Known, clock: Clock, emit: Emit) -> set[str]:
        """The sessions whose ledgers were read, by as few of them as will do."""
        read: set[str] = set()
        silent = 0
        for session in sorted(known.left, key=lambda one: one != self._own):
            if session in read:
                continue
            began = clock.now()
            parts = await self._ask(session)
            if parts is None:
                silent += 1
                if silent == TRIES and not read:
                    break
                continue
            for name in parts.keys() & self._tails.keys():  # what a step prints may name anything
                self._take(name, parts[name], began, clock.now(), emit)
            read |= parts.keys()
        if self._own not in read:
            await self._end_own()
        return read

    async def _make_own(self) -> None:
        own = f"reprise-{secrets.token_hex(4)}"
        self._made.asked()
        self._made.answered(own)  # before it is: whoever ends what is left asks for one that never was, too
        body = {"sessionId": own, "policyId": self._at.policy, "workspaceRef": own, "runtime": self._at.runtime}
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._http.post(f"{self._url}/sessions", json=body, timeout=ASK_S)
            self._own = own if answer.is_success else ""

    async def _end_own(self) -> None:
        if self._own:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._http.post(f"{self._url}/sessions/{self._own}/terminate", timeout=ASK_S)
                if answer.is_success:
                    self._made.ended(self._own)
            self._own = ""

    async def _ask(self, session: str) -> dict[str, Part | None] | None:
        mark = f"ledgers-{secrets.token_hex(8)} "
        offsets = {name: tail.offset for name, tail in self._tails.items()}
        try:
            answer = await self._http.post(
                f"{self._url}/sessions/{session}/steps",
                json={"command": reading(self._at.runtime, offsets, mark)},
                timeout=ASK_S,
            )
            said = msgspec.json.decode(answer.content, type=dict[str, object]).get("stdout")
            lines = said.splitlines() if isinstance(said, str) else []
            found = next(line.removeprefix(mark) for line in lines if line.startswith(mark))
            return msgspec.json.decode(found, type=dict[str, Part | None])
        except (httpx.HTTPError, msgspec.DecodeError, StopIteration):
            return None

    def _take(self, session: str, part: Part | None, began: int, now: int, emit: Emit) -> None:
        """What one look has shown of a session; no part: it has no ledger yet."""
        tail = self._tails[session]
        of, known = f"{self.name}/{session}", tail.inode or (part.inode if part else 0)
        if part is None or part.inode != known or part.size < tail.offset:
            if tail.inode:
                self._off(session, now, emit, f"its {LEDGER_FILE} vanished, was replaced or cut short")
                tail.inode, tail.offset = (part.inode, part.size) if part else (0, 0)
                return
        else:
            whole, _, _ = part.text.rpartition("\n")
            lines = whole.encode("latin-1", "replace").split(b"\n") if whole else []
            tail.inode, tail.offset = part.inode, tail.offset + sum(len(line) + 1 for line in lines)
            emit_lines(of, lines, tail.since, now, self._parse, emit)
        if tail.is_off:
            tail.is_off = False
            emit(Coverage(lo=began, hi=now, of=of, on=True, why="watching again"))
        tail.since = began

    def _off(self, session: str, now: int, emit: Emit, why: str) -> None:
        tail = self._tails[session]
        if not tail.is_off:
            tail.is_off = True
            emit(Coverage(lo=tail.since, hi=now, of=f"{self.name}/{session}", on=False, why=why))


def reading(runtime: str, known: dict[str, int], mark: str) -> str:
    """The step that prints what these ledgers have behind so many bytes, as JSON behind the mark."""
    if language(runtime) == "node":
        return NODE.format(known=json.dumps(known), mark=json.dumps(mark), file=LEDGER_FILE)
    return PYTHON.format(known=json.dumps(known), mark=mark, file=LEDGER_FILE)


async def weaker(name: str) -> list[Said]:
    """What the doctor says of it."""
    return [Said(about="evidence", name=name, state="limited", say=WEAKER)]
