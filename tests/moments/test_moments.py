"""What may be said in `at`, and when it comes: told by events alone."""

import json
import pathlib
import re

import pytest
from histories import Made, ns

from chaosreprise.errors import BadInput
from chaosreprise.history import Report
from chaosreprise.moments import Moment, needed, patience_s, read, words
from chaosreprise.moments.grammar import plain
from chaosreprise.moments.needs import unreachable, unseen
from chaosreprise.moments.watch import watch

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "moments.md").read_text()
EXAMPLES = dict(re.findall(r"^\| `(\{.*?\}|[\d.]+)` \| (.*?) \|$", PAGE, re.MULTILINE))
ARMED = 5.0


def story() -> Made:
    """A run in which a2 is lost: everything that the examples of the page wait for happens after it is armed."""
    made = Made()
    made.phase("baseline", 1.0, 4.9)
    made.phase("method", 4.9, 9.0)
    made.phase("quiet", 9.0, 12.0)
    made.agent("a1", "online", 0.1)
    made.agent("a2", "online", 0.1)
    made.owner = {"other": "a1"} | {f"s{number}": "a2" for number in range(1, 6)}
    for name in made.owner:
        made.session(name, "running", 0.2)
    made.command("wake", "s5", 2.0)
    made.command("wake", "other", 5.1)
    made.command("wake", "s1", 5.2)
    for number in range(3):
        made.command("start", f"new{number}", 5.3 + number * 0.1, agent="a2" if number == 1 else "a1")
    made.command("hibernate", "s2", 5.6)
    made.step("s1", 5.7)
    made.command("stop", "s3", 5.8)
    made.command("wake", "s5", 5.85, effect=1.0)
    made.command("stop", "s4", 5.9)
    made.agent("a2", "offline", 6.0)
    return made


def comes(at: object, made: Made | None = None, on: str = "agents/a2", looks_every: float = 0.0) -> float | None:
    """Seconds at which a moment has come, for who looks after each event, or so often."""
    moment = read("test", at)
    assert isinstance(moment, Moment)
    history = (made or story()).history()
    watching = watch(moment, [on])
    watching.feed(history.contract)
    events = history.events
    for event in events:
        if event.hi < ns(ARMED):
            watching.feed(event)
    watching.begin(ns(ARMED))
    looked = ns(ARMED)
    for event in (event for event in events if event.hi >= ns(ARMED)):
        if event.hi > looked + int(looks_every * 1e9):
            looked = event.hi
            if (came := watching.came()) is not None:
                return (came.at - ns(0)) / 1e9
        watching.feed(event)
    came = watching.came()
    return None if came is None else (came.at - ns(0)) / 1e9


COMES = {
    '{"phase": "quiet"}': 9.0,
    '{"after": {"accept": "start", "n": 3}}': 5.504,
    '{"after": {"accept": "wake"}, "before": "effect"}': 5.204,
    '{"after": {"submit": "step"}, "before": "b"}': 5.7,
    '{"after": {"sent": "stop", "n": 2, "of": "any"}, "within_s": 5}': 5.97,
    '{"while": "hibernate"}': 5.6,
    '{"all": [{"submit": "stop", "n": 2}, {"accept": "wake"}]}': 5.9,
    '{"all": [{"submit": "stop"}], "while": "wake"}': 5.85,
    '{"agent": "offline"}': 6.0,
}


def test_the_page_shows_every_form_and_each_is_tried():
    assert set(EXAMPLES) == {"2.5", *COMES}


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_the_page_is_what_its_words_say(text: str):
    at = read("test", json.loads(text))
    assert at is not None
    assert words(at) == EXAMPLES[text]
    assert plain(at) == json.loads(text)
    assert read("test", json.loads(json.dumps(plain(at)))) == at


@pytest.mark.parametrize("text", COMES)
def test_an_example_of_the_page_comes_when_it_says(text: str):
    on = "control-plane" if "step" in text else "agents/a2"
    assert comes(json.loads(text), on=on) == pytest.approx(COMES[text])


