"""A fault that waited for its moment, judged by the history: met, missed, or nobody knows. Only the first may pass."""

from collections.abc import Callable
from typing import Any

import pytest
from histories import CLEAN, UNDOING, VICTIM, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Coverage, Effect, Fault, Observe, Phase, Report, Submit
from chaosreprise.history.events import MOMENT, Awaited
from chaosreprise.moments import read, words

SESSION = "s-a2-moment"
ARMED, SENT, STRUCK = 4.8, 4.9, 5.01
BETWEEN = {"after": {"accept": "hibernate"}, "before": "effect"}


def waited(at: Any = BETWEEN, effect: float = UNDOING + 0.3 - SENT, wide: float = 0.002, **moment: Any) -> Made:
    """A correct run in which the fault waits until a hibernation was accepted, and strikes before it takes effect."""
    made = complete()
    made.command("start", SESSION, 0.8, agent=VICTIM)
    cmd = made.command("hibernate", SESSION, SENT, effect=effect)
    made.command("stop", SESSION, CLEAN + 0.6)
    told = Awaited(at=at, say=words(read("test", at)))
    came = {"came": ns(SENT + 0.004), "cmds": [cmd], **moment}
    shift(made, "armed", ARMED, told)
    shift(made, "injected", STRUCK, Awaited(at=at, say=told.say, **came), wide)
    return made


def shift(made: Made, state: str, at: float, moment: Awaited | None = None, wide: float = 0.0) -> None:
    (event,) = made.find(Fault, lambda e: e.state == state)
    event.lo, event.hi, event.moment = ns(at), ns(at + wide), moment


def told(made: Made) -> str:
    """What is doubted of its moment; empty when it was met, and then the run passes."""
    verdict = checker.judge(made.history(), "end")
    found = [doubt.why for doubt in verdict.doubts if "moment" in doubt.why]
    assert (verdict.value == "true") is not bool(found), verdict.why
    return " ".join(found)


def test_a_fault_that_struck_in_its_moment_passes_and_says_so():
    verdict = checker.judge(waited().history(), "end")
    assert (verdict.value, verdict.doubts) == ("true", [])
    assert verdict.faults[0].moment == "after a hibernate was accepted, before it took effect"


def test_a_command_that_took_effect_before_it_struck_was_missed():
    assert told(waited(effect=0.09)) == (
        "agents.take_away on agents/a2: its moment was missed: cmd-0239 took effect at 4.990 s, and it struck at 5.010 s "
        "(after a hibernate was accepted, before it took effect)"
    )


def test_a_command_that_took_effect_just_after_it_struck_was_not():
    assert told(waited(effect=0.1121)) == ""


def test_a_command_that_took_effect_while_it_struck_may_have_been_missed():
    why = told(waited(effect=0.111))
    assert "its moment may have been missed: whether cmd-0239 took effect before it struck can't be told" in why


def another(made: Made, session: str, agent: str, effect: float = UNDOING + 0.4 - SENT) -> str:
    """A session with a hibernation that was accepted before the strike, too."""
    made.command("start", session, 0.81, agent=agent)
    cmd: str = made.command("hibernate", session, SENT + 0.01, effect=effect)
    made.command("stop", session, CLEAN + 0.61)
    return cmd


def test_one_command_that_was_not_too_far_is_enough_recorded_or_not():
    made = waited(effect=0.05)
    assert "its moment was missed" in told(made)
    late = another(made, "s-a2-other", VICTIM)
    assert told(made) == ""
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.cmds.append(late)
    assert told(made) == ""


def test_commands_that_were_too_far_or_on_another_agent_are_not():
    made = waited(effect=0.05)
    another(made, "s-a2-other", VICTIM, effect=0.04)
    another(made, "s-a1-other", "a1")
    assert "its moment was missed" in told(made)


def test_of_a_moment_at_the_second_command_the_first_one_is_not():
    between = {"after": {"accept": "hibernate", "n": 2}, "before": "effect"}
    made = waited(at=between)
    second = another(made, "s-a2-other", VICTIM, effect=0.05)
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.cmds[:] = [second]
    assert "its moment was missed" in told(made)


def drop_armed(made: Made) -> None:
    made.drop(Fault, lambda e: e.state == "armed")


def forget(made: Made) -> None:
    shift(made, "injected", STRUCK, None, 0.002)


def no_strike(made: Made) -> None:
    made.drop(Fault, lambda e: e.state == "injected")


def no_command(made: Made) -> None:
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.cmds[:] = []


def unknown_command(made: Made) -> None:
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.cmds[:] = ["cmd-9999"]


def another_kind(made: Made) -> None:
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.cmds[:] = [made.commands("stop", since=UNDOING)[0].cmd]


def another_agent(made: Made) -> None:
    (submit,) = made.find(Submit, lambda e: e.session == SESSION and e.op == "hibernate")
    submit.path = ["control-plane", "database", "agents/a1"]


def blind_ledger(made: Made) -> None:
    made.gap("slots", SENT + 0.02, SENT + 0.05)


def blind_session(made: Made) -> None:
    made.gap(f"slots/{SESSION}", SENT + 0.02, SENT + 0.05)


