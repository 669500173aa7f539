"""refusal: each rule by a history that violates it, and by one that nearly does but is legal."""

import pytest
from histories import AGENTS, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Answer, Fault, Observe
from chaosreprise.history.statements import Allowed, Situation

NO_AGENT = Situation(
    name="no agent",
    when="no-agent-online",
    ops=["start"],
    allow=[Allowed(status=503, body="No agents available")],
    within_s=0.5,
)
DATABASE = Situation(
    name="no database",
    when="database-broken",
    ops=["read", "stop"],
    allow=[Allowed(status=500), Allowed(status=0)],
    within_s=0.5,
)
BODY = '{"error":"No agents available"}'


def refusal(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["refusal"]


def away(*situations: Situation, fault: bool = True) -> Made:
    """A clean run in which a1 and a3 are away as well, from 6.0 s to 7.0 s."""
    made = complete(
        n=1,
        seconds_of_steps=0.1,
        exposure={"stop": 1, "hibernate": 1, "wake": 1},
        require=["refusal"],
        situations=list(situations or [NO_AGENT]),
    )
    for number, agent in enumerate(("a1", "a3")):
        if fault:
            states = {"armed": 5.9, "injected": 5.95, "proven": 6.0, "undoing": 7.0, "undone": 7.1, "clean": 7.2}
            made.fault(f"agents/{agent}", states, fault=f"f{number + 2}")
        made.agent(agent, "offline", 6.1)
        made.agent(agent, "online", 7.1)
    return made


def call(
    made: Made,
    at: float,
    took: float = 0.01,
    status: int | None = 503,
    error: str | None = BODY,
    op="start",
    outcome="fail",
) -> str:
    cmd = made.submit(op, None if op == "start" else "s-a1-canary", at)
    made.answer(cmd, at + took, outcome, session="s-x" if outcome == "ok" else None, status=status, error=error)
    return cmd


def test_the_stated_refusal_is_evidence():
    made = away(fault=False)
    call(made, 6.5)
    found = refusal(made)
    assert (found.value, found.count, found.evidence, found.scope) == ("true", (0, 0), 1, [])


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [(202, None, "ok"), (500, "boom", "info"), (503, "overloaded", "info"), (None, "ReadError()", "info")],
)
def test_any_other_answer_is_a_violation(status, error, outcome):
    made = away()
    call(made, 6.5, status=status, error=error, outcome=outcome)
    found = refusal(made)
    assert (found.value, found.count, found.labels) == ("false", (1, 1), {"answer": 1})
    assert (
        "in the situation 'no agent' (no-agent-online), where status 503 'No agents available' is due within 0.5 s"
        in found.witnesses[0].say
    )


def test_what_was_refused_for_a_limit_of_rates_says_nothing_of_the_situation():
    made = away()
    cmd = call(made, 6.5, status=429, error="slow down")
    made.find(Answer, lambda e: e.cmd == cmd)[0].retry_s = 1.0
    assert (refusal(made).value, refusal(made).count) == ("unknown", (0, 0))


def test_the_right_answer_too_late_is_a_hang():
    made = away()
    call(made, 6.2, took=0.6)
    found = refusal(made)
    assert (found.count, found.labels) == ((1, 1), {"hang": 1})
    assert "after 0.600 s" in found.witnesses[0].say


def test_no_answer_at_all_is_a_hang():
    made = away()
    made.submit("start", None, 6.2)
    assert refusal(made).labels == {"hang": 1}


def test_what_is_answered_after_the_situation_has_ended_may_have_any_answer():
    made = away()
    call(made, 6.5)
    call(made, 6.8, took=0.4, status=202, error=None, outcome="ok")
    found = refusal(made)
    assert (found.count, found.evidence) == ((0, 0), 1)


def test_what_was_sent_before_the_situation_may_have_any_answer():
    made = away()
    call(made, 6.5)
    call(made, 5.9, took=0.4, status=202, error=None, outcome="ok")
    assert refusal(made).count == (0, 0)


