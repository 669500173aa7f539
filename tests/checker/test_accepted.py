"""Known violations: they are told as known and decide nothing, and never hide something else."""

import datetime
import json
import random
import re

import msgspec
import pytest
from histories import Made, complete, ns

from chaosreprise import checker, report
from chaosreprise.checker import Witness, accepted, reference
from chaosreprise.history import Effect, Segment
from chaosreprise.history.statements import Known

DAY = "2027-01-15"  # the histories begin on that day
WAKE = Known(
    check="lost",
    match="* wake of session *: accepted at * s, no effect until * s [stuck]",
    why="the queue is lost when an agent comes back (TICKET-7)",
    expires="2027-01-31",
)


def losing(*sessions: str, known: list[Known] = [], **changes) -> Made:  # noqa: B006 - it is not changed
    """A run in which wakes of these sessions of the broken agent never took effect."""
    made = complete(known=list(known), **changes)
    for session in sessions:
        made.drop(Effect, lambda e, session=session: e.session == session and e.mark == "up" and e.lo > ns(5))
        for row in [
            e for e in made.events if getattr(e, "about", "") == "command" and e.fields.get("session") == session
        ]:
            if row.fields["action"] == "wake_session" and row.state == "completed":
                row.state = "ack"
    return made


def judged(made: Made, stage="end") -> checker.Verdict:
    return checker.judge(made.history(), stage)


def test_the_histories_are_of_the_day_that_they_say():
    assert accepted.day_of(complete().history()) == datetime.date.fromisoformat(DAY)


def test_without_the_entry_the_run_fails():
    verdict = judged(losing("s-a2-hib0"))
    assert (verdict.value, verdict.checks["lost"].labels) == ("false", {"stuck": 1})


def test_a_known_violation_is_told_and_decides_nothing():
    verdict = judged(losing("s-a2-hib0", "s-a2-hib1", known=[WAKE]))
    found = verdict.checks["lost"]
    assert (verdict.value, found.value, found.count, found.known, found.besides) == ("true", "false", (2, 2), 2, "true")
    assert [(told.seen, told.gone) for told in verdict.known] == [(2, False)]
    assert any(reason.endswith("; known") for reason in verdict.why)


def test_a_known_violation_is_in_every_report():
    made = losing("s-a2-hib0", known=[WAKE])
    verdict = judged(made)
    shown = report.console(verdict, "runs/x")
    assert "PASS" in shown
    assert "known      lost 1: the queue is lost when an agent comes back (TICKET-7) (until 2027-01-31)" in shown
    assert "lost 1 (known)" in shown
    assert "Known violations" in report.page(verdict, made.history())
    assert "<failure" not in report.suite(verdict)
    assert "known:" in report.suite(verdict)
    assert json.loads(report.verdict_json(verdict))["known"][0]["seen"] == 1


def test_another_kind_of_command_is_new():
    made = losing("s-a2-hib0", known=[WAKE])
    made.drop(Effect, lambda e: e.session == "s-a2-run0" and e.mark == "down" and e.lo > ns(5) and e.gen == 2)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].known, verdict.checks["lost"].besides) == ("false", 1, None)


def test_another_label_or_the_baseline_is_new():
    silent = complete(known=[WAKE])
    silent.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > ns(5))
    assert judged(silent).value == "false"
    early = complete(known=[WAKE])
    early.command("wake", "s-a1-hib0", 1.2, effect=None, row="ack")
    found = judged(early).checks["lost"]
    assert (found.baseline, found.besides) == (1, None)


def test_the_same_words_of_another_check_are_new():
    other = Known(check="duplicate", match=WAKE.match, why="x", expires="2027-01-31")
    assert judged(losing("s-a2-hib0", known=[other])).value == "false"


def test_what_may_be_violated_besides_is_unknown():
    made = losing("s-a2-hib0", known=[WAKE])
    made.gap("slots", 9.0, 9.1)
    made.command("hibernate", "s-a1-run0", 8.9, effect=None)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].besides) != ("true", "true")


def test_violations_without_a_witness_are_new():
    """Only so many witnesses are kept: of the others nobody knows what they are."""
    many = Known(check="phantom", match="* stop of session * acted and nobody asked", why="x", expires="2027-01-31")
    finding = checker.Finding(
        value="false",
        count=(80, 80),
        witnesses=[checker.Witness(say=many.match.replace("*", "c1"), cmd="c1", op="stop", session="c1")] * 50,
    )
    verdict = checker.Verdict(value="false", stage="end", checks={"phantom": finding})
    accepted.apply(verdict, complete(known=[many]).history())
    assert (finding.known, finding.besides) == (50, None)


