"""A moment of the method is checked before anything is touched, shown by the plan, and provided for by the load."""

import copy
import json
import pathlib
from typing import Any

import pytest
from chaoslib.exceptions import InvalidActivity
from chaoslib.experiment import ensure_experiment_is_valid

from chaosreprise.errors import BadInput
from chaosreprise.moments import patience_s, words
from chaosreprise.run import method, plan, preview
from chaosreprise.workload.plan import Plan, Workload, make

FAILOVER = json.loads((pathlib.Path(__file__).resolve().parents[2] / "experiments" / "agent-failover.json").read_text())
BETWEEN = {"after": {"accept": "wake"}, "before": "effect"}
AGENTS = ["a1", "a2", "a3"]


def changed(step: int, **arguments: Any) -> dict[str, Any]:
    """The experiment with these arguments of one of its actions."""
    experiment = copy.deepcopy(FAILOVER)
    experiment["method"][step]["provider"].setdefault("arguments", {}).update(arguments)
    return experiment


@pytest.mark.parametrize(
    ("step", "arguments", "says"),
    [
        (
            0,
            {"at": {"after": {"accepted": "wake"}}},
            "agents.take_away: at.after.accepted is not a setting: did you mean",
        ),
        (0, {"at": "soon"}, 'agents.take_away: at = "soon": expected seconds from 0 to 3600'),
        (0, {"at": {"while": "step"}}, 'agents.take_away: at = {"while": "step"}: a step crosses nothing of agents'),
        (0, {"at": {"agent": "offline"}, "hold_s": 0}, "agents.take_away: hold_s = 0: expected seconds"),
        (1, {"at": {"agent": "offline", "phase": "quiet"}}, "commands.send: at: it names agent and phase"),
        (0, {"count": "many"}, 'agents.take_away: count = "many": expected a whole number'),
    ],
)
def test_a_wrong_moment_fails_validation_and_the_run(step: int, arguments: dict[str, Any], says: str) -> None:
    experiment = changed(step, **arguments)
    with pytest.raises(InvalidActivity) as invalid:
        ensure_experiment_is_valid(experiment)
    assert str(invalid.value).startswith(says)
    with pytest.raises(BadInput) as error:
        method.faults_of(json.loads(json.dumps(experiment["method"]).replace("${hold_s}", "6")))
    assert str(error.value).replace(", or", "").startswith(says.replace(", or", "")) or "seconds = " in str(error.value)


def test_a_moment_with_a_variable_in_it_is_checked_when_it_has_its_value() -> None:
    ensure_experiment_is_valid(changed(0, at={"after": {"accept": "${kind}"}}))
    ensure_experiment_is_valid(changed(0, at="${moment}"))
    ensure_experiment_is_valid(changed(0, at=BETWEEN))


def test_the_plan_shows_moments_in_words(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPRISE_PLATFORM", raising=False)
    experiment = changed(0, at=BETWEEN)
    experiment["configuration"]["exposure"] = 2
    experiment["method"][1]["provider"]["arguments"]["at"] = {"agent": "offline", "within_s": 5}
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    shown = "\n".join(preview.lines(str(tmp_path / "experiment.json")))
    assert "(1 of 3) after a wake was accepted, before it took effect, which it waits for 30 s; undo: it is" in shown
    assert "would send         commands for 6 s when its agent is shown offline, which it waits for 5 s" in shown


def test_a_wait_for_what_the_load_never_sends_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPRISE_PLATFORM", raising=False)
    experiment = changed(0, at={"while": "step", "of": "any"})
    experiment["controls"][0]["provider"]["arguments"]["workload"]["mix"] = {"read": 5.0}
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    with pytest.raises(BadInput, match=r"workload.mix has no step: agents.take_away waits for one: add it to the mix"):
        preview.lines(str(tmp_path / "experiment.json"))


@pytest.mark.parametrize(
    ("kind", "given", "prompts"),
    [
        ("agents.crash", {}, {}),
        ("agents.crash", {"in_flight": True}, {}),
        ("agents.crash", {"at": 2.0}, {}),
        ("agents.crash", {"at": {"agent": "offline"}}, {}),
        ("agents.crash", {"at": {"after": {"accept": "wake", "n": 2}}}, {"wake": 2}),
        ("agents.crash", {"at": BETWEEN}, {"wake": 1 + method.SPARE}),
        ("agents.crash", {"at": BETWEEN, "in_flight": True}, {}),
        ("agents.crash", {"at": {"after": {"accept": "start"}}, "in_flight": True}, {"start": 1}),
        ("agents.crash", {"at": {"after": {"accept": "start", "of": "victim"}}}, {"start": 3}),
        ("agents.crash", {"at": {"while": "step", "of": "any"}}, {}),
        ("sessions.crash", {"at": {"while": "step"}}, {"step": 1}),
        ("sessions.crash", {"at": {"while": "hibernate"}}, {"hibernate": 1}),
        ("control-plane.crash", {"at": {"all": [{"submit": "stop"}, {"submit": "stop", "n": 3}]}}, {"stop": 3}),
    ],
)
def test_what_a_moment_needs_is_sent_unless_it_is_there_anyway(
    kind: str, given: dict[str, Any], prompts: dict[str, int]
) -> None:
    assert method.wanted(kind, given).prompts(len(AGENTS)) == prompts


def test_commands_in_flight_are_a_moment_like_any_other() -> None:
    at = method.wanted("agents.crash", {"in_flight": True}).waits_for({"stop": 5, "wake": 2})
    assert at is not None
    assert words(at) == "after the 5th stop (anybody's) was sent and the 2nd wake (anybody's) was sent"
    assert patience_s(at) == 30
    stated = method.wanted("agents.crash", {"in_flight": True, "at": BETWEEN})
    both = stated.waits_for({"stop": 5})
    assert both is not None
    assert words(both) == "after the 5th stop (anybody's) was sent and a wake was accepted, before it took effect"
    assert method.wanted("agents.crash", {}).waits_for({"stop": 5}) is None


def load_of(prompts: dict[str, int]) -> Plan:
    return make(Workload(sessions=100), {"stop": 2}, AGENTS, ["u"], 100, 100.0, 1, prompts)


def test_the_load_keeps_what_moments_need_in_reserve() -> None:
    without = load_of({})
    assert load_of({"wake": 3}).per_agent == without.per_agent + 3
    more = load_of({"wake": 1, "stop": 2, "hibernate": 1})
    assert (more.wakes, more.ends, more.per_agent) == (1, 3, without.per_agent + 4)
    assert load_of({"start": 4}).starts == without.starts + 4


def test_the_patience_of_a_moment_counts_as_time_in_which_the_fault_may_be_on() -> None:
    for at, waits_s in ((None, 0), (4, 4), ({**BETWEEN, "within_s": 90}, 90)):
        planned = plan.shown(method.wanted("agents.take_away", {"at": at, "hold_s": 10.0}), AGENTS, 1)
        assert [intent.seconds for intent in planned.intents()] == [waits_s + 10 + 20]


def test_commands_at_a_moment_that_the_method_does_not_show_are_not_sent() -> None:
    stated = [
        {"provider": {"module": "chaosreprise.actions.commands", "func": "send", "arguments": given}}
        for given in ({"seconds": 2.0}, {"seconds": 2.0, "at": {"agent": "offline"}})
    ]
    (batch,) = method.batches_of(stated)
    assert method.batch({"seconds": 2.0, "at": {"agent": "offline"}}) == batch
    assert method.batch({"seconds": 2.0}) is None
