"""The logs of pods, of pods that are gone too, with a real kubelet."""

import re
import time
from collections.abc import Callable

import pytest
from clusters import IMAGE, NO_IMAGE, Space, rules_of
from linkwire import eventually

from chaosreprise.kubernetes.pod_logs import PodLogs
from chaosreprise.kubernetes.where import Where

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
PRINTS = ["python3", "-uc", "import itertools, time\nfor n in itertools.count(): print('line', n); time.sleep(0.05)"]
PATIENCE_S = 90.0


@pytest.fixture
def space(space: Space) -> Space:
    if IMAGE is None:
        pytest.skip(NO_IMAGE)
    space.make("k1", image=IMAGE, command=PRINTS)
    return space


def following(space: Space) -> PodLogs:
    return PodLogs(Where(namespace=space.name, kubeconfig=str(space.kubeconfig)), {"agents/k1": "session=k1"}, 65536)


def numbers(text: bytes) -> list[int]:
    return [int(one) for one in re.findall(rb"Z line (\d+)\n", text)]


def test_logs_are_whole_although_pods_go_and_the_server_is_away(space: Space) -> None:
    space.account(*rules_of("logs"))
    logs = following(space)
    try:
        first = name(until(lambda: names(space)), "k1")
        assert eventually(lambda: len(seen(logs, first)) > 20, PATIENCE_S)
        space.relay.cut()
        time.sleep(1)
        space.relay.mend()
        had = len(seen(logs, first))
        assert eventually(lambda: len(seen(logs, first)) > had + 40, PATIENCE_S)
        space.core.delete_namespaced_pod(first, space.name, grace_period_seconds=0)
        second = name(until(lambda: names(space) - {first}), "k1")
        assert eventually(lambda: len(seen(logs, second)) > 5, PATIENCE_S)
    finally:
        kept = logs.end()
    assert logs.lacking is None
    assert sorted(one.split(".")[1] for one in kept) == sorted([first, second])
    for text in kept.values():
        found = numbers(text)
        assert found == list(range(found[0], found[0] + len(found))), "each line once"


@pytest.mark.parametrize("right", [("get", "", "pods/log"), ("list", "", "pods")])
def test_who_may_not_read_them_is_told_what_is_missing(right: tuple[str, str, str], space: Space) -> None:
    space.account(*(one for one in rules_of("logs") if one != right))
    logs = following(space)
    assert eventually(lambda: logs.lacking, PATIENCE_S)
    assert logs.end() == {}
    assert logs.lacking == f"the account may not {right[0]} {right[2]} in the namespace {space.name}"


def names(space: Space) -> set[str]:
    return {one.metadata.name for one in space.core.list_namespaced_pod(space.name).items}


def name(found: set[str], of: str) -> str:
    [one] = [one for one in found if one.startswith(of)]
    return one


def until(found: Callable[[], set[str]]) -> set[str]:
    assert eventually(found, PATIENCE_S)
    return found()


def seen(logs: PodLogs, pod: str) -> list[int]:
    return [n for one, text in list(logs._texts.items()) if one.pod == pod for n in numbers(bytes(text))]
