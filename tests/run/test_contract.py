"""The contract of an experiment: a typo in it never passes silently."""

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.run import contract
from chaosreprise.run.seed import read_seed

CHECKS = ["duplicate", "lost"]
GOOD = {"name": "agent-failover", "require": ["lost"], "exposure": {"stop": 5}}
FAST = {"name": "fast", "latency": "answer", "op": "read", "quantile": 0.99, "max": 1}
REFUSED = {"name": "no agent", "when": "no-agent-online", "ops": ["start"], "allow": [{"status": 503}], "within_s": 2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"requires": ["lost"]}, "requires is not a setting: did you mean require?"),
        ({"require": ["lots"]}, '"lots" is not a check: known are duplicate, '),
        ({"require": []}, "require = []: name the checks"),
        ({"require": "lost"}, 'require = "lost": expected a list'),
        ({"name": "Agent Failover"}, 'name = "Agent Failover": expected a name of small letters'),
        ({"exposure": {"stop": 0}}, "exposure.stop = 0: expected a whole number from 1 to 1000"),
        ({"workload": {"sessions": "many"}}, 'workload.sessions = "many": expected a whole number'),
        ({"workload": {"mix": {"step": -1}}}, "workload.mix.step = -1: expected a rate"),
        ({"needs": {"control_plane": 2}}, "needs.control_plane is not a setting: did you mean control_planes?"),
        ({"needs": {"registry": "disk"}}, 'needs.registry = "disk": expected'),
        ({"needs": {"agents": 100}}, "needs.agents = 100: expected a whole number from 1 to 64"),
        ({"limits": {"baseline": 3}}, "limits.baseline is not a setting: did you mean baseline_s?"),
        ({"criteria": ["SS-99.9"]}, 'criteria: "SS-99.9" is no criterion: `chaos reprise criteria` lists them'),
        ({"criteria": "SS-8.2"}, 'criteria = "SS-8.2": expected a list'),
        ({"objectives": [1]}, "objectives[0] = 1: expected a table with name, signal, latency"),
        (
            {"objectives": [{"name": "x", "sginal": "a.b"}]},
            "objectives[0].sginal is not a setting: did you mean signal?",
        ),
        (
            {"objectives": [{"name": "x", "max": 1}]},
            'objectives[0] "x": none of signal, latency, recovery, rate: expected exactly one',
        ),
        (
            {"objectives": [{**FAST, "signal": "a.b"}]},
            'objectives[0] "fast": signal, latency of signal, latency, recovery, rate: ',
        ),
        ({"objectives": [{**FAST, "max": None}]}, 'objectives[0] "fast": max and min are missing'),
        ({"objectives": [{**FAST, "min": 2}]}, 'objectives[0] "fast": max = 1 is below min = 2'),
        ({"objectives": [{**FAST, "op": ""}]}, 'objectives[0] "fast": op is missing: a latency'),
        ({"objectives": [{**FAST, "latency": "effect"}]}, 'objectives[0] "fast": a read has no effect'),
        ({"objectives": [{**FAST, "latency": "fast"}]}, 'objectives[0].latency = "fast": expected one of'),
        ({"objectives": [{**FAST, "quantile": 99}]}, "objectives[0].quantile = 99: expected a share from above 0 to 1"),
        ({"objectives": [{**FAST, "phase": "night"}]}, 'objectives[0].phase = "night": expected one of'),
        (
            {"objectives": [{"name": "r", "recovery": "noticed_s", "op": "read", "max": 1}]},
            'objectives[0] "r": op = "read" goes only with',
        ),
        (
            {"objectives": [{"name": "r", "recovery": "noticed_s", "phase": "quiet", "max": 1}]},
            'objectives[0] "r": phase = "quiet" does not',
        ),
        (
            {"objectives": [{"name": "s", "signal": "lag", "max": 1}]},
            'objectives[0] "s": signal = "lag": expected a source and a signal',
        ),
        (
            {"objectives": [{"name": "s", "latency": "stream", "op": "stop", "max": 1}]},
            'objectives[0] "s": op = "stop" opens no stream: expected start or wake',
        ),
        ({"objectives": [FAST, FAST]}, 'objectives: "fast" stands there 2 times'),
        ({"refusals": [{**REFUSED, "when": "night"}]}, 'refusals[0].when = "night": expected one of no-agent-online'),
        ({"refusals": [{**REFUSED, "ops": []}]}, "refusals[0].ops = []: expected a list of at least one kind"),
        ({"refusals": [{**REFUSED, "within_s": 0}]}, "refusals[0].within_s = 0: expected seconds from above 0"),
        (
            {"refusals": [{**REFUSED, "allow": [{"status": 503, "boddy": ""}]}]},
            "refusals[0].allow[0].boddy is not a setting: did you mean body?",
        ),
        (
            {"refusals": [{**REFUSED, "allow": [{"status": 5030}]}]},
            "refusals[0].allow[0].status = 5030: expected an HTTP status",
        ),
        (
            {"refusals": [{**REFUSED, "allow": [{"status": 503, "body": "("}]}]},
            'refusals[0] "no agent": body = "(" is no regular expression',
        ),
    ],
)
def test_a_wrong_argument_is_refused_raw_and_substituted(change: dict[str, object], says: str) -> None:
    for reader in (contract.read, contract.read_raw):
        with pytest.raises(BadInput) as error:
            reader({**GOOD, **change}, CHECKS)
        assert str(error.value).startswith(f"control arguments: {says}")