def not_countable(made: Made) -> None:
    for effect in made.find(Effect, lambda e: e.session == SESSION):
        effect.gen = None


def whose(made: Made) -> None:
    """Another hibernation of the session, sent before it, has one of the two effects."""
    made.command("hibernate", SESSION, SENT - 0.05, effect=UNDOING + 0.2 - SENT)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (drop_armed, "its moment can't be told: nothing says when it was armed"),
        (forget, "nothing says that its moment came"),
        (no_strike, "nothing says that its moment came"),
        (no_command, "its moment can't be told: no hibernate of it surely was accepted before it struck"),
        (unknown_command, "its moment can't be told: a command of it is not in the history"),
        (another_kind, "no hibernate of it surely was accepted before it struck"),
        (another_agent, "no hibernate of it surely was accepted before it struck"),
        (blind_ledger, "its moment may have been missed"),
        (blind_session, "its moment may have been missed"),
        (not_countable, "its moment may have been missed"),
        (whose, "its moment may have been missed"),
    ],
)
def test_what_is_taken_out_of_the_evidence_makes_it_unknown(spoil: Callable[[Made], object], why: str):
    made = waited()
    spoil(made)
    assert why in told(made)


def test_a_command_that_was_accepted_only_after_it_struck_did_not_make_it_come():
    made = waited()
    shift(made, "injected", SENT + 0.002, made.find(Fault, lambda e: e.state == "injected")[0].moment, 0.001)
    assert "no hibernate of it surely was accepted before it struck" in told(made)


def test_a_command_that_was_accepted_before_it_was_armed_did_not_make_it_come():
    made = waited()
    shift(made, "armed", SENT + 0.05, made.find(Fault, lambda e: e.state == "armed")[0].moment)
    assert "no hibernate of it surely was accepted before it struck" in told(made)


def test_a_moment_that_did_not_come_is_named_and_nothing_was_broken():
    made = waited()
    why = "its moment did not come within 30 s (after a wake was accepted): 0 of 1 wake commands were accepted"
    made.drop(Fault, lambda e: e.state in ("injected", "proven"))
    shift(made, "undoing", UNDOING, Awaited(at=BETWEEN, say="so", why=why))
    assert told(made) == f"agents.take_away on agents/a2: it was armed and never made: {why}"


def test_a_fault_that_waited_did_nothing_before_it_struck():
    """A violation before it is one of the baseline, whenever it was armed."""
    made = waited()
    made.effect("wake", "s-a1-cycle", 2.2)
    shift(made, "armed", 1.5, made.find(Fault, lambda e: e.state == "armed")[0].moment)
    found = checker.judge(made.history(), "end").checks["duplicate"]
    assert (found.count, found.baseline) == ((1, 1), 1)


ROWS = {"after": {"accept": "hibernate"}, "before": "sent"}


def test_rows_count_as_they_were_seen():
    made = waited(ROWS)
    assert told(made) == "", "its row waits, and is completed when the agent is back"
    made.row("p-cmd-0239", SESSION, "hibernate", "sent", STRUCK - 0.01)
    assert "its moment was missed: cmd-0239 was given to its agent at 5.000 s" in told(made)


def test_a_row_that_failed_may_have_been_given_to_its_agent_before():
    made = waited(ROWS)
    (done,) = made.find(Report, lambda e: e.id == "p-cmd-0239" and e.state == "completed")
    done.state, done.lo, done.hi = "failed", ns(STRUCK - 0.03), ns(STRUCK - 0.01)
    verdict = checker.judge(made.history(), "end")
    assert any("its moment was missed" in doubt.why for doubt in verdict.doubts)
    after = waited({"after": {"sent": "hibernate"}})
    (done,) = after.find(Report, lambda e: e.id == "p-cmd-0239" and e.state == "completed")
    done.state, done.lo, done.hi = "failed", ns(STRUCK - 0.03), ns(STRUCK - 0.01)
    verdict = checker.judge(after.history(), "end")
    assert any("no hibernate of it surely was given to its agent" in doubt.why for doubt in verdict.doubts)


ACKED = {"after": {"delivered": "hibernate"}, "before": "acked"}


def passed(made: Made, state: str, at: float) -> None:
    made.add(Report(lo=ns(at), hi=ns(at), source="frames", about="frame", id="p-cmd-0239", state=state, owner=VICTIM))


def test_frames_count_as_they_passed():
    made = waited(ACKED)
    made.cover("frames", 0.5)
    passed(made, "delivered", SENT + 0.01)
    assert told(made) == ""
    passed(made, "acked", STRUCK + 0.5)
    assert told(made) == ""
    passed(made, "acked", STRUCK - 0.01)
    assert "its moment was missed: cmd-0239 was acknowledged by its agent at 5.000 s" in told(made)


def test_where_nobody_read_along_it_can_not_be_told():
    made = waited(ACKED)
    assert "no hibernate of it surely was delivered to its agent before it struck" in told(made)
    passed(made, "delivered", SENT + 0.01)
    assert "its moment may have been missed" in told(made), "a link that nobody reads shows no acknowledgement either"
    made.cover("frames", 0.5)
    assert told(made) == ""
    made.gap("frames", SENT + 0.02, SENT + 0.03, why="the link is encrypted")
    assert "its moment may have been missed" in told(made)


