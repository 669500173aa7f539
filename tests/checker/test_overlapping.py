"""Several faults at once, of different components, each with its own life: nothing of one is taken for the other's."""

from histories import AGENTS, OBJECTIVES, SETTLE_S, VICTIM, Made, ns

from chaosreprise import checker, recovery
from chaosreprise.checker import Verdict
from chaosreprise.history import Fault, Report

DB_AWAY, AGENT_AWAY, DB_BACK, AGENT_BACK = 5.0, 5.6, 6.2, 10.0
KINDS = ("hibernate", "wake")


def overlapping(n: int = 3, sent_from: float = 6.4, **changes) -> Made:
    """The database is away from 5.0 s to 6.2 s; an agent dies meanwhile, at 5.6 s, and comes back at 10 s."""
    stated = {"exposure": dict.fromkeys(KINDS, n), "require": ["lost", "duplicate"], "optional": checker.known()}
    made = Made(**{**stated, **changes})
    for of in ("recorder", "slots", "workspaces", "rows", "load", "warden"):
        made.cover(of, 0.01)
    for agent in AGENTS:
        made.agent(agent, "online", 0.04)
    for number in range(n):
        for kind in ("run", "hib"):
            made.command("start", f"s-{kind}{number}", 0.1 + number * 0.02, agent=VICTIM)
            made.command("start", f"s-{kind}{number}-out", 0.11 + number * 0.02, agent="a1")
        made.command("hibernate", f"s-hib{number}", 0.6 + number * 0.02)
        made.command("hibernate", f"s-hib{number}-out", 0.61 + number * 0.02)
    made.command("start", "s-new", 1.0, agent="a1")
    for number, op in enumerate(("hibernate", "wake", "stop")):
        made.command(op, "s-new", 1.2 + number * 0.2)
    made.phase("baseline", 1.0, 5.0)
    made.phase("method", 5.0, AGENT_BACK + 0.1)
    faults(made)
    refused(made, n)
    for number in range(n):
        at = sent_from + number * 0.2
        for kind, op in (("run", "hibernate"), ("hib", "wake")):
            made.command(op, f"s-{kind}{number}", at, effect=AGENT_BACK + 0.2 + number * 0.1 - at)
    close(made, n)
    return made


def faults(made: Made) -> None:
    states = ("armed", "injected", "proven", "undoing", "undone", "clean")
    for fault, kind, on, began, undoing, undone in (
        ("f1", "database.take_away", "database", DB_AWAY, DB_BACK - 0.2, DB_BACK),
        ("f2", "agents.take_away", f"agents/{VICTIM}", AGENT_AWAY, AGENT_BACK, AGENT_BACK + 0.1),
    ):
        times = (began, began + 0.01, began + 0.02, undoing, undone, undone + 0.01)
        made.fault(on, dict(zip(states, times, strict=True)), fault=fault, kind=kind)
    made.gap("rows", DB_AWAY, DB_BACK + 0.1, why="the database can't be read")
    made.agent(VICTIM, "offline", 6.5)
    made.agent(VICTIM, "online", AGENT_BACK + 0.1)


def refused(made: Made, n: int) -> None:
    """What is sent while the database is away is answered with an error."""
    for number in range(n):
        for kind, op in (("run", "hibernate"), ("hib", "wake")):
            at = DB_AWAY + 0.1 + number * 0.1
            made.answer(made.submit(op, f"s-{kind}{number}-out", at), at + 0.01, "info", status=500)


def close(made: Made, n: int) -> None:
    made.phase("quiet", AGENT_BACK + 0.1, 10.8)
    made.phase("drain", 10.8, 13.5)
    made.phase("clean", 13.5, 13.7 + SETTLE_S)
    for number in range(n):
        for offset, kind in enumerate(("run", "hib")):
            made.command("stop", f"s-{kind}{number}", 13.52 + number * 0.04 + offset * 0.02)
            made.command("stop", f"s-{kind}{number}-out", 13.53 + number * 0.04 + offset * 0.02)
    made.phase("close", 16.0, 18.5)
    for of in ("load", "slots", "workspaces", "rows", "recorder", "warden"):
        made.cover(of, 18.6, on=False)


