"""No pass by blindness: whatever evidence is taken out of a correct history, its verdict is not true."""

from collections.abc import Callable

import pytest
from histories import (
    CLEAN,
    CLEANED,
    CLOSED,
    DRAIN,
    PROVEN,
    SECOND,
    UNDOING,
    UNDONE,
    VICTIM,
    Made,
    complete,
    ns,
)

from chaosreprise import checker
from chaosreprise.checker import registry
from chaosreprise.history import Answer, Coverage, Effect, Fault, Observe, Phase, Report, Submit
from chaosreprise.history.events import UNMADE

SOURCES = ("slots", "workspaces", "rows")


def off(made: Made, of: str) -> None:
    made.drop(Coverage, lambda e: e.of == of)


def stops(made: Made, of: str, at: float = 6.0) -> None:
    made.drop(Coverage, lambda e: e.of == of and not e.on)
    made.cover(of, at, on=False, why="it vanished")


def starts_late(made: Made, of: str, at: float = 6.0) -> None:
    made.drop(Coverage, lambda e: e.of == of and e.on)
    made.cover(of, at)


def resumes(made: Made, of: str) -> None:
    made.gap(of, PROVEN + 0.5, PROVEN + 1.0)


def blind(made: Made, of: str) -> None:
    """The source says that it watched, and saw nothing."""
    if of == "rows":
        made.drop(Report)
    else:
        made.drop(Effect, lambda e: e.ledger == of)


def killed(made: Made, writer: str, at: float = 6.0) -> None:
    """Nothing of this writer is left from `at` on."""
    kinds = {"load": (Submit, Answer, Observe), "recorder": (Effect, Report), "owner": (Phase,), "warden": (Fault,)}[
        writer
    ]
    made.events = [
        event
        for event in made.events
        if event.hi <= ns(at)
        or not (
            isinstance(event, kinds)
            or (isinstance(event, Coverage) and writer == (event.of if event.of in ("load", "warden") else "recorder"))
        )
    ]


def truncated(made: Made, writer: str) -> None:
    killed(made, writer, 18.0)
    made.torn.append(f"{writer}.jsonl")


def fault_event(made: Made, state: str) -> Fault:
    return made.find(Fault, lambda e: e.state == state)[0]


def without_fault(made: Made) -> None:
    made.drop(Fault)


def second_fault_unmade(made: Made) -> None:
    value = {"kind": "agents.crash", "why": "agents/a1 has no connection to anywhere"}
    made.add(Observe(lo=ns(6.0), hi=ns(6.0), source="owner", signal=UNMADE, value=value))


def unproven(made: Made) -> None:
    made.drop(Fault, lambda e: e.state == "proven")


def second_fault_unproven(made: Made) -> None:
    states = {"armed": 6.0, "injected": 6.1, "undoing": 6.2, "undone": 6.3, "clean": 6.4}
    made.fault("agents/a1", states, fault="f2")


def by_lease(made: Made) -> None:
    fault_event(made, "undone").by = "lease"


def by_keeper(made: Made) -> None:
    fault_event(made, "undone").by = "keeper"


def leaked(made: Made) -> None:
    fault_event(made, "clean").state = "leaked"


def never_undone(made: Made) -> None:
    made.drop(Fault, lambda e: e.state in ("undoing", "undone", "clean"))


def never_clean(made: Made) -> None:
    made.drop(Fault, lambda e: e.state == "clean")


def too_few(kind: str) -> Callable[[Made], None]:
    def act(made: Made) -> None:
        cmd = made.commands(kind, PROVEN, UNDOING, VICTIM)
        for one in cmd[: len(cmd) - 4]:
            one.lo = one.hi = ns(4.9)
        for one in cmd[: len(cmd) - 4]:
            made.find(Answer, lambda e, name=one.cmd: e.cmd == name)[0].lo = ns(4.95)

    return act


def refused(made: Made) -> None:
    for cmd in made.commands("wake", PROVEN, UNDOING, VICTIM):
        answer = made.find(Answer, lambda e, name=cmd.cmd: e.cmd == name)[0]
        answer.outcome, answer.rule, answer.id = "fail", "wrong-state", None
        made.drop(Effect, lambda e, cmd=cmd: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)


def wrong_path(made: Made) -> None:
    for cmd in made.find(Submit, lambda e: f"agents/{VICTIM}" in e.path):
        cmd.path = ["control-plane", "database", "agents/a1"]


