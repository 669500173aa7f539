"""No pass by blindness, for every check that is built: whatever a check needs is taken out of a run on which all of them pass.

A new check is in by itself: `histories.thorough` must give it something to judge, and whatever it does not need must be said here.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable

import pytest
from histories import UNDONE, VICTIM, Made, ns, thorough
from test_blindness import CASES

from chaosreprise import checker, report
from chaosreprise.checker import registry
from chaosreprise.history import Answer, Coverage, Effect, Fault, Observe, Report, Stream, Submit
from chaosreprise.report import words

Spoil = Callable[[Made], object]
CHECKS = sorted(registry.checks())
STOPPED, BEGAN, GAP = 6.0, 7.0, (5.5, 8.7)
OUTAGES = {"denied", "dishonest", "fail-open", "interrupted"}  # without a success there is no effect to look for
ANSWERS = {"contradicted", "state-loss", "unfinished", "unrecorded"}
NOT_NEEDED = {
    "slots": {
        "lifecycle",
        "misassigned",
        "misplaced",
        "quota",
        "refusal",
        "isolation",
        *ANSWERS,
        *OUTAGES,
    },  # these look at answers, at faults and at what the platform says
    "workspaces": {
        "lifecycle",
        "limits",
        "misassigned",
        "misplaced",
        "quota",
        "refusal",
        "objective",
        "residue",
        *ANSWERS,
        *OUTAGES,
    },  # likewise; a step leaves no object
    "rows": set(),
}
THROUGHOUT = {
    "dishonest",
    "lifecycle",
    "misassigned",
    "quota",
}  # to the others rows matter when a command is sent, and at the end


@functools.cache
def whole() -> Made:
    return thorough()


def belongs(event: object, of: str) -> bool:
    return (isinstance(event, Effect) and event.ledger == of) or (isinstance(event, Report) and event.source == of)


def without(made: Made, of: str, since: float, until: float) -> list:
    """What the source said in this time, taken out."""
    taken = [event for event in made.events if belongs(event, of) and ns(since) < event.hi <= ns(until)]
    ids = {id(event) for event in taken}
    made.events = [event for event in made.events if id(event) not in ids]
    return taken


def silent(made: Made, of: str) -> None:
    """It says that it watched, and saw nothing."""
    without(made, of, -1, 99)


def absent(made: Made, of: str) -> None:
    silent(made, of)
    made.drop(Coverage, lambda e: e.of == of)


def stops(made: Made, of: str) -> None:
    without(made, of, STOPPED, 99)
    made.drop(Coverage, lambda e: e.of == of and not e.on)
    made.cover(of, STOPPED, on=False, why="it vanished")


def truncated(made: Made, of: str) -> None:
    """A file that shrank: what stood in it is gone."""
    without(made, of, -1, STOPPED)
    made.gap(of, STOPPED - 0.02, STOPPED, why="it shrank")


def starts_late(made: Made, of: str) -> None:
    without(made, of, -1, BEGAN)
    made.drop(Coverage, lambda e: e.of == of and e.on)
    made.cover(of, BEGAN)


def resumes(made: Made, of: str) -> None:
    """It comes back, and what the platform says is said anew."""
    taken = without(made, of, *GAP)
    made.gap(of, *GAP)
    last = {event.id: event for event in taken if isinstance(event, Report)}
    for event in last.values():
        again = copy.copy(event)
        again.lo, again.hi = ns(GAP[0]), ns(GAP[1])
        made.add(again)


def late_process(made: Made, name: str) -> None:
    made.find(Coverage, lambda e: e.of == name and e.on)[0].hi = ns(BEGAN)


def interrupted_process(made: Made, name: str) -> None:
    made.gap(name, *GAP, why="it was suspended")


def spoiled(spoil: Spoil) -> checker.Verdict:
    made = whole().copy()
    made.contract = copy.deepcopy(made.contract)
    spoil(made)
    return checker.judge(made.history(), "end")


def passed(verdict: checker.Verdict) -> set[str]:
    """The checks that would be true if only they were required."""
    return set() if verdict.doubts else {name for name, found in verdict.checks.items() if found.value == "true"}


def doubts(verdict: checker.Verdict) -> list[checker.Doubt]:
    return [*verdict.doubts, *(doubt for found in verdict.checks.values() for doubt in found.scope)]


def is_said(verdict: checker.Verdict) -> bool:
    """Whether the reasons, and what to do next, are there and on the screen."""
    told = " ".join(report.console(verdict).split())
    first = next(iter(doubts(verdict)))
    return (
        all(doubt.why.strip() and doubt.do.strip() for doubt in doubts(verdict))
        and all(reason.strip() for reason in verdict.why)
        and (verdict.value == "false" or " ".join(first.why.split()) in told)
        and f"-> {first.do.split()[0]}" in told
    )


def test_on_the_run_that_is_spoiled_below_every_check_passes_and_has_evidence():
    verdict = spoiled(lambda made: None)
    assert passed(verdict) == set(CHECKS), verdict.why
    assert [name for name, found in verdict.checks.items() if not found.evidence] == []


@pytest.mark.parametrize("of", NOT_NEEDED)
@pytest.mark.parametrize("spoil", [absent, stops, truncated, starts_late, resumes, silent])
def test_without_a_source_throughout_nothing_passes_that_needs_it(of: str, spoil: Callable[[Made, str], None]):
    verdict = spoiled(lambda made: spoil(made, of))
    assert verdict.value != "true"
    seen_when_it_matters = {*CHECKS} - THROUGHOUT if (of, spoil) == ("rows", resumes) else set()
    assert passed(verdict) == NOT_NEEDED[of] | seen_when_it_matters
    assert is_said(verdict)
    if spoil is not silent:  # then its absence proves nothing against anybody either
        assert {name: found.count[0] for name, found in verdict.checks.items() if found.count[0]} == {}
        assert of in " ".join(f"{doubt.what} {doubt.why}" for doubt in doubts(verdict))


@pytest.mark.parametrize("name", ["load", "recorder", "warden"])
@pytest.mark.parametrize("spoil", [late_process, interrupted_process])
def test_a_part_of_the_run_that_began_late_or_was_interrupted_leaves_nothing_true(name: str, spoil):
    verdict = spoiled(lambda made: spoil(made, name))
    assert (verdict.value, passed(verdict)) == ("unknown", set())
    assert f"the {name} " in " ".join(verdict.why)
    assert is_said(verdict)


GENERAL = [
    name
    for name in CASES
    if name.split()[0] not in NOT_NEEDED and not name.startswith(("too few", "no attribution", "a check that"))
]


@pytest.mark.parametrize("name", GENERAL)
def test_what_a_run_must_have_keeps_every_check_from_passing(name: str):
    verdict = spoiled(CASES[name])
    assert verdict.value != "true"
    assert passed(verdict) == set()
    assert is_said(verdict)


@pytest.mark.parametrize("kind", ["start", "stop", "hibernate", "wake", "step", "read"])
def test_a_kind_that_was_never_accepted_keeps_every_check_from_passing(kind: str):
    def spoil(made: Made) -> None:
        for cmd in made.commands(kind):
            own = answer_to(made, cmd)
            own.outcome, own.rule = "fail", "wrong-state"

    verdict = spoiled(spoil)
    assert passed(verdict) == set()
    assert f"{kind}: not one {kind} was accepted in this run" in " ".join(
        f"{doubt.what}: {doubt.why}" for doubt in verdict.doubts
    )


def test_without_attribution_nothing_passes_that_looks_at_effects():
    verdict = spoiled(CASES["no attribution"])
    assert passed(verdict) == NOT_NEEDED["slots"] & NOT_NEEDED["workspaces"]
    assert is_said(verdict)


@pytest.mark.parametrize("check", [name for name in CHECKS if registry.asks(name)])
def test_a_check_that_is_asked_nothing_does_not_pass_and_the_others_do(check: str):
    verdict = spoiled(lambda made: setattr(made.contract, registry.asks(check), []))
    assert passed(verdict) == {name for name in CHECKS if registry.asks(name) != registry.asks(check)}
    assert is_said(verdict)


def test_a_figure_that_nobody_sampled_is_unknown():
    verdict = spoiled(lambda made: made.drop(Observe))
    assert passed(verdict) == set(CHECKS) - {"objective"}
    assert "no sample of load.lag_ms" in " ".join(verdict.why)


WITHOUT = {
    "streams": (lambda made: made.drop(Stream), {"interrupted"}),
    "an outage": (lambda made: made.drop(Fault, lambda e: e.component == "database"), {"fail-open"}),
    "a word for `does not exist`": (lambda made: setattr(made.contract, "refusals", []), {"denied", "fail-open"}),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_what_only_some_checks_rest_on_keeps_only_these_from_passing(what: str):
    spoil, needed_by = WITHOUT[what]
    verdict = spoiled(spoil)
    assert (verdict.value, passed(verdict)) == ("unknown", set(CHECKS) - needed_by)
    assert is_said(verdict)


@pytest.mark.parametrize("kinds", [(Effect,), (Report,), (Submit, Answer), (Effect, Report)])
def test_where_nobody_said_anything_of_one_side_nothing_but_what_needs_it_not_passes(kinds: Iterable[type]):
    verdict = spoiled(lambda made: [made.drop(kind) for kind in kinds])
    assert passed(verdict) <= (NOT_NEEDED["slots"] if kinds == (Effect,) else set())


@pytest.mark.parametrize("until", [0.0, 0.3, 4.0, 7.0, 12.0, 15.0, 18.0, 19.2])
def test_a_run_that_broke_off_is_unknown_and_accuses_nobody(until: float):
    verdict = spoiled(lambda made: made.events.__setitem__(slice(None), [e for e in made.events if e.hi <= ns(until)]))
    assert (verdict.value, passed(verdict)) == ("unknown", set())
    assert [name for name, found in verdict.checks.items() if found.count[0]] == []
    assert is_said(verdict)


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_crashes_is_unknown_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, check: str):
    def crash(case):
        raise ZeroDivisionError("by nothing")

    built = dict(registry.checks())
    broken = dataclasses.replace(built[check], judge=crash)
    monkeypatch.setattr("chaosreprise.checker.judging.checks", lambda: {**built, check: broken})
    verdict = spoiled(lambda made: None)
    assert (verdict.value, passed(verdict)) == ("unknown", set(CHECKS) - {check})
    assert "ZeroDivisionError: by nothing" in " ".join(verdict.why)
    assert is_said(verdict)


def answer_to(made: Made, cmd: Submit) -> Answer:
    return made.find(Answer, lambda e: e.cmd == cmd.cmd)[0]


def late_load(made: Made, by: float) -> None:
    """The load says that it was so late; that it is punctual is no objective here."""
    made.find(Observe, lambda e: e.signal == "lag_ms")[0].value = by * 1e3
    made.contract.objectives = made.contract.objectives[:-1]


@pytest.mark.parametrize("kinds", [("hibernate", "wake", "stop"), ("wake", "stop")])
def test_a_load_so_late_that_its_commands_missed_the_fault_leaves_nothing_true(kinds: tuple[str, ...]):
    by = UNDONE + 0.1 - 5.3

    def spoil(made: Made) -> None:
        late_load(made, by)
        late = [cmd for kind in kinds for cmd in made.commands(kind, 5.1, 8.0, VICTIM)]
        for event in [*late, *(answer_to(made, cmd) for cmd in late)]:
            event.lo, event.hi = event.lo + ns(by) - ns(0), event.hi + ns(by) - ns(0)

    verdict = spoiled(spoil)
    assert (verdict.value, passed(verdict)) == ("unknown", set())
    for kind in kinds:
        assert f"{kind}: 0 of 1 {kind} commands crossed agents/a2 while it was broken" in " ".join(verdict.why)
    assert is_said(verdict)


def test_a_late_load_that_still_crossed_the_fault_is_said_and_not_doubted():
    """Each figure counts from when a command was really sent; steps and reads that could not be sent in time are not sent."""

    def spoil(made: Made) -> None:
        late_load(made, 4.0)
        made.add(Observe(lo=ns(19.1), hi=ns(19.1), source="load", signal="skipped", value=30))

    verdict = spoiled(spoil)
    assert passed(verdict) == set(CHECKS)
    assert "load late (p99 lag 4000.0 ms, 30 steps and reads not sent)" in words.evidence(verdict.evidence)
    assert "load late (p99 lag 4000.0 ms" in " ".join(report.console(verdict).split())


def test_that_the_load_is_punctual_is_an_objective_of_its_own():
    def spoil(made: Made) -> None:
        made.find(Observe, lambda e: e.signal == "lag_ms")[0].value = 4000.0

    found = spoiled(spoil).checks["objective"]
    assert found.value == "false"
    assert "punctual: load.lag_ms is 4000" in found.witnesses[0].say