def test_the_action_of_the_page_is_one():
    action = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    at = read("agents.crash", action["provider"]["arguments"]["at"])
    assert f"kill the agent {words(at)}" == "kill the agent after a wake was accepted, before it took effect"


WRONG = [
    ("soon", 'agents.crash: at = "soon": expected seconds from 0 to 3600, or an object such as {"while": "wake"}'),
    (True, "agents.crash: at = true: expected seconds"),
    (-1, "agents.crash: at = -1: expected seconds"),
    ({}, "agents.crash: at: it names nothing: name one of after, all, while, agent, phase"),
    ({"before": "effect"}, "agents.crash: at: it names nothing: name one"),
    ({"while": "wake", "phase": "quiet"}, "agents.crash: at: it names while and phase: name one"),
    ({"all": [{"accept": "wake"}], "agent": "offline"}, "agents.crash: at: it names all and agent: name one"),
    ({"phase": "later"}, 'agents.crash: at.phase = "later": expected one of method, quiet, drain, clean'),
    ({"while": "sleep"}, 'agents.crash: at.while = "sleep": expected one of start, stop'),
    ({"after": {}}, 'agents.crash: at.after: it names no stage: name one, such as {"accept": "wake"} (submit, '),
    ({"after": {"accept": "wake", "b": "step"}}, "agents.crash: at.after: it names accept and b: name one"),
    ({"all": [{"accept": "wake"}, {}]}, "agents.crash: at.all[1]: it names no stage"),
    ({"after": {"accepted": "wake"}}, "agents.crash: at.after.accepted is not a setting: did you mean accept?"),
    ({"after": {"b": "wake"}}, 'agents.crash: at.after.b = "wake": expected step'),
    ({"after": {"accept": "wake", "n": 0}}, "agents.crash: at.after.n = 0: expected a whole number from 1 to 1000"),
    (
        {"after": {"accept": "wake"}, "before": "b"},
        'agents.crash: at.before = "b": a wake has no such stage: name one of answer, accept, pending, sent, ',
    ),
    (
        {"after": {"accept": "wake"}, "before": "accept"},
        'agents.crash: at.before = "accept": the command has come that far already: name a later stage',
    ),
    ({"while": "wake", "before": "effect"}, 'agents.crash: at.before = "effect": it goes with after'),
    (
        {"after": {"accept": "wake"}, "n": 2},
        "agents.crash: at: n and of belong to the event: put them beside its stage",
    ),
    ({"agent": "offline", "n": 2}, "agents.crash: at.n = 2: an agent is shown so or not: leave n out"),
    ({"agent": "offline", "within_s": 0}, "agents.crash: at.within_s = 0: expected seconds from above 0 to 3600"),
]


@pytest.mark.parametrize(("at", "says"), WRONG, ids=[str(at) for at, _ in WRONG])
def test_what_can_not_be_said_is_refused_in_one_sentence(at: object, says: str):
    with pytest.raises(BadInput) as error:
        read("agents.crash", at)
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("at", "group", "why"),
    [
        ({"while": "step"}, "agents", 'a step crosses nothing of agents: say "of": "any"'),
        ({"while": "step", "of": "any"}, "agents", None),
        ({"while": "step"}, "sessions", None),
        ({"while": "step"}, "control-plane", None),
        ({"while": "wake"}, "sessions", "a wake crosses nothing of sessions"),
        ({"while": "stop", "n": 2}, "sessions", "a session has one stop in a run: leave n out"),
        ({"after": {"accept": "start"}}, "sessions", None),
        ({"after": {"accept": "start", "of": "victim"}}, "sessions", "a start crosses nothing of sessions"),
        ({"agent": "offline"}, "database", 'it is on no agent: say "of": "any"'),
        ({"agent": "offline", "of": "any"}, "database", None),
        (3, "agents", None),
    ],
)
def test_a_moment_that_nothing_of_the_victim_can_bring_is_known_beforehand(at: object, group: str, why: str | None):
    found = unreachable(read("test", at), group)
    assert found is why is None or (why is not None and found is not None and found.startswith(why))


