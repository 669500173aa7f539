"""Recovery: what is measured, from where to where, and what is said when there is nothing to measure."""

import pytest
from histories import PROVEN, UNDOING, VICTIM, Made, complete, ns

from chaosreprise import checker, recovery
from chaosreprise.history import Effect, Fault, Report


def measured(made: Made):
    found = recovery.measure(made.history())
    assert len(found) == 1
    return found[0]


def test_each_part_is_an_interval_with_its_start_and_source():
    found = measured(complete())
    assert found.noticed == pytest.approx((5.06 - PROVEN, 5.08 - PROVEN))
    assert found.elsewhere == pytest.approx((5.65 - PROVEN, 5.65 - PROVEN))
    assert found.first_success == pytest.approx((8.3 - UNDOING, 8.3 - UNDOING))
    assert found.drained == pytest.approx((8.67 - UNDOING, 8.67 - UNDOING))
    assert found.since == {"noticed": "proven", "elsewhere": "proven", "first_success": "undoing", "drained": "undoing"}
    assert set(found.source) == set(found.since)
    assert set(found.why_not) == {"normal"}, "the load was turned off too soon to tell"


def test_the_uncertainty_of_the_fault_widens_the_interval():
    made = complete()
    made.find(Fault, lambda e: e.state == "proven")[0].lo = ns(PROVEN - 0.01)
    assert measured(made).noticed == pytest.approx((5.06 - PROVEN, 5.08 - PROVEN + 0.01))


def test_what_was_noticed_before_the_proof_took_no_time():
    made = complete()
    gone = made.find(Report, lambda e: e.about == "agent" and e.state == "offline")[0]
    gone.lo, gone.hi = ns(PROVEN - 0.005), ns(PROVEN - 0.002)
    assert measured(made).noticed == (0, 0)


def test_an_agent_that_was_never_reported_as_gone_was_not_noticed():
    made = complete()
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    found = measured(made)
    assert found.noticed is None
    assert "never reported" in found.why_not["noticed"]


def test_a_start_on_the_broken_agent_is_no_start_elsewhere():
    made = complete()
    for report in made.find(Report, lambda e: e.about == "session" and e.id == "s-new"):
        report.owner = VICTIM
    assert measured(made).elsewhere is None


def test_a_lost_command_leaves_the_fault_undrained():
    made = complete()
    cmd = made.commands("wake", 5.1, 8.0, VICTIM)[0]
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    found = measured(made)
    assert found.drained is None
    assert found.why_not["drained"] == "1 of 20 exposed commands never took effect"


def test_a_fault_that_was_not_undone_or_not_proven_has_no_recovery_to_speak_of():
    made = complete()
    made.drop(Fault, lambda e: e.state in ("undoing", "undone", "clean"))
    assert measured(made).drained is None
    made.drop(Fault, lambda e: e.state == "proven")
    assert recovery.measure(made.history()) == []


def test_it_is_filled_into_a_verdict_and_decides_nothing():
    history = complete().history()
    verdict = checker.judge(history, "end")
    value = verdict.value
    assert recovery.add(verdict, history).recovery[0].component == f"agents/{VICTIM}"
    assert verdict.value == value
    assert verdict.to_json()["recovery"][0]["noticed"] == (0.04, 0.06)


def test_without_a_contract_nothing_is_measured():
    made = complete()
    made.contract = None
    assert recovery.measure(made.history()) == []
