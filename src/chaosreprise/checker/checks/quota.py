"""quota: a user had more sessions at a time than are allowed.

Definition. The contract states how many sessions one user may have (`quota`). Violated if surely more of this run were active at one
moment: their rows read as pending, starting, running, hibernating or waking. One that is hibernated, or is being terminated, may
count no longer.

Promise: none has to be stated. The limit is the platform's own, as its platform file declares it.

Needs. The quota; rows of sessions with their user, read from the first command to the end; and a user who had all, of whom one
create more was refused: else nobody pressed.

Witness. The sessions that were active, and the starts that made them.

Limits. Only sessions of this run are counted: what others made for the same user, which would only make it worse, is not seen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.incarnations import made_by
from chaosreprise.checker.verdict import Doubt, Finding, Witness

ACTIVE = ("pending", "starting", "running", "hibernating", "waking")
REFUSED = "quota"  # the entry of the refusal table


class Active(NamedTuple):
    """A session was surely active from `lo` to `hi`."""

    session: str
    lo: int
    hi: int


class Over(NamedTuple):
    """At the moment `at` a user had these sessions, more than are allowed: the most that was seen."""

    user: str
    at: int
    sessions: list[str]


def judge(case: Case) -> Finding:
    allowed = case.contract.quota
    if not allowed:
        do = "set budget.sessions_a_user in the platform file"
        return Finding(scope=[Doubt(what="quota", why="how many sessions a user may have is not known", do=do)])
    most = [_most(user, times) for user, times in _by_user(case).items()]
    over = [one for one in most if len(one.sessions) > allowed]
    pressed = Counter(
        case.commands.user[row]
        for row, answer in enumerate(case.commands.answer)
        if answer is not None and answer.rule == REFUSED
    )
    full = [one for one in most if len(one.sessions) >= allowed and pressed[one.user]]
    count = sum(len(one.sessions) - allowed for one in over)
    return Finding(
        count=(count, count),
        evidence=len(full) + len(over),
        witnesses=[_witness(case, one) for one in over[: witness.LIMIT]],
        scope=list(_doubts(case, bool(full or over))),
    )


def _by_user(case: Case) -> dict[str, list[Active]]:
    found: dict[str, list[Active]] = defaultdict(list)
    for session, reports in case.reports.sessions.items():
        user = next((report.fields["user"] for report in reports if "user" in report.fields), None)
        if user is None or reports[0].state not in ACTIVE:
            continue
        over = next((report.lo for report in reports if report.state not in ACTIVE), case.watched_until)
        gaps = case.watch.gaps(reports[0].source, reports[0].hi, over)
        found[str(user)].append(Active(session, reports[0].hi, min([over, *(gap.lo for gap in gaps)])))
    return found


def _most(user: str, times: list[Active]) -> Over:
    """When most of them were surely active at once: at the beginning of one, the first of several."""
    begins = sorted(time.lo for time in times)
    found = [Over(user, at, [time.session for time in times if time.lo <= at <= time.hi]) for at in begins]
    return max(found, key=lambda over: len(over.sessions))


def _doubts(case: Case, pressed: bool) -> Iterator[Doubt]:
    lo, hi = case.first_submit, case.watched_until
    for source in sorted(case.reports.sources):
        for gap in case.watch.gaps(source, lo, hi):
            yield case.gap_doubt(gap, ": how many sessions a user had meanwhile is not known")
    if not pressed and case.stage in ("clean", "end"):
        why = f"no user had {case.contract.quota} sessions and was refused another one"
        yield Doubt(what="quota", why=why, do="state in `workload` more creates for one user than are allowed: crowd")


def _witness(case: Case, over: Over) -> Witness:
    row = max((case.once(made_by)[name] for name in over.sessions if name in case.once(made_by)), default=None)
    at = f"{case.seconds(over.at):.3f} s"
    say = f"user {over.user} had {len(over.sessions)} sessions at {at}, where {case.contract.quota} are allowed: {', '.join(over.sessions)}"
    moment = witness.moment(case, over.at, over.at, f"{len(over.sessions)} sessions of {over.user}", bad=True)
    if row is None:
        return Witness(say=say, cmd="", op="", session=over.sessions[-1], agent=None, moments=[moment])
    return witness.scene(case, row, say, over.at, [moment], baseline=False)


CHECK = Check(
    name="quota",
    promise=None,
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("a user had more sessions than are allowed", "users had more sessions than are allowed"),
    judge=judge,
    asks="quota",
    baseline=False,
    criteria=("SS-5.1",),
)
