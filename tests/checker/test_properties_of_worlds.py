"""Drawn lives of sessions, dropped, doubled, swapped, moved, added and badly watched: the verdict agrees with the oracle of `worlds`.

False only if no world explains what was seen without a broken promise, and true only if one does; where everything is known exactly,
false whenever none does. This holds for all checks of effects together.
"""

import dataclasses

import pytest
from histories import complete, ns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_properties import Command, Script, scripts
from test_properties_of_all import PROMISES, ended
from worlds import Oracle, Seen, Sent

from chaosreprise import checker
from chaosreprise.history import Effect

pytestmark = pytest.mark.long
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
REQUIRE = ["lost", "duplicate", "phantom", "reorder", "split-brain", "residue", "late"]
BASE = complete(
    n=1, seconds_of_steps=0.3, require=REQUIRE, promises=PROMISES, exposure={"stop": 1, "hibernate": 1, "wake": 1}
)
BOUND_S = 1.0
ROWS_READ_S = 13.0
KINDS = ("start", "hibernate", "wake", "stop")
CHANGES = ("drop", "double", "swap", "move", "add")


@dataclasses.dataclass
class Acted:
    """One effect: what, when, and how roughly that is known."""

    op: str
    at: float
    width: float = 0.0


@dataclasses.dataclass
class Life:
    """What was sent to one session, and what was seen of it; `gap`: when its ledger was not watched."""

    session: str
    commands: list[Command]
    effects: list[Acted]
    gap: tuple[float, float] | None = None

    def history(self):
        made = BASE.copy()
        made.owner[self.session] = "a1"
        key = f"key-{self.session}"
        for command in self.commands:
            start = command.op == "start"
            cmd = made.submit(command.op, None if start else self.session, command.at, key=key if start else None)
            made.answer(cmd, command.answered, command.outcome, session=self.session if start else None)
        for gen, (effect, marks) in enumerate(self._written(), 1):
            for mark, inc in marks:
                made.add(
                    Effect(
                        lo=ns(effect.at - effect.width), hi=ns(effect.at + effect.width), ledger="slots",
                        object=self.session, session=self.session, mark=mark, gen=gen, inc=inc,
                        key=key if mark == "made" else None,
                    )
                )  # fmt: skip
        made.session(self.session, "terminated", ROWS_READ_S, key)
        if self.gap is not None:
            made.gap("slots", *self.gap)
        return made.history()

    def oracle(self) -> Oracle:
        sent = [
            Sent(c.op, ns(c.at), c.outcome, ns(c.answered), ns(c.answered) + ns(BOUND_S) - ns(0)) for c in self.commands
        ]
        seen = [
            Seen(
                one.op,
                ns(one.at - one.width),
                ns(one.at + one.width),
                sum(mark == "down" and inc is not None for mark, inc in marks),
            )
            for one, marks in self._written()
        ]
        return Oracle(sent, seen, (ns(self.gap[0]), ns(self.gap[1])) if self.gap else None)

    def _written(self) -> list[tuple[Acted, list[tuple[str, list | None]]]]:
        """The effects in their order with the marks that were seen of each: all or none."""
        living: list[list] = []
        written = [
            (one, _marks(one.op, living, pid))
            for pid, one in enumerate(sorted(self.effects, key=lambda one: one.at), 1)
        ]
        return [(one, marks) for one, marks in written if not self._missed(one)]

    def _missed(self, one: Acted) -> bool:
        return self.gap is not None and self.gap[0] <= one.at + one.width <= self.gap[1]

    def once_each(self) -> bool:
        """Whether no kind was sent twice, so that nobody has to guess whose effect one is."""
        sent = [command.op for command in self.commands if command.outcome != "fail"]
        return len(set(sent)) == len(sent)


def _marks(op: str, living: list[list], pid: int) -> list[tuple[str, list | None]]:
    """What a keeper writes of one transition."""
    if op in ("start", "wake"):
        living.append(["b00t", 1, pid, 99])
        begun: list[tuple[str, list | None]] = [("up", living[-1])]
        return [("made", None), *begun] if op == "start" else begun
    downs: list[tuple[str, list | None]] = [("down", inc) for inc in living] or [("down", None)]
    living.clear()
    return [*downs, ("gone", None)] if op == "stop" else downs


@st.composite
def lives(draw, *, clear: bool, changes: int, width: bool = False, gap: bool = False):
    script: Script = draw(scripts(clear=clear))
    if not any(command.op == "stop" and command.acted for command in script.commands):
        script = ended(script)
    effects = [
        Acted(c.op, t, draw(st.sampled_from([0.0, 0.02, 0.3])) if width else 0.0)
        for c in script.commands
        for t in c.acted
    ]
    for _ in range(draw(st.integers(0, changes))):
        change(draw, effects, script.commands[0].at)
    hole = None
    if gap:
        since = draw(st.floats(5.0, 9.0))
        hole = (since, since + draw(st.floats(0.001, 1.0)))
    return Life(script.session, script.commands, effects, hole)


def change(draw, effects: list[Acted], since: float) -> None:
    """Nothing moves to before its session's start was sent: that might be somebody else's."""
    what = draw(st.sampled_from(CHANGES))
    if what == "add":
        effects.append(Acted(draw(st.sampled_from(KINDS)), draw(st.floats(since, 12.0))))
    elif effects:
        one = draw(st.sampled_from(effects))
        if what == "drop":
            effects.remove(one)
        elif what == "double":
            effects.append(dataclasses.replace(one, at=one.at + draw(st.floats(0.0001, 1.0))))
        elif what == "move":
            one.at = max(since, one.at + draw(st.floats(-1.5, 1.5)))
        else:
            other = draw(st.sampled_from(effects))
            one.at, other.at = other.at, one.at


def agree(life: Life) -> tuple[str, bool]:
    """The verdict, and whether there is a good world; what may never be is that they contradict each other."""
    verdict = checker.judge(life.history(), "end")
    possible = life.oracle().a_good_world_is_possible()
    assert not (verdict.value == "false" and possible), verdict.why
    assert not (verdict.value == "true" and not possible), "a pass, and no world explains it"
    return verdict.value, possible


@SETTINGS
@given(lives(clear=False, changes=2))
def test_what_is_known_exactly_is_false_exactly_when_no_good_world_is_possible(life: Life):
    value, possible = agree(life)
    if life.once_each():
        assert (value == "false") == (not possible)


@SETTINGS
@given(lives(clear=True, changes=3, width=True))
def test_what_is_known_roughly_is_never_judged_against_the_oracle(life: Life):
    agree(life)


@SETTINGS
@given(lives(clear=False, changes=3, width=True))
def test_what_is_unclear_and_known_roughly_is_never_judged_against_the_oracle(life: Life):
    agree(life)


@SETTINGS
@given(lives(clear=False, changes=2, width=True, gap=True))
def test_what_a_gap_may_hide_is_false_only_where_nothing_hidden_could_explain_it_and_never_true(life: Life):
    value, _ = agree(life)
    assert value != "true"


@SETTINGS
@given(lives(clear=False, changes=0, width=True))
def test_a_correct_life_has_a_good_world_and_is_never_false(life: Life):
    value, possible = agree(life)
    assert possible
    assert value != "false"


@SETTINGS
@given(lives(clear=True, changes=0))
def test_a_correct_life_that_is_known_exactly_is_true(life: Life):
    assert agree(life) == ("true", True)