def test_one_agent_that_is_online_is_enough_for_any_answer():
    made = away()
    made.agent("a9", "online", 0.04)
    call(made, 6.5, status=202, error=None, outcome="ok")
    found = refusal(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "no start was sent and answered while it surely held" in found.scope[0].why


def test_agents_that_the_platform_itself_calls_offline_are_enough():
    made = away(fault=False)
    call(made, 6.5, status=202, error=None, outcome="ok")
    assert refusal(made).count == (1, 1)


def test_a_platform_that_calls_absent_agents_online_is_judged_by_the_faults_after_the_time_to_notice():
    made = away()
    made.contract.offline_ns = int(0.3 * 1e9)
    made.events = [e for e in made.events if not (getattr(e, "about", "") == "agent" and e.state == "offline")]
    call(made, 6.2, status=202, error=None, outcome="ok")
    assert refusal(made).count == (0, 0)
    call(made, 6.5, status=202, error=None, outcome="ok")
    assert refusal(made).count == (1, 1)


def test_a_gap_in_which_an_agent_could_have_come_back_makes_a_wrong_answer_unknown():
    made = away()
    made.gap("rows", 6.3, 6.4)
    call(made, 6.5, status=202, error=None, outcome="ok")
    found = refusal(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "nobody watched" in found.scope[-1].why


def test_without_any_report_of_an_agent_nothing_is_known():
    made = away(fault=False)
    made.events = [e for e in made.events if getattr(e, "about", "") != "agent"]
    call(made, 6.5, status=202, error=None, outcome="ok")
    assert refusal(made).value == "unknown"


def test_the_lag_of_the_load_is_not_held_against_the_platform():
    made = away()
    call(made, 6.2, took=0.6)
    made.find(Observe, lambda e: e.signal == "lag_ms")[0].value = 150.0
    found = refusal(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert found.scope[-1].what == "load"


def stalled(made: Made, since: float, until: float) -> None:
    made.add(Observe(lo=ns(since), hi=ns(until), source="load", signal="stalled", value=until - since))


def test_what_the_load_read_late_as_it_stood_still_is_not_held_against_the_platform():
    made = away()
    call(made, 6.2, took=0.6)
    stalled(made, 6.25, 6.3)
    assert refusal(made).count == (1, 1), "it waited for longer than the bound all the same"
    stalled(made, 6.65, 6.8)
    found = refusal(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "stood still" in found.scope[-1].why


def test_a_call_that_was_lost_while_the_load_stood_still_may_be_its_own_doing():
    made = away()
    call(made, 6.2, took=0.3, status=None, error="ReadTimeout('')", outcome="info")
    stalled(made, 6.6, 6.9)
    assert refusal(made).labels == {"answer": 1}, "it was lost before"
    stalled(made, 6.3, 6.5)
    assert (refusal(made).value, refusal(made).count) == ("unknown", (0, 1))
    call(made, 6.55, took=0.3, status=500, error="boom", outcome="info")
    assert refusal(made).labels == {"answer": 1}, "this is an answer of the platform"


def test_a_fault_that_had_ended_by_itself_is_no_situation_any_more():
    made = broken(away(DATABASE))
    call(made, 6.5, status=202, error=None, op="read", outcome="ok")
    assert refusal(made).count == (1, 1)
    made.find(Fault, lambda e: e.fault == "f9" and e.state == "undone")[0].by = "lease"
    found = refusal(made)
    assert (found.value, found.count) == ("unknown", (0, 0))


def broken(made: Made) -> Made:
    made.fault(
        "database",
        {"armed": 5.9, "proven": 6.0, "undoing": 7.0, "undone": 7.1, "clean": 7.2},
        fault="f9",
        kind="database.take_away",
    )
    return made


def test_a_call_whose_path_crosses_what_is_broken_is_judged():
    made = broken(away(DATABASE))
    call(made, 6.5, status=500, error="away", op="read", outcome="info")
    call(made, 6.6, status=None, error="ConnectError()", op="stop")
    assert (refusal(made).count, refusal(made).evidence, refusal(made).scope) == ((0, 0), 2, [])
    call(made, 6.7, status=404, error="not found", op="read")
    assert refusal(made).labels == {"answer": 1}


def test_situations_are_judged_each_for_itself():
    made = away(NO_AGENT, DATABASE)
    call(made, 6.5)
    found = refusal(made)
    assert found.value == "unknown"
    assert [doubt.what for doubt in found.scope] == ["no database"]


def test_without_a_stated_situation_nothing_is_true():
    made = away()
    made.contract.situations = []
    assert refusal(made).value == "unknown"


def test_it_is_seen_while_the_method_still_runs():
    made = away()
    call(made, 6.5, status=202, error=None, outcome="ok")
    made.events = [event for event in made.events if event.hi <= ns(9.0)]
    assert refusal(made, "during").value == "false"


def test_the_clean_run_has_all_agents_away_for_a_while():
    assert {f"agents/{agent}" for agent in AGENTS} == {
        event.component for event in away().events if hasattr(event, "component")
    }
    assert away().find(Answer)
