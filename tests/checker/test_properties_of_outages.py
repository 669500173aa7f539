"""Drawn calls, signals and streams around outages: a platform that answers by what is there is never accused.

Each answer of a correct platform is true of some moment between its call and itself. A lie is found exactly when an oracle that
looks at every moment says that no such moment is left.
"""

import random
from typing import NamedTuple

from histories import AWAY, BACK, CLAIM, CLEAN, PROVEN, UNDOING, VICTIM, Made, ns, thorough
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chaosreprise import checker
from chaosreprise.history import Observe, Report
from chaosreprise.history.statements import Claim

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BASE = thorough("denied", "fail-open", "dishonest", "interrupted", seconds_of_steps=0.2)
NAME = "s-drawn"
MARGIN = 0.01
HEALTH = Claim(name="health", signal="health.up", says=[1], within_s=0.1, component="database")
SIGNAL = thorough("dishonest", seconds_of_steps=0.2, claims=[HEALTH])
STEPPER = "s-a1-stepper"


class Call(NamedTuple):
    """A read, or a list, that looks at one moment between its sending and its answer."""

    sent: float
    looks: float
    answered: float
    is_list: bool


class Life(NamedTuple):
    """A session that is there from `made` until it ends; its stop was sent at `stopped` at the latest then."""

    made: float
    stopped: float
    ended: float
    calls: list[Call]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    sent = draw(st.floats(1.6, 12.0))
    looks = sent + draw(st.floats(0.001, 0.3))
    return Call(sent, looks, looks + draw(st.floats(0.001, 0.3)), draw(st.booleans()))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    made = draw(st.floats(1.5, 9.0))
    stopped = made + draw(st.floats(0.1, 6.0))
    ended = stopped + draw(st.floats(0.0, 0.5))
    for sent, answered in ((made - MARGIN, made), (stopped, ended + MARGIN)):  # what meets the outage shows nothing
        assume(answered <= AWAY - 0.1 or sent >= BACK + 0.1)
    return Life(made, stopped, ended, draw(st.lists(calls(), min_size=1, max_size=8)))


def is_away(call: Call) -> bool:
    """Whether it meets the store while it is not there."""
    return call.sent < BACK + 0.02 and call.answered > AWAY - 0.02


def write(made: Made, call: Call, there: bool) -> str:
    took = call.answered - call.sent
    if is_away(call):
        return made.read(None if call.is_list else NAME, call.sent, "info", took=took, status=500)
    if call.is_list:
        return made.read(None, call.sent, took=took, listed=[NAME] if there else [])
    if there:
        return made.read(NAME, call.sent, took=took, result="running")
    return made.read(NAME, call.sent, "fail", took=took, status=404)


def written(life: Life) -> Made:
    """Without rows of it: only the answers show that it is there."""
    made = BASE.copy()
    cmd = made.submit("start", None, life.made - MARGIN, key=f"key-{NAME}")
    made.answer(cmd, life.made, session=NAME)
    made.answer(made.submit("stop", NAME, life.stopped), life.ended + MARGIN)
    return made


def denied(made: Made) -> tuple[int, int]:
    return checker.judge(made.history(), "end").checks["denied"].count


def without_lists(made: Made) -> Made:
    """The lists of the run itself would lack the drawn session, or the drawn ones those of the run."""
    for event in made.events:
        if getattr(event, "listed", None) is not None:
            event.listed = None
    return made


@SETTINGS
@given(lives())
def test_answers_that_are_true_of_some_moment_deny_nothing(life: Life):
    made = without_lists(written(life))
    for call in life.calls:
        write(made, call, life.made <= call.looks < life.ended)
    assert denied(made)[0] == 0
    assert checker.judge(made.history(), "end").checks["fail-open"].count[0] == 0


@SETTINGS
@given(lives(), calls(), st.integers(0, 10**6))
def test_a_denial_is_found_exactly_when_it_was_shown_before_and_after(life: Life, lie: Call, seed: int):
    made = without_lists(written(life))
    honest = [call for call in life.calls if not is_away(call)]
    assume(not is_away(lie))
    for call in life.calls:
        write(made, call, life.made <= call.looks < life.ended)
    cmd = write(made, lie, there=False)
    random.Random(seed).shuffle(made.events)

    def shown(call: Call) -> bool:
        return life.made <= call.looks < life.ended

    before = any(shown(call) and call.answered <= lie.sent and (call.is_list or not lie.is_list) for call in honest)
    stop = life.stopped
    after = any(shown(call) and call.sent >= lie.answered for call in honest) or stop >= lie.answered
    found = checker.judge(made.history(), "end").checks["denied"]
    held = any(shown(call) and call.is_list and call.answered <= lie.sent for call in honest)
    wants = before and after and stop > lie.answered and (held or not lie.is_list)
    assert (cmd in [witness.cmd for witness in found.witnesses]) == wants


@SETTINGS
@given(st.floats(5.0, 9.0), st.sampled_from([0.0, 0.02, 0.5, 2.0]))
def test_an_agent_is_called_online_for_too_long_exactly_when_it_surely_was(seen: float, width: float):
    made = BASE.copy()
    lo, hi = max(4.9, seen - width), seen
    (away,) = made.find(Report, lambda e: e.about == "agent" and e.state == "offline")
    back = made.find(Report, lambda e: e.about == "agent" and e.id == VICTIM and e.state == "online")[-1]
    made.events = [event for event in made.events if event is not away and event is not back]
    made.agent(VICTIM, "offline", hi)
    made.find(Report, lambda e: e.about == "agent" and e.state == "offline")[0].lo = ns(lo)
    count = checker.judge(made.history(), "end").checks["dishonest"].count
    due = ns(PROVEN) + int(CLAIM.within_s * 1e9)
    assert count[0] == (min(ns(lo), ns(UNDOING)) > due)
    assert count[1] == (min(ns(hi), ns(UNDOING)) > due)