@pytest.mark.parametrize(
    ("at", "lacks"),
    [
        ({"agent": "offline"}, "rows"),
        ({"after": {"sent": "wake"}}, "rows, which show 'sent'"),
        ({"after": {"accept": "wake"}, "before": "sent"}, "rows, which show 'sent'"),
        ({"after": {"delivered": "wake"}, "before": "acked"}, "links to agents with taps, which show 'delivered'"),
        ({"while": "wake"}, "the effects of a wake"),
        ({"after": {"b": "step"}}, "the effects of a step"),
    ],
)
def test_a_moment_that_nothing_shows_is_known_beforehand(at: object, lacks: str):
    assert lacks in unseen(read("test", at), effects=(), rows=False, frames=False)
    assert unseen(read("test", at), effects=("wake", "step"), rows=True, frames=True) is None


def test_what_a_moment_needs_is_known_beforehand():
    assert needed(read("test", {"while": "wake", "n": 3})) == {"wake": 3}
    assert needed(read("test", {"all": [{"accept": "stop"}, {"submit": "stop", "n": 4}]})) == {"stop": 4}
    assert needed(read("test", {"agent": "offline"})) == needed(2.0) == needed(None) == {}
    assert [patience_s(read("test", at)) for at in (None, 4, {"while": "wake"}, {"while": "wake", "within_s": 7})] == [
        0,
        4,
        30,
        7,
    ]


def test_only_what_happens_once_it_is_armed_counts():
    assert comes({"after": {"accept": "wake", "of": "any"}}) == pytest.approx(5.104)
    assert comes({"after": {"accept": "wake", "of": "any", "n": 2}}) == pytest.approx(5.204)
    assert comes({"after": {"accept": "wake", "of": "any", "n": 4}}) is None


def test_a_command_that_is_under_way_when_it_is_armed_counts_for_what_it_reaches_later():
    made = story()
    made.command("hibernate", "s5", 4.99, effect=0.2)
    assert comes({"after": {"effect": "hibernate"}}, made) == pytest.approx(5.19)
    assert comes({"while": "hibernate"}, made) == pytest.approx(5.6)


def test_a_state_that_holds_already_comes_at_once():
    made = story()
    made.agent("a2", "offline", 4.5)
    assert comes({"agent": "offline"}, made) == ARMED
    assert comes({"phase": "method"}) == ARMED


def test_only_the_victims_agent_counts_unless_anybodys_does():
    made = story()
    made.agent("a3", "offline", 4.5)
    assert comes({"agent": "offline"}, made) == pytest.approx(6.0)
    assert comes({"agent": "offline", "of": "any"}, made) == ARMED


def test_who_looks_too_seldom_has_missed_a_narrow_moment():
    at = {"after": {"accept": "wake"}, "before": "effect"}
    assert comes(at, looks_every=10.0) is None
    moment = read("test", at)
    watching = watch(moment, ["agents/a2"])
    watching.begin(ns(ARMED))
    history = story().history()
    for event in (history.contract, *history.events):
        watching.feed(event)
    assert watching.missing() == "2 wake commands were accepted, 2 of which took effect too soon"


def test_a_later_command_will_do_where_the_first_had_gone_too_far():
    made = story()
    made.command("wake", "s4", 5.21, effect=5.0)
    at = {"after": {"accept": "wake"}, "before": "effect"}
    assert comes(at, made, looks_every=0.5) == pytest.approx(5.214)
    assert comes({**at, "after": {"accept": "wake", "n": 4}}, made) is None


