"""Faults on links: a fault on an agent's link concerns that agent's sessions, one on another link all that crosses it."""

import pytest
from histories import BACK, PROVEN, VICTIM, complete, thorough

from chaosreprise import checker
from chaosreprise.checker.life import Life
from chaosreprise.history import Effect, Fault, Report, Submit

LINK = f"links/agents/{VICTIM}"


def judged(made):
    return checker.judge(made.history(), "end")


def on_link(kind="links.freeze", component=LINK, proof=None, **changes):
    """The run of an agent that was away, but it is its link that was broken; each command names the links that it crosses."""
    made = complete(**changes)
    for event in made.find(Fault):
        event.kind, event.component = kind, component
        if event.state == "proven":
            event.proof = {"direction": "both"} | (proof or {})
    for cmd in made.find(Submit):
        cmd.path += ["links/clients", "links/database", *(["links/sessions"] if cmd.op == "step" else [])]
        cmd.path += [f"links/{name}" for name in cmd.path if name.startswith("agents/")]
    return made


@pytest.mark.parametrize("kind", ["links.freeze", "links.blackhole", "links.refuse", "links.latency", "links.flap"])
def test_a_fault_on_an_agents_link_counts_the_commands_of_its_sessions(kind):
    verdict = judged(on_link(kind))
    assert verdict.value == "true"
    assert {op: verdict.exposure[op].during for op in ("stop", "hibernate", "wake")} == {
        "stop": 10,
        "hibernate": 5,
        "wake": 5,
    }
    assert verdict.faults[0].component == LINK


def test_commands_of_other_agents_sessions_do_not_cross_it():
    verdict = judged(on_link(component="links/agents/a1"))
    assert (verdict.value, verdict.exposure["hibernate"].during) == ("unknown", 0)


def test_commands_whose_path_does_not_name_the_link_do_not_count():
    made = on_link()
    for cmd in made.find(Submit):
        cmd.path = [name for name in cmd.path if not name.startswith("links/")]
    verdict = judged(made)
    assert (verdict.value, verdict.exposure["wake"].during) == ("unknown", 0)


def test_a_session_whose_row_names_another_agent_is_not_concerned():
    made = on_link()
    for report in made.find(Report, lambda one: one.about == "session" and one.owner == VICTIM):
        report.owner = "a1"
    assert judged(made).exposure["hibernate"].during == 0


@pytest.mark.parametrize(
    ("component", "steps"), [("links/sessions", True), ("links/clients", True), ("links/database", True)]
)
def test_a_fault_on_another_link_counts_what_crosses_it(component, steps):
    verdict = judged(on_link("links.latency", component, exposure={"step": 5}))
    assert (verdict.exposure["step"].during > 0) is steps
    assert (verdict.exposure.get("hibernate") is None) is (component == "links/sessions")


def test_an_agent_that_is_online_behind_a_slow_link_is_exposed_all_the_same():
    made = on_link("links.latency")
    made.agent(VICTIM, "online", 5.5)
    assert judged(made).exposure["hibernate"].during == 5


@pytest.mark.parametrize("kind", ["links.freeze", "links.blackhole", "links.refuse"])
def test_an_agent_that_is_seen_online_behind_a_dead_link_is_back(kind):
    made = on_link(kind)
    made.agent(VICTIM, "online", 5.5)
    verdict = judged(made)
    assert (verdict.value, verdict.exposure["hibernate"].during) == ("unknown", 2)


def test_of_a_fault_on_some_connections_nobody_knows_which_commands_crossed_it():
    verdict = judged(on_link("links.freeze", "links/database", {"spared": 3}))
    assert (verdict.value, verdict.exposure["stop"].during) == ("unknown", 0)


def test_a_lost_command_behind_a_link_is_lost():
    made = on_link("links.blackhole")
    cmd = made.commands("wake", 5.1, 8, VICTIM)[0]
    made.drop(Effect, lambda one: one.session == cmd.session and one.mark == "up" and one.lo > cmd.lo)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].value) == ("false", "false")


def test_a_fault_that_its_server_lost_makes_the_run_unknown():
    made = on_link()
    for event in made.find(Fault, lambda one: one.state == "undone"):
        event.by = "server"
    verdict = judged(made)
    assert verdict.value == "unknown"
    assert any("the proxy's server had lost it" in why for why in verdict.why)


@pytest.mark.parametrize(
    ("kind", "component", "proof", "away"),
    [
        ("agents.take_away", "agents/a1", {}, True),
        ("agents.crash_loop", "agents/a1", {}, False),
        ("links.freeze", "links/agents/a1", {}, True),
        ("links.freeze", "links/agents/a1", {"direction": "to"}, False),
        ("links.blackhole", "links/database", {"spared": 1}, False),
        ("links.refuse", "links/database", {}, True),
        ("links.latency", "links/database", {}, False),
        ("links.flap", "links/agents/a1", {}, False),
        ("database.hang", "database", {"direction": "both"}, True),
    ],
)
def test_what_is_out_of_the_world_while_a_fault_is_on(kind, component, proof, away):
    proven = Fault(lo=1, hi=2, fault="f1", kind=kind, component=component, state="proven", proof=proof)
    assert Life("f1", kind, component, {"proven": proven}).away is away


@pytest.mark.parametrize("kind", ["database.refuse", "database.hang"])
def test_success_while_the_link_to_the_store_is_dead_is_a_leak_or_fails_open(kind):
    """The same histories as of a database that is away: the store is judged behind its link as well."""
    made = thorough("fail-open")
    for event in made.find(Fault, lambda one: one.fault == "f2"):
        event.kind, event.component = kind, "links/database"
    for cmd in made.find(Submit):
        cmd.path = [*cmd.path, "links/database"]
    assert judged(made).checks["fail-open"].value == "true"
    cmd = made.submit("wake", "s-a1-out", BACK - 0.1)
    made.answer(cmd, BACK - 0.09)
    assert judged(made).value != "true"


def test_work_given_to_an_agent_behind_a_dead_link_is_misassigned():
    made = on_link("links.freeze", require=["misassigned"], exposure={"stop": 1})
    assert judged(made).checks["misassigned"].value == "true"
    made.command("start", "s-bad", PROVEN + 2.0, effect=None, agent=VICTIM, row="pending")
    assert judged(made).checks["misassigned"].value == "false"


def test_work_given_to_an_agent_behind_a_slow_link_is_not():
    made = on_link("links.latency", require=["misassigned"], exposure={"stop": 1})
    made.drop(Report, lambda one: one.about == "agent" and one.state == "offline")
    made.command("start", "s-good", PROVEN + 2.0, effect=0.5, agent=VICTIM)
    assert judged(made).checks["misassigned"].count == (0, 0)
