"""isolation: something of one session was seen in another one.

Definition (design, section 4: "another session's secret in an answer or effect; one id given to two creates; one incarnation
serving two sessions unless declared shared"). The key of a step is such a secret. *answer*: the answer to a step carries the key of
another one. *place*: a step left its mark in the ledger of another session. *process*: one process ran steps of two sessions.
*id*: two creates were answered with one id. One violation a step, a pair of sessions, or an id.

Exempt: nothing. Who shares a process among sessions on purpose does not promise what this check is about, and leaves it out.

Promise: none has to be stated. A session is somebody's own.

Needs. Steps in two sessions at least that were answered with their own keys, and the ledger that shows where they ran, watched
from the first command until everything settled.

Witness. The step or the create, and whose key, place, process or id it had.

Limits. Only what our own steps leave is looked for. Two creates of which one was not answered may have had the same id.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import observable, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.verdict import Doubt, Finding, Label, Witness
from chaosreprise.history.events import Effect

STEPS = ("b", "e")


class Mixed(NamedTuple):
    row: int
    label: Label
    at: int
    say: str


def judge(case: Case) -> Finding:
    rows = {case.commands.key[row]: row for row, op in enumerate(case.commands.op) if op == "step"}
    steps = _steps(case, rows)
    found = [*_answers(case, rows), *_places(case, steps), *_processes(case, steps), *_ids(case)]
    asked = _own(case)
    return Finding(
        count=(len(found), len(found)),
        baseline=sum(_is_baseline(case, mixed) for mixed in found),
        labels=dict(Counter(mixed.label for mixed in found)),
        evidence=sum(asked.values()) if len(asked) > 1 else 0,
        witnesses=[_witness(case, mixed) for mixed in found[: witness.LIMIT]],
        scope=[*_gap_doubts(case), *_not_asked(case, asked)],
    )


def _steps(case: Case, rows: dict[str, int]) -> list[tuple[int, Effect]]:
    """The marks of our steps, each with its command."""
    entry = case.attributed.entries.get("step")
    marks = [
        (rows[key], effect)
        for (ledger, key, mark), effects in case.effects.keyed.items()
        if entry is not None and ledger == entry.ledger and mark in STEPS and key in rows
        for effect in effects
    ]
    return sorted(marks, key=lambda mark: mark[1].lo)


def _answers(case: Case, rows: dict[str, int]) -> Iterator[Mixed]:
    for row in rows.values():
        key, answer = observable.key_answered(case, row), case.commands.answer[row]
        if answer is not None and key is not None and key != case.commands.key[row] and key in rows:
            yield Mixed(row, "answer", answer.hi, f"answered with what {witness.name_of(case, rows[key])} had said")


def _places(case: Case, steps: list[tuple[int, Effect]]) -> Iterator[Mixed]:
    told: set[int] = set()
    for row, effect in steps:
        session = case.commands.session[row]
        if session is not None and effect.session not in (None, session) and row not in told:
            told.add(row)
            yield Mixed(row, "place", effect.hi, f"ran in the workspace of session {effect.session}")


def _processes(case: Case, steps: list[tuple[int, Effect]]) -> Iterator[Mixed]:
    first: dict[str, str] = {}
    told: set[tuple[str, str]] = set()
    for row, effect in steps:
        session = case.commands.session[row]
        if session is None or not effect.inc:
            continue
        owner = first.setdefault(str(effect.inc), session)
        if owner != session and (owner, session) not in told:
            told.add((owner, session))
            process = witness.process_of(effect.inc)
            yield Mixed(row, "process", effect.hi, f"ran in {process}, which had run steps of session {owner}")


def _ids(case: Case) -> Iterator[Mixed]:
    made: dict[str, int] = {}
    for row, op in enumerate(case.commands.op):
        answer = case.commands.answer[row]
        if op != "start" or answer is None or answer.outcome != "ok" or answer.session is None:
            continue
        if answer.session in made:
            first = case.commands.cmd[made[answer.session]]
            yield Mixed(row, "id", answer.hi, f"answered with the id {answer.session}, which {first} had been given")
        made.setdefault(answer.session, row)


def _own(case: Case) -> Counter[str]:
    """By session, the steps that were answered with their own key."""
    found: dict[str, int] = defaultdict(int)
    for row, session in enumerate(case.commands.session):
        if session is not None and observable.key_answered(case, row) == case.commands.key[row]:
            found[session] += 1
    return Counter(found)


def _is_baseline(case: Case, mixed: Mixed) -> bool:
    return case.first_armed is None or mixed.at < case.first_armed


def _gap_doubts(case: Case) -> list[Doubt]:
    entry = case.attributed.entries.get("step")
    if entry is None:
        why = "no ledger shows where a step ran"
        return [Doubt(what="isolation", why=why, do="give the platform file the sessions' own ledgers")]
    return case.ledger_doubts([entry.ledger], ": a step in another session could hide there")


def _not_asked(case: Case, asked: Counter[str]) -> Iterator[Doubt]:
    if case.stage in ("clean", "end"):
        yield from observable.unseen(case, ["step"])
        if len(asked) < 2:
            why = f"steps were answered with their own keys in {len(asked)} sessions: two at least can be mixed up"
            yield Doubt(what="isolation", why=why, do="put steps into the mix, and ask for more sessions")


def _witness(case: Case, mixed: Mixed) -> Witness:
    say = f"{witness.name_of(case, mixed.row)}: {mixed.say}, at {case.seconds(mixed.at):.3f} s"
    return witness.build(case, mixed.row, say, mixed.at, [], baseline=_is_baseline(case, mixed), label=mixed.label)


CHECK = Check(
    name="isolation",
    promise=None,
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("something of one session was seen in another", "times something of one session was seen in another"),
    judge=judge,
    criteria=("SI-1.3", "SX-11"),
)