def wrong_sessions(made: Made) -> None:
    """The load says that they cross the broken agent; the sessions' rows name another one."""
    for report in made.find(Report, lambda e: e.about == "session" and e.owner == VICTIM):
        report.owner = "a1"


def before_the_proof(made: Made) -> None:
    fault_event(made, "proven").hi = ns(UNDOING - 1.0)


def after_the_undo(made: Made) -> None:
    fault_event(made, "undoing").lo = ns(5.2)


def without_phase(name: str, edge: str | None = None) -> Callable[[Made], None]:
    return lambda made: made.drop(Phase, lambda e: e.name == name and edge in (None, e.edge)) and None


def cut_short(name: str, begin: float) -> Callable[[Made], None]:
    def act(made: Made) -> None:
        made.find(Phase, lambda e: e.name == name and e.edge == "end")[0].lo = ns(begin + 1.0)

    return act


def without_success(kind: str) -> Callable[[Made], None]:
    def act(made: Made) -> None:
        for cmd in made.commands(kind):
            answer = made.find(Answer, lambda e, name=cmd.cmd: e.cmd == name)[0]
            answer.outcome, answer.rule = "fail", "wrong-state"

    return act


def contract_changed(**changes) -> Callable[[Made], None]:
    def act(made: Made) -> None:
        for name, value in changes.items():
            setattr(made.contract, name, value)

    return act


def without_contract(made: Made) -> None:
    made.contract = None


def submitted_twice(made: Made) -> None:
    made.add(made.commands("step")[0])


def answered_twice(made: Made) -> None:
    made.add(made.find(Answer)[0])


def answer_to_nothing(made: Made) -> None:
    made.answer("cmd-9999", 6.0)


def load_broke_off(made: Made) -> None:
    made.find(Coverage, lambda e: e.of == "load" and not e.on)[0].why = "disk full"


CASES: dict[str, Callable[[Made], None]] = {
    **{
        f"{of} {how.__name__}": lambda made, of=of, how=how: how(made, of)
        for of in SOURCES
        for how in (off, stops, starts_late, resumes, blind)
    },
    **{f"{name} off": lambda made, name=name: off(made, name) for name in ("load", "recorder", "warden")},
    **{
        f"{name} killed": lambda made, name=name: killed(made, name) for name in ("load", "recorder", "owner", "warden")
    },
    **{
        f"{name} killed at the end": lambda made, name=name: killed(made, name, 18.9)
        for name in ("load", "recorder", "owner", "warden")
    },
    **{
        f"{name} truncated": lambda made, name=name: truncated(made, name)
        for name in ("load", "recorder", "owner", "warden")
    },
    **{f"too few {kind}": too_few(kind) for kind in ("stop", "hibernate", "wake")},
    **{f"no {name}": without_phase(name) for name in ("drain", "clean", "close")},
    **{f"{name} without end": without_phase(name, "end") for name in ("drain", "clean", "close")},
    "drain cut short": cut_short("drain", DRAIN - 1.0),
    "clean cut short": cut_short("clean", CLEAN),
    "close cut short": cut_short("close", 16.0),
    **{f"no success of {kind}": without_success(kind) for kind in ("hibernate", "wake", "stop", "start", "step")},
    **{
        case.__name__: case
        for case in (
            without_fault,
            unproven,
            second_fault_unmade,
            second_fault_unproven,
            by_lease,
            by_keeper,
            leaked,
            never_undone,
            never_clean,
            refused,
            wrong_path,
            wrong_sessions,
            before_the_proof,
            after_the_undo,
            without_contract,
            submitted_twice,
            answered_twice,
            answer_to_nothing,
            load_broke_off,
        )
    },
    "nothing required": contract_changed(require=[]),
    "a check that does not exist": contract_changed(require=["lost", "lots"]),
    "no exposure asked for": contract_changed(exposure={}),
    "an exposure of nothing": contract_changed(exposure={"stop": 0}),
    "an exposure of a kind that is no command": contract_changed(exposure={"fly": 1}),
    "no attribution": contract_changed(attribution=[]),
    "a longer settling": contract_changed(settle_ns=60 * SECOND),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_without_its_evidence_a_history_is_never_true(case: Callable[[Made], None]):
    made = complete()
    case(made)
    verdict = checker.judge(made.history(), "end")
    assert verdict.value != "true"
    assert verdict.why
    assert all(reason.strip() for reason in verdict.why)


UNKNOWN = [name for name in CASES if not name.endswith(" blind")]


@pytest.mark.parametrize("name", UNKNOWN)
def test_missing_evidence_is_unknown_and_not_a_violation(name: str):
    made = complete()
    CASES[name](made)
    verdict = checker.judge(made.history(), "end")
    assert verdict.value == "unknown", verdict.why
    doubts = [*verdict.doubts, *(doubt for found in verdict.checks.values() for doubt in found.scope)]
    assert doubts
    assert all(doubt.why and doubt.do for doubt in doubts)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("load killed", "load"),
        ("warden killed at the end", "the warden has no orderly end"),
        ("recorder killed", "recorder"),
        ("slots stops", "slots"),
        ("too few wake", "4 of 5 wake commands crossed agents/a2"),
        ("without_fault", "nothing was broken"),
        ("second_fault_unmade", "agents.crash: it was asked for and not made: agents/a1 has no connection to anywhere"),
        ("unproven", "did not bite"),
        ("by_lease", "lease"),
        ("leaked", "leaked"),
        ("a check that does not exist", "there is no check 'lots': known are contradicted, "),
        ("no drain", "settled"),
        ("no exposure asked for", "no exposure"),
    ],
)
def test_the_reason_names_what_is_missing(case: str, says: str):
    made = complete()
    CASES[case](made)
    assert says in " ".join(checker.judge(made.history(), "end").why)