@SETTINGS
@given(st.floats(1.5, 15.0), st.sampled_from([0.0, 0.1, 1.0, 4.0]), st.booleans())
def test_a_break_is_excused_exactly_when_all_its_moments_are(at: float, width: float, crosses: bool):
    made = BASE.copy()
    lo = max(1.45, at - width)
    made.stream(
        "s-a3-canary",
        1.4,
        at,
        "broke",
        path=["control-plane", f"agents/{VICTIM}" if crosses else "agents/a1"],
        wide=at - lo,
    )
    count = checker.judge(made.history(), "end").checks["interrupted"].count
    since, until = 5.0, 8.1 + 1.0  # from its arming until a second after its undo
    inside = crosses and ns(since) <= ns(at) - round((at - lo) * 1e9) and ns(at) <= ns(until)
    outside = not crosses or at < since or lo > until
    if abs(at - since) > 1e-6 and abs(lo - until) > 1e-6:
        assert count == ((0, 0) if inside else (1, 1) if outside else (0, 1))


@SETTINGS
@given(st.floats(8.0, 9.5), st.floats(0.001, 0.4), st.booleans())
def test_success_that_leaves_nothing_is_fail_open_exactly_when_the_store_was_surely_away(
    sent: float, took: float, kept: bool
):
    made = BASE.copy()
    cmd = made.submit("wake", "s-a1-hib0", sent)
    made.answer(cmd, sent + took)
    if kept:
        made.effect("wake", "s-a1-hib0", max(sent + took, BACK) + 0.1)
    found = checker.judge(made.history(), "end").checks["fail-open"]
    inside = sent >= AWAY and sent + took <= BACK
    assert found.count == ((1, 1) if inside and not kept else (0, 0))


@SETTINGS
@given(st.lists(st.tuples(st.integers(840, 920), st.booleans()), max_size=12, unique_by=lambda look: look[0]))
def test_a_sampled_signal_lies_exactly_if_two_looks_with_nothing_else_between_them_are_too_far_apart(looks):
    """Hundredths of a second; the store is away from 860 to 900, and 10 are allowed."""
    made = SIGNAL.copy()
    made.cover("health", 0.01)
    made.cover("health", 19.2, on=False)
    looks = sorted(looks)
    for at, there in looks:
        made.add(Observe(lo=ns(at / 100), hi=ns(at / 100), source="health", signal="up", value=int(there)))
    lies = any(
        last <= 900 and last - max(first, 860) > 10
        for first, _ in looks
        for last, _ in looks
        if all(there for at, there in looks if first <= at <= last)
    )
    found = checker.judge(made.history(), "end").checks["dishonest"]
    assert found.count == (int(lies), int(lies))
    judged = any(there and at <= 860 for at, there in looks) and any(870 <= at <= 900 for at, _ in looks)
    assert (found.value == "unknown") == (not lies and not judged)


@SETTINGS
@given(
    st.lists(
        st.tuples(st.sampled_from(["stop", "hibernate", "wake", "step"]), st.floats(2.0, 9.0), st.booleans()),
        max_size=3,
    ),
    st.floats(2.0, 9.0),
    st.sampled_from([0.0, 0.3, 2.0]),
)
def test_a_break_is_explained_exactly_by_what_was_told_to_end_its_session_at_all_its_moments(
    told, at: float, width: float
):
    made = BASE.copy()
    for op, sent, accepted in told:
        made.answer(made.submit(op, STEPPER, sent), sent + 0.01, "ok" if accepted else "fail")
    lo = max(1.5, at - width)
    made.stream(STEPPER, 1.4, at, "broke", wide=at - lo)
    ends = [ns(sent) for op, sent, accepted in told if op in ("stop", "hibernate") and accepted]
    first = min(ends, default=ns(CLEAN))
    assume(abs(first - ns(lo)) > 10 and abs(first - ns(at)) > 10)
    count = checker.judge(made.history(), "end").checks["interrupted"].count
    assert count == ((0, 0) if first <= ns(lo) else (1, 1) if first > ns(at) else (0, 1))


@SETTINGS
@given(
    st.lists(
        st.tuples(st.floats(8.4, 9.2), st.floats(0.001, 0.3), st.sampled_from(["ok", "unconnected", "broke", 500]))
    )
)
def test_what_was_asked_while_the_store_was_away_was_sent_and_answered_then_or_accepted_later(calls):
    made = complete_but_for_calls()
    asked = crossed = 0
    for sent, took, how in calls:
        outcome = {"ok": "ok", "unconnected": "fail"}.get(how, "info")
        answer = made.answer(made.submit("wake", "s-a1-hib0", sent), sent + took, outcome)
        answer.rule = "unconnected" if how == "unconnected" else None
        answer.status = how if how == 500 else None
        inside = ns(sent) >= ns(AWAY) and ns(sent + took) <= ns(BACK)
        asked += how in ("ok", 500) and inside
        crossed += (how == 500 and inside) or (how == "ok" and ns(AWAY) <= ns(sent) <= ns(BACK))
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["fail-open"].evidence == asked
    told = next(fault for fault in verdict.faults if fault.component == "database")
    assert told.exposure["wake"].during == crossed


def complete_but_for_calls() -> Made:
    """The outage, and nothing that was sent in it."""
    made = BASE.copy()
    inside = {one.cmd for one in made.events if hasattr(one, "intended") and ns(AWAY) <= one.lo <= ns(BACK)}
    made.events = [event for event in made.events if getattr(event, "cmd", None) not in inside]
    return made
