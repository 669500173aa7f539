"""What an experiment states as `objectives` and `refusals`: the structs of a contract, read strictly, and what must fit together in them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from chaosreprise.errors import BadInput, shown
from chaosreprise.history.statements import Allowed, Objective, Situation

KINDS = ("signal", "latency", "recovery", "rate")
NOT_WITH = {"recovery": ("phase", "quantile"), "rate": ("quantile",)}


class StatedObjective(Objective, forbid_unknown_fields=True):
    pass


class StatedAllowed(Allowed, forbid_unknown_fields=True):
    pass


class StatedSituation(Situation, forbid_unknown_fields=True):
    allow: list[StatedAllowed]  # type: ignore[assignment]


def check(where: str, objectives: Sequence[Objective], situations: Sequence[Situation]) -> None:
    """Raises BadInput with the entry and what is wrong with it."""
    _once(f"{where}: objectives", [stated.name for stated in objectives])
    _once(f"{where}: refusals", [stated.name for stated in situations])
    for number, objective in enumerate(objectives):
        for reason in _wrong_objective(objective):
            raise BadInput(f"{where}: objectives[{number}] {shown(objective.name)}: {reason}")
    for number, situation in enumerate(situations):
        for reason in _wrong_situation(situation):
            raise BadInput(f"{where}: refusals[{number}] {shown(situation.name)}: {reason}")


def _once(where: str, names: Sequence[str]) -> None:
    for name, n in Counter(names).items():
        if n > 1:
            raise BadInput(f"{where}: {shown(name)} stands there {n} times: give each a name of its own")


def _wrong_objective(stated: Objective) -> Iterator[str]:
    given = [kind for kind in KINDS if getattr(stated, kind)]
    if len(given) != 1:
        yield f"{', '.join(given) or 'none'} of {', '.join(KINDS)}: expected exactly one of them"
    if stated.max is None and stated.min is None:
        yield "max and min are missing: expected a limit"
    if stated.max is not None and stated.min is not None and stated.max < stated.min:
        yield f"max = {stated.max:g} is below min = {stated.min:g}: no figure keeps both"
    if stated.latency and not stated.op:
        yield "op is missing: a latency is that of one kind of command"
    if stated.latency == "effect" and stated.op == "read":
        yield "a read has no effect: ask for the latency of its answer"
    if stated.latency == "stream" and stated.op not in ("", "start", "wake"):
        yield f"op = {shown(stated.op)} opens no stream: expected start or wake"
    if stated.op and not stated.latency:
        yield f"op = {shown(stated.op)} goes only with latency: leave it out"
    beside = [(kind, name) for kind in given for name in NOT_WITH.get(kind, ()) if getattr(stated, name)]
    for kind, name in beside:
        yield f"{name} = {shown(getattr(stated, name))} does not go with {kind}: leave it out"
    if stated.signal and not re.fullmatch(r"[^.\s]+\.\S+", stated.signal):
        yield f"signal = {shown(stated.signal)}: expected a source and a signal, such as load.lag_ms"


def _wrong_situation(stated: Situation) -> Iterator[str]:
    for allowed in stated.allow:
        try:
            re.compile(allowed.body)
        except re.error as error:
            yield f"body = {shown(allowed.body)} is no regular expression: {error}"