@pytest.mark.parametrize("missing", ["name", "require"])
def test_what_must_be_stated_is_missed_at_validation_already(missing: str) -> None:
    raw = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(BadInput, match=f"{missing} is missing"):
        contract.read_raw(raw, CHECKS)


def test_a_variable_stands_for_any_value_until_the_run_opens() -> None:
    raw = {**GOOD, "name": "${name}", "exposure": {"stop": "${n}"}, "limits": {"baseline_s": "${b}"}}
    contract.read_raw(raw, CHECKS)
    with pytest.raises(BadInput, match=r'"\$\{n\}"'):
        contract.read({**GOOD, "exposure": {"stop": "${n}"}}, CHECKS)


@pytest.mark.parametrize(
    "change",
    [
        {"require": ["${check}"]},
        {"name": "run-${n}"},
        {"name": "$n"},
        {"require": "${all}", "optional": ["${x}", "lost"]},
    ],
)
def test_a_variable_may_be_a_part_of_a_text_or_of_a_list(change: dict[str, object]) -> None:
    contract.read_raw({**GOOD, **change}, CHECKS)


@pytest.mark.parametrize("stated", ["x", "-1", "1.5", "9" * 30, "٣"])
def test_a_seed_that_is_no_number_is_refused_with_the_variable_to_set(stated: str) -> None:
    with pytest.raises(BadInput, match="set REPRISE_SEED"):
        read_seed(stated)


def test_a_stated_seed_is_taken_and_none_is_drawn() -> None:
    assert read_seed("7") == 7
    assert read_seed(7) == 7
    assert read_seed("") != read_seed(None)


def test_objectives_and_refusals_are_read() -> None:
    found = contract.read({**GOOD, "objectives": [FAST], "refusals": [REFUSED]}, CHECKS)
    assert (found.objectives[0].max, found.refusals[0].allow[0].status) == (1, 503)


def test_a_variable_in_an_objective_stands_for_any_value_until_the_run_opens() -> None:
    change = {"objectives": [{**FAST, "max": "${limit}"}], "refusals": [{**REFUSED, "within_s": "${within}"}]}
    contract.read_raw({**GOOD, **change}, CHECKS)
    with pytest.raises(BadInput, match=r'max = "\$\{limit\}"'):
        contract.read({**GOOD, **change}, CHECKS)


@pytest.mark.parametrize(("check", "field"), [("objective", "objectives"), ("refusal", "refusals")])
def test_a_required_check_without_anything_stated_for_it_is_refused(check: str, field: str) -> None:
    with pytest.raises(BadInput, match=f'the required check "{check}" judges what `{field}` states'):
        contract.read({**GOOD, "require": [check]}, [check])