def test_a_check_that_crashes_is_unknown_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch):
    built = dict(registry.checks())

    def crash(case):
        raise ZeroDivisionError("by nothing")

    broken = type(built["lost"])(
        **{name: getattr(built["lost"], name) for name in built["lost"].__slots__} | {"judge": crash}
    )
    monkeypatch.setattr("chaosreprise.checker.judging.checks", lambda: {**built, "lost": broken})
    verdict = checker.judge(complete().history(), "end")
    assert (verdict.value, verdict.checks["lost"].value, verdict.checks["duplicate"].value) == (
        "unknown",
        "unknown",
        "true",
    )
    assert "ZeroDivisionError" in " ".join(verdict.why)
    made = complete()
    made.effect("wake", "s-a2-hib0", 8.9)
    assert checker.judge(made.history(), "end").value == "false", "false beats unknown"


@pytest.mark.parametrize("name", ["load_broke_off", "no close", "by_lease", "too few hibernate", "rows blind"])
def test_a_violation_stays_one_when_evidence_is_missing_too(name: str):
    made = complete()
    made.effect("wake", "s-a2-hib0", 8.9)
    CASES[name](made)
    assert checker.judge(made.history(), "end").value == "false"


@pytest.mark.parametrize("stage", ["baseline", "during", "clean", "end"])
def test_of_an_empty_history_nothing_is_known(stage):
    made = Made()
    assert checker.judge(made.history(), stage).value == "unknown"
    made.contract = None
    assert checker.judge(made.history(), stage).value == "unknown"


def test_a_run_that_was_killed_after_clean_is_unknown_to_a_recheck_and_true_to_its_own_last_probe():
    made = complete()
    made.events = [event for event in made.events if event.hi <= ns(15.9)]
    assert checker.judge(made.history(), "clean").value == "true"
    assert checker.judge(made.history(), "end").value == "unknown"


def test_rows_that_were_not_read_for_a_moment_without_a_fault_do_not_matter():
    made = complete()
    made.gap("rows", UNDONE + 0.5, UNDONE + 0.6)
    assert checker.judge(made.history(), "end").value == "true"


def test_what_was_not_watched_after_everything_had_settled_does_not_matter():
    made = complete()
    for of in SOURCES:
        made.find(Coverage, lambda e, of=of: e.of == of and not e.on)[0].lo = ns(CLOSED)
    made.gap("slots", 18.95, 18.97)
    assert CLEANED < CLOSED
    assert checker.judge(made.history(), "end").value == "true"


def test_a_fault_that_did_not_bite_says_what_was_seen_instead() -> None:
    made = complete()
    unproven(made)
    kind = fault_event(made, "injected").kind
    value = {"kind": kind, "why": "388 bytes still went upstream"}
    made.add(Observe(lo=ns(6.0), hi=ns(6.0), source="owner", signal=UNMADE, value=value))
    says = "the fault did not bite: 388 bytes still went upstream"
    assert says in " ".join(checker.judge(made.history(), "end").why)
