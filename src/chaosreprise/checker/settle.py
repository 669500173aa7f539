"""When a command is surely decided: the platform's settle time after everything that could still have delayed it.

Commands stand in three groups by when they were submitted: the load's (before `clean` begins), those of `clean`, those of
`close` (after `clean` ended). A group is settled when its phase (drain, clean, close) ended not before settle after the
later of the last undo and the group's last command. Where no fault began at all, each command settles by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chaosreprise.checker.life import Life
from chaosreprise.checker.table import Commands
from chaosreprise.checker.verdict import Stage
from chaosreprise.history.events import Phase

GROUPS = ("drain", "clean", "close")
LIVE: tuple[Stage, ...] = ("baseline", "during", "clean")


@dataclass(frozen=True, slots=True)
class Group:
    """`since`: from when settling is counted; `until`: the moment from which it is settled, None: it is not."""

    phase: str
    since: int | None
    until: int | None
    ended: int | None = None
    why: str = ""


class Settle:
    """Which commands are settled, and from when on."""

    def __init__(
        self,
        commands: Commands,
        phases: Sequence[Phase],
        lives: Sequence[Life],
        settle_ns: int,
        stage: Stage,
        seen_until: int,
    ) -> None:
        self.settle_ns = settle_ns
        self._commands = commands
        self._begins = {phase.name: phase.lo for phase in reversed(phases) if phase.edge == "begin"}
        self._ends = {phase.name: phase.lo for phase in phases if phase.edge == "end"}
        self._calm = not any(life.began is not None for life in lives)
        self._seen_until = seen_until
        self.healed, self.unhealed = _healed(lives)
        judged = {"end": GROUPS, "clean": GROUPS[:2]}.get(stage, ())
        last = self._last_submits()
        self.groups = {phase: self._group(phase, last.get(phase)) for phase in judged}

    def group_of(self, row: int) -> str:
        lo = self._commands.lo[row]
        if "clean" in self._ends and lo >= self._ends["clean"]:
            return "close"
        return "clean" if "clean" in self._begins and lo >= self._begins["clean"] else "drain"

    def until(self, row: int) -> int | None:
        """The moment from which an effect of this command can't come any more; None while it can."""
        group = self.groups.get(self.group_of(row))
        if group is not None and group.until is not None:
            return group.until
        alone = self._commands.hi[row] + self.settle_ns
        return alone if self._calm and alone <= self._seen_until else None

    def watched_until(self) -> int | None:
        """The end of all settling: nothing is judged that came later."""
        return max((group.until for group in self.groups.values() if group.until is not None), default=None)

    def _last_submits(self) -> dict[str, int]:
        last: dict[str, int] = {}
        for row, op in enumerate(self._commands.op):
            if op != "read":
                group = self.group_of(row)
                last[group] = max(last.get(group, 0), self._commands.hi[row])
        return last

    def _group(self, phase: str, last: int | None) -> Group:
        ended = self._ends.get(phase)
        if ended is None:
            return Group(
                phase,
                None,
                None,
                None,
                f"the phase `{phase}` did not end, so nothing says that the platform had settled",
            )
        if self.unhealed:
            return Group(phase, None, None, ended, f"nothing says that {self.unhealed} was undone")
        since = max((moment for moment in (last, self.healed) if moment is not None), default=None)
        if since is None:
            return Group(phase, None, ended, ended)
        until = since + self.settle_ns
        if ended < until:
            short = (until - ended) / 1e9
            return Group(
                phase, since, None, ended, f"the phase `{phase}` ended {short:.3f} s before everything was settled"
            )
        return Group(phase, since, until, ended)


def _healed(lives: Sequence[Life]) -> tuple[int | None, str]:
    """When the last fault was surely undone, and the name of one of which nothing says so."""
    healed: int | None = None
    for life in lives:
        if life.proven is None and life.trouble() is None:
            continue
        if life.undone is None:
            return None, f"fault {life.fault}"
        healed = max(healed or 0, life.undone.hi)
    return healed, ""
