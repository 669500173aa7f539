"""interrupted: a connection that was held open broke, though nothing on its way was broken and nobody had ended it.

Definition (design, section 4: "a held connection (a session's stream) broke with no fault on its path and no stop"). A
stream is held from the moment at which it was open until we close it, or it breaks at some moment from its last sign of
life to when that was noticed. Violated if it broke and, up to then, no fault on any component of its path may have acted, and
nothing may have ended its session.

Exempt. A fault on its path, from its arming until its undo is surely over and for as long as a platform may take to notice what
is lost (`offline_ns`). A stop or a hibernation of its session that was not surely refused, unless its effect was over before
the stream was opened. A session that the platform reports as ended.

Promise: `streams`. A platform may say that its streams break whenever they like.

Needs. Streams with their path, and how each ended; to accuse, the ledgers that show a process die, watched meanwhile; at the
end, one that was held while something off its path was proven broken.

Witness. The stream, when it was opened, last alive and seen broken, the faults around it.

Limits. A break that may lie within an exempt time, or after a process of its session had died by itself, counts as possible. A
connection that is dead and shows it to nobody is noticed as late as whoever holds it looks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker import exposure, outcome, ways, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import EVER
from chaosreprise.checker.exempt import ENDED
from chaosreprise.checker.life import Life
from chaosreprise.checker.verdict import Doubt, Finding, Moment, Witness
from chaosreprise.history import Stream

ENDING = ("stop", "hibernate")
ENDS = ("closed", "broke")


class Held(NamedTuple):
    """One stream: how it began, and how it ended, if anything says so."""

    opened: Stream
    end: Stream | None

    @property
    def until(self) -> int:
        return EVER if self.end is None else self.end.lo


class Break(NamedTuple):
    held: Held
    broke: Stream
    sure: bool


def judge(case: Case) -> Finding:
    streams = _streams(case)
    breaks: list[Break] = []
    excused = 0
    for held in streams:
        if held.end is not None and held.end.state == "broke":
            excuse = _excuse(case, held.opened, held.end)
            excused += excuse is True
            breaks += [Break(held, held.end, excuse is False)] if excuse is not True else []
    sure = [found for found in breaks if found.sure]
    evidence = _evidence(case, streams) + len(sure)
    return Finding(
        count=(len(sure), len(breaks)),
        baseline=sum(_is_baseline(case, found) for found in sure),
        exempt=excused,
        evidence=evidence,
        witnesses=[_witness(case, found) for found in sure[: witness.LIMIT]],
        scope=[*_unsure(breaks), *_unknown(case, streams), *_not_held(case, evidence)],
    )


def _streams(case: Case) -> list[Held]:
    """All of them, in the order of opening."""
    ends: dict[str, Stream] = {}
    for event in case.table.streams:
        if event.state in ENDS:
            ends.setdefault(event.stream, event)
    return [Held(event, ends.get(event.stream)) for event in case.table.streams if event.state == "open"]


def _excuse(case: Case, opened: Stream, broke: Stream) -> bool | None:
    """Whether something explains the break; None: it may."""
    reasons = [
        *(_by_fault(case, life, broke) for life in case.lives if life.component in opened.path),
        *([] if opened.path else [None]),
        *([None] if ways.gaps(case, broke.lo, broke.hi) else []),
        *_by_command(case, opened, broke),
        *_by_end(case, opened, broke),
    ]
    return True if True in reasons else None if None in reasons else False


def _by_fault(case: Case, life: Life, broke: Stream) -> bool | None:
    if life.began is None:
        return False
    until = EVER if life.undone is None else life.undone.hi + case.contract.offline_ns
    if life.began <= broke.lo and broke.hi <= until:
        return True
    return None if life.began <= broke.hi and broke.lo <= until else False


def _by_command(case: Case, opened: Stream, broke: Stream) -> Iterator[bool | None]:
    commands, session = case.commands, opened.session or ""
    for row in (row for op in ENDING for row in case.rows_of(session, op)):
        effect = case.attributed.effect_of[row]
        happened = outcome.happened(case, row)
        over = effect is not None and effect.hi < opened.lo
        if commands.lo[row] <= broke.hi and happened is not False and not over:
            yield True if happened and commands.hi[row] <= broke.lo else None


def _by_end(case: Case, opened: Stream, broke: Stream) -> Iterator[bool | None]:
    """Its session was reported as ended, or a process of it had died, or may have while nobody watched."""
    session = opened.session or ""
    for report in case.reports.sessions.get(session, ()):
        if report.state in ENDED and report.lo <= broke.hi:
            yield True if report.hi <= broke.lo else None
    for (_, name), effects in case.effects.sessions.items():
        if name == session:
            yield from (
                None
                for effect in effects
                if effect.mark == "crash" and effect.hi >= opened.lo and effect.lo <= broke.hi
            )
    ledgers = {entry.ledger for entry in case.attributed.entries.values() if entry.mark not in ("b", "e")}
    ledgers |= case.processes
    if not ledgers:
        yield None
    for ledger in ledgers:
        if case.watch.gaps(ledger, opened.lo, broke.hi) or case.watch.gaps(f"{ledger}/{session}", opened.lo, broke.hi):
            yield None


def _is_baseline(case: Case, found: Break) -> bool:
    return case.first_armed is None or found.broke.hi < case.first_armed


def _evidence(case: Case, streams: Sequence[Held]) -> int:
    """Streams that were held while something off their path was broken; before that, all that are held."""
    if case.stage == "baseline":
        return len(streams)
    return sum(any(_crossed(case, held, life) for life in case.lives) for held in streams)


def _crossed(case: Case, held: Held, life: Life) -> bool:
    lo, hi = exposure.window(case, life)
    off = bool(held.opened.path) and life.component not in held.opened.path
    return off and lo <= hi and held.opened.hi <= lo and hi <= held.until


def _unsure(breaks: Sequence[Break]) -> Iterator[Doubt]:
    if unsure := [found.held.opened.stream for found in breaks if not found.sure]:
        why = f"{len(unsure)} streams broke, and a fault, a command or a process that died may explain it, or the way there ({unsure[0]})"
        yield Doubt(what="interrupted", why=why, do="let whoever holds the streams look at them more often")


def _unknown(case: Case, streams: Sequence[Held]) -> Iterator[Doubt]:
    opened = Counter(held.opened.stream for held in streams)
    if twice := [name for name, n in opened.items() if n > 1]:
        why = f"{len(twice)} names of streams were used twice ({twice[0]}), so that nobody knows which of them ended"
        yield Doubt(what="interrupted", why=why, do="see docs/history.md, `stream`")
    if strange := [event.stream for event in case.table.streams if event.state in ENDS and event.stream not in opened]:
        why = f"{len(strange)} streams ended of which nothing says that they were opened ({strange[0]})"
        yield Doubt(what="interrupted", why=why, do="see docs/history.md, `stream`")
    if case.stage == "end" and (open_ones := [held.opened.stream for held in streams if held.end is None]):
        why = f"nothing says what became of {len(open_ones)} streams ({open_ones[0]})"
        yield Doubt(what="interrupted", why=why, do="see logs/load.log for what ended whoever held them")


def _not_held(case: Case, evidence: int) -> Iterator[Doubt]:
    if case.stage in ("clean", "end") and not evidence:
        why = "no stream was held all the while that something off its path was broken"
        yield Doubt(what="interrupted", why=why, do="hold streams of sessions that the fault does not touch")


def _witness(case: Case, found: Break) -> Witness:
    opened, broke = found.held.opened, found.broke
    lo, hi = case.span(broke.lo, broke.hi)
    path = " and ".join(opened.path) or "a path that nobody named"
    say = (
        f"{opened.stream} of session {opened.session}: open since {case.seconds(opened.hi):.3f} s over {path}, broke between "
        f"{lo:.3f} s and {hi:.3f} s{f' ({broke.why})' if broke.why else ''}"
    )
    moments = [
        witness.moment(case, opened.lo, opened.hi, "opened"),
        witness.moment(case, broke.lo, broke.hi, "broke, with nothing on its path broken", bad=True),
        *_faults(case, broke),
    ]
    moments.sort(key=lambda moment: (moment.hi, moment.lo))
    return Witness(say=say, cmd="", op="", session=opened.session, baseline=_is_baseline(case, found), moments=moments)


def _faults(case: Case, broke: Stream) -> Iterator[Moment]:
    for life in case.lives:
        for event, what in ((life.proven, "broken"), (life.undone, "whole again")):
            if event is not None and event.lo <= broke.hi:
                yield witness.moment(case, event.lo, event.hi, f"{life.component} {what} ({life.kind})")


CHECK = Check(
    name="interrupted",
    promise="streams",
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("a held connection broke for no reason", "held connections broke for no reason"),
    judge=judge,
    criteria=("SI-1.1", "SI-3.1"),
)
