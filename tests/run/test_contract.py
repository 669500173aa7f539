"""The contract of an experiment: a typo in it never passes silently."""

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.run import contract
from chaosreprise.run.seed import read_seed

CHECKS = ["duplicate", "lost"]
GOOD = {"name": "agent-failover", "require": ["lost"], "exposure": {"stop": 5}}


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
        ({"limits": {"baseline": 3}}, "limits.baseline is not a setting: did you mean baseline_s?"),
        ({"objectives": [1]}, "objectives = [1]: no check for it is built yet"),
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