def test_a_refused_command_is_not_under_way():
    made = Made()
    made.owner = {"s1": "a2"}
    made.command("hibernate", "s1", 5.5, effect=None, outcome="fail", row=None)
    assert comes({"while": "hibernate"}, made, looks_every=1.0) is None
    assert comes({"after": {"answer": "hibernate"}}, made) is None
    assert comes({"after": {"submit": "hibernate"}}, made) == pytest.approx(5.5)


def test_a_start_counts_for_an_agent_once_its_row_names_it():
    assert comes({"after": {"accept": "start", "of": "victim"}}) == pytest.approx(5.42)
    assert comes({"after": {"accept": "start", "of": "victim", "n": 2}}) is None


def test_a_row_that_is_seen_before_its_answer_is_not_forgotten():
    made = Made()
    made.owner = {"s1": "a2"}
    for op, session, at in (("stop", "s1", 5.5), ("start", "s9", 6.5)):
        cmd = made.submit(op, session if op == "stop" else None, at)
        made.row(f"p-{cmd}", session, op, "sent", at + 0.1)
        made.answer(cmd, at + 0.2, session=session if op == "start" else None)
    assert comes({"after": {"sent": "stop"}}, made) == pytest.approx(5.6)
    assert comes({"after": {"sent": "start"}}, made) == pytest.approx(6.6)


def test_a_row_that_is_over_has_been_everywhere_but_not_with_an_agent_when_it_failed():
    made = Made()
    made.owner = {"s1": "a2", "s2": "a2"}
    made.command("stop", "s1", 5.5, effect=None, row="failed")
    made.command("wake", "s2", 5.6, row="completed")
    made.events = [event for event in made.events if not (isinstance(event, Report) and event.state == "pending")]
    assert comes({"after": {"sent": "stop"}}, made) is None
    assert comes({"after": {"failed": "stop"}}, made) is not None
    assert comes({"after": {"pending": "stop"}}, made) is not None
    assert comes({"after": {"sent": "wake"}}, made) is not None


def frame(made: Made, name: str, state: str, at: float, **fields: str) -> None:
    made.add(Report(lo=ns(at), hi=ns(at), source="frames", about="frame", id=name, state=state, fields=fields))


def test_frames_that_pass_on_a_link_are_seen_also_before_the_answer():
    made = Made()
    made.owner = {"s1": "a2"}
    cmd = made.submit("stop", "s1", 5.5)
    frame(made, f"p-{cmd}", "delivered", 5.51, action="stop_session", session="s1")
    made.answer(cmd, 5.52)
    late = made.submit("start", None, 5.6)
    frame(made, f"p-{late}", "delivered", 5.61, action="start_session")
    frame(made, f"p-{late}", "acked", 5.615)
    made.answer(late, 5.62, session="s9")
    frame(made, f"p-{cmd}", "acked", 5.7)
    at = {"after": {"delivered": "stop"}, "before": "acked"}
    assert comes(at, made) == pytest.approx(5.51)
    assert comes(at, made, looks_every=1.0) is None
    assert comes({"after": {"acked": "stop"}}, made) == pytest.approx(5.7)
    assert comes({"after": {"delivered": "start"}}, made) == pytest.approx(5.61)
    assert comes({"after": {"acked": "start"}}, made) == pytest.approx(5.615)


def test_what_a_fault_on_a_link_waits_for_crosses_what_the_link_leads_to():
    at = {"after": {"accept": "wake"}, "before": "effect"}
    assert comes(at, on="links/agents/a2") == pytest.approx(5.204)
    assert comes({"agent": "offline"}, on="links/agents/a2") == pytest.approx(6.0)


def test_a_long_history_is_not_kept():
    made = Made()
    for number in range(2000):
        made.step("s1", 5.0 + number * 0.001)
    watching = watch(read("test", {"after": {"submit": "step", "n": 1000}, "before": "effect"}), ["control-plane"])
    watching.begin(ns(ARMED))
    kept = 0
    history = made.history()
    for event in (history.contract, *history.events):
        watching.feed(event)
        kept = max(kept, len(watching._open))
    assert kept < 20
    assert watching.came() is None