def test_an_agent_that_goes_another_way_shows_no_silence():
    made = waited({"after": {"accept": "hibernate"}, "before": "acked"})
    made.cover("frames", 0.5)
    assert "its moment may have been missed" in told(made)
    passed(made, "delivered", 2.0)
    assert told(made) == ""


def test_rows_that_were_not_read_tell_nothing():
    made = waited(ROWS)
    made.gap("rows", SENT + 0.02, SENT + 0.05)
    assert "its moment may have been missed" in told(made)


def test_a_step_is_between_its_submission_and_its_beginning():
    made = waited({"after": {"submit": "step", "of": "any"}, "before": "b"}, wide=0.0002)
    step = next(e for e in made.commands("step") if e.lo >= ns(STRUCK))
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.cmds[:] = [step.cmd]
    injected.lo, injected.hi = step.lo + 100_000, step.lo + 300_000
    assert told(made) == ""
    injected.lo, injected.hi = step.lo + 1_200_000, step.lo + 1_300_000
    assert f"its moment was missed: {step.cmd} began" in told(made)


@pytest.mark.parametrize(
    ("at", "met"),
    [
        ({"phase": "method"}, True),
        ({"phase": "quiet"}, False),
        (STRUCK - ARMED, True),
        (STRUCK - ARMED + 0.1, False),
        ({"agent": "online"}, True),
        ({"agent": "offline"}, False),
        ({"agent": "online", "of": "any"}, True),
    ],
)
def test_seconds_phases_and_states_are_looked_up(at: Any, met: bool):
    assert (told(waited(at, cmds=[])) == "") is met


def test_a_phase_that_was_over_was_missed():
    made = waited({"phase": "method"}, cmds=[])
    (end,) = made.find(Phase, lambda e: (e.name, e.edge) == ("method", "end"))
    end.lo = end.hi = ns(STRUCK + 0.001)
    assert "its moment was missed: the phase method was over" in told(made)


def test_a_moment_that_nobody_can_read_is_unknown():
    made = waited()
    (injected,) = made.find(Fault, lambda e: e.state == "injected")
    injected.moment.at = {"phase": "baseline"}
    assert "its moment can't be read: moment: at.phase" in told(made), "nobody may wait for the baseline"


def test_an_agent_that_was_shown_otherwise_just_then_may_have_been_missed():
    made = waited({"agent": "online"}, cmds=[])
    made.agent(VICTIM, "offline", STRUCK + 0.01)
    assert "its moment may have been missed: a2 was shown offline then" in told(made)


def test_an_agent_of_which_nothing_was_read_just_then_may_have_been_missed():
    made = waited({"agent": "online"}, cmds=[])
    made.gap("rows", STRUCK - 0.05, STRUCK - 0.02)
    assert "its moment may have been missed: a2 was shown nobody knows how then" in told(made)


def batch(made: Made, came: float | None = 5.25, at: Any = None, **more: Any) -> Made:
    """Commands that waited until the agent was shown offline: those of the run are sent from 5.3 s on."""
    at = {"agent": "offline"} if at is None else at
    say = words(read("test", at))
    for when, moment in (
        (5.05, {"at": at, "say": say}),
        (5.25, {"at": at, "say": say, "came": came and ns(came), **more}),
    ):
        value = {"batch": "b1", "victims": [f"agents/{VICTIM}"], "moment": {k: v for k, v in moment.items() if v}}
        made.add(Observe(lo=ns(when), hi=ns(when), source="owner", signal=MOMENT, value=value))
    return made


def test_commands_that_were_sent_at_their_moment_pass():
    assert told(batch(complete())) == ""


def test_commands_whose_moment_did_not_come_were_not_sent():
    why = "its moment did not come within 30 s (when its agent is shown offline): a2 is shown online"
    assert (
        told(batch(complete(), None, why=why)) == f"the commands were not sent: {why} (when its agent is shown offline)"
    )


def test_commands_that_were_sent_too_late_missed_their_moment():
    made = batch(complete())
    made.agent(VICTIM, "online", 5.27)
    made.agent(VICTIM, "offline", 5.9)
    assert "its moment may have been missed" in told(made) or "can't be told" in told(made)


def test_what_waited_and_was_never_heard_of_again_is_unknown():
    made = batch(complete())
    made.events.remove(made.find(Observe, lambda e: e.signal == MOMENT)[-1])
    assert "nothing says that their moment came" in told(made)


def test_a_batch_that_nobody_can_read_is_unknown_and_no_crash_of_judging():
    made = complete()
    made.add(Observe(lo=ns(5.1), hi=ns(5.1), source="owner", signal=MOMENT, value={"batch": 1}))
    assert checker.judge(made.history(), "end").value == "unknown"


def test_a_history_without_coverage_never_met_a_moment():
    made = waited()
    made.drop(Coverage, lambda e: e.of in ("slots", "rows"))
    assert told(made) != ""