def test_what_does_not_show_up_any_more_is_told():
    verdict = judged(complete(known=[WAKE]))
    assert (verdict.value, [told.gone for told in verdict.known]) == ("true", [True])
    assert "does not show up any more" in " ".join(report.console(verdict, "runs/x").split())
    assert [told.gone for told in judged(complete(known=[WAKE]), "clean").known] == [False]


def test_an_expired_entry_hides_nothing_and_makes_the_run_unknown():
    over = Known(check="lost", match=WAKE.match, why=WAKE.why, expires="2027-01-14")
    assert judged(losing("s-a2-hib0", known=[over])).value == "false"
    verdict = judged(complete(known=[over]))
    assert verdict.value == "unknown"
    assert "expired on 2027-01-14: the queue is lost" in verdict.why[0]
    last = Known(check="lost", match=WAKE.match, why=WAKE.why, expires=DAY)
    assert judged(losing("s-a2-hib0", known=[last])).value == "true"


@pytest.mark.parametrize("match", ["*", "* * * * *", "*e* *s* *a*", "* s *", "[stuck]"])
def test_a_pattern_that_could_hide_anything_hides_nothing(match):
    vague = Known(check="lost", match=match, why="x", expires="2027-01-31")
    verdict = judged(losing("s-a2-hib0", known=[vague]))
    assert verdict.value == "false"
    assert any(doubt.what == "known" for doubt in verdict.doubts)


def test_a_star_stands_for_one_word_only():
    wide = Known(check="lost", match="* wake of session *", why="x", expires="2027-01-31")
    assert judged(losing("s-a2-hib0", known=[wide])).value == "false"


def test_a_pattern_may_be_narrower():
    narrow = Known(
        check="lost", match=WAKE.match.replace("session *", "session s-a2-hib0"), why="x", expires="2027-01-31"
    )
    assert judged(losing("s-a2-hib0", known=[narrow])).value == "true"
    assert judged(losing("s-a2-hib1", known=[narrow])).value == "false"


def test_what_is_accepted_of_a_run_is_known_in_the_next_and_says_nothing_of_names_and_times():
    verdict = judged(losing("s-a2-hib0", "s-a2-hib1"))
    entries = list(accepted.entries_for(verdict, "x", "2027-01-31"))
    assert [entry.match for entry in entries] == [WAKE.match]
    assert list(accepted.entries_for(judged(losing("s-a2-hib0", known=entries)), "x", "2027-01-31")) == []


@pytest.mark.parametrize("check", [record["name"] for record in reference.data()])
def test_each_check_has_witnesses_that_can_be_accepted(check):
    violation, _ = reference.examples(check)
    finding = reference.judged(check, violation.history)
    verdict = checker.Verdict(value="false", stage="end", checks={check: finding})
    entries = list(accepted.entries_for(verdict, "x", "2027-01-31"))
    assert entries
    assert not any(accepted.is_vague(entry.match) for entry in entries)
    contract = msgspec.structs.replace(violation.history.contract, known=entries)
    assert reference.judged(check, violation.history._replace(contract=contract)).besides is not None


def test_a_status_stays_in_a_pattern():
    witness = checker.Witness(
        say="cmd-0012 start of session s1: status 202 in 0.503 s, after 503", cmd="cmd-0012", op="start", session="s1"
    )
    assert accepted.pattern_of(witness) == "* start of session *: status 202 in * s, after *"


def test_a_history_without_a_contract_or_without_a_day_still_has_a_verdict():
    made = complete(known=[Known(check="lost", match=WAKE.match, why="x", expires="2027-02-31")])
    assert judged(made).value == "unknown"
    made.contract = None
    assert judged(made).value == "unknown"
    assert isinstance(made.segments[0], Segment)


def test_many_stars_match_as_one_does_and_at_once():
    def plainly(match: str, text: str) -> bool:
        """As it is meant, and too slow for many stars."""
        return re.fullmatch(r"\S*".join(map(re.escape, match.split("*"))), text) is not None

    chance = random.Random(1)
    drawn = [["".join(chance.choices("ab *", [3, 2, 1, 3 - 3 * side], k=9)) for side in (0, 1)] for _ in range(4000)]
    told = []
    for match, say in ([" ".join(text.split()) for text in pair] for pair in drawn):
        witness = Witness(say=say, cmd="", op="", session=None)
        told.append(accepted.matches(Known(check="lost", match=match, why="x", expires=DAY), "lost", witness))
        assert told[-1] == plainly(match, say), (match, say)
    assert 20 < sum(told) < 2000
    endless = Known(check="lost", match="*a" * 900 + "b", why="x", expires=DAY)
    assert not accepted.matches(endless, "lost", Witness(say="a" * 5000, cmd="", op="", session=None))