def judged(made: Made) -> Verdict:
    return checker.judge(made.history(), "end")


def exposed(verdict: Verdict) -> dict[str, dict[str, int]]:
    return {
        told.fault: {kind: one.during for kind, one in told.exposure.items() if one.during} for told in verdict.faults
    }


def test_each_of_two_overlapping_faults_is_exposed_to_what_crossed_it_alone():
    verdict = judged(overlapping())
    assert (verdict.value, verdict.doubts) == ("true", []), verdict.why
    assert exposed(verdict) == {"f1": {"hibernate": 3, "wake": 3}, "f2": {"hibernate": 3, "wake": 3}}


def test_what_an_agent_was_sent_while_nobody_could_read_its_rows_exposes_it_to_nothing():
    verdict = judged(overlapping(sent_from=6.15))
    assert verdict.value == "unknown"
    assert exposed(verdict)["f2"] == {"hibernate": 2, "wake": 2}
    assert [doubt.why for doubt in verdict.doubts] == [
        f"2 of 3 {kind} commands crossed agents/a2 while it was broken "
        "(3 were sent then: 1 were sent while nobody saw whose they were)"
        for kind in KINDS
    ]


def test_that_one_of_them_is_exposed_does_not_do_for_the_other():
    made = overlapping()
    life = made.find(Fault, lambda e: e.fault == "f2" and e.state in ("injected", "proven"))
    for event in life:
        event.lo = event.hi = ns(9.5)
    verdict = judged(made)
    assert verdict.value == "unknown"
    assert {doubt.what for doubt in verdict.doubts} == set(KINDS)
    assert all("agents/a2" in doubt.why for doubt in verdict.doubts)


def test_what_waited_is_not_late_before_the_last_of_the_faults_on_its_path_is_healed_and_its_bound_is_over():
    assert judged(overlapping()).checks["late"].value == "true"
    made = overlapping()
    effect = next(
        e
        for e in made.events
        if getattr(e, "session", "") == "s-run0" and getattr(e, "mark", "") == "down" and e.lo > ns(9)
    )
    effect.lo = effect.hi = ns(AGENT_BACK + 0.1 + 1.2)
    assert judged(made).checks["late"].count == (1, 1)


def test_the_heal_of_the_database_excuses_nobody_whose_agent_was_well():
    made = overlapping()
    made.command("hibernate", "s-new", 4.9, effect=3.0)
    late = judged(made).checks["late"]
    assert late.count[0] == 1, late


def test_each_fault_is_told_how_the_platform_recovered_from_it():
    made = overlapping(objectives=OBJECTIVES)
    told = {one.fault: one for one in recovery.add(judged(made), made.history()).recovery}
    assert told["f2"].noticed is not None
    assert told["f2"].noticed[0] <= 6.5 - AGENT_AWAY <= told["f2"].noticed[1] + 0.03
    assert told["f2"].drained is not None
    assert told["f1"].component == "database"


def test_one_of_several_that_leaked_or_was_undone_by_somebody_else_makes_the_run_unknown():
    for fault in ("f1", "f2"):
        made = overlapping()
        made.find(Fault, lambda e, fault=fault: e.fault == fault and e.state == "undone")[0].by = "lease"
        verdict = judged(made)
        assert verdict.value == "unknown"
        assert any(fault in doubt.what for doubt in verdict.doubts), verdict.doubts


def test_a_platform_that_calls_the_agent_online_again_once_its_database_is_back_ends_the_exposure_there():
    made = overlapping()
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.agent(VICTIM, "offline", 6.35)
    made.agent(VICTIM, "online", 6.5)
    verdict = judged(made)
    assert exposed(verdict)["f2"] == {"hibernate": 1, "wake": 1}


def test_a_lost_command_is_found_under_overlapping_faults():
    made = overlapping()
    made.events = [
        e
        for e in made.events
        if not (getattr(e, "session", "") == "s-run1" and getattr(e, "mark", "") == "down" and e.lo < ns(12))
    ]
    lost = judged(made).checks["lost"]
    assert lost.count == (1, 1)
