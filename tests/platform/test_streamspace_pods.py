"""What pods say of the processes of sessions, by their own clock and late, and what is surely known of it."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import SECOND, Tiny
from chaosreprise.checker.verdict import Finding
from chaosreprise.history import Coverage, Effect, Timed
from chaosreprise.kubernetes.watching import Change
from chaosreprise.platform.streamspace_pods import Processes

AHEAD_S = 1_900_000_000  # of the nodes' clocks: a day in 2030
SOON = 0.1
END_S = 60.0


class Cluster:
    """Pods, as their API has them and as their nodes know them, at times in seconds of our clock. What is told is told SOON after."""

    def __init__(self) -> None:
        self._told = Processes("session").told
        self._pods: dict[str, dict[str, Any]] = {}
        self._revision = 100
        self.ahead_s: dict[str, float] = {"n1": 0.0, "n2": 0.3}
        self.events: list[Timed] = []

    def bound(self, at: float, name: str, node: str = "n1", session: str = "s1") -> None:
        containers = [{"name": "main"}, {"name": "proxy"}]
        metadata = {"name": name, "uid": f"uid-{name}", "labels": {"session": session}}
        status: dict[str, Any] = {"containerStatuses": [], "conditions": [{"type": "Ready", "status": "False"}]}
        spec: dict[str, Any] = {"containers": containers}
        self.changes(at - SOON, name, {"metadata": metadata, "spec": spec, "status": status})
        self.changes(at, name, {"metadata": metadata, "spec": spec | {"nodeName": node}, "status": status})

    def limited(self, name: str, **limits: str) -> None:
        """Its first container, as its pod was made."""
        self._pods[name]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "1Mi"}, "limits": limits}

    def runs(
        self,
        at: float,
        name: str,
        container: str,
        last: tuple[str, float, float] | None = None,
        reason: str = "",
        **more: Any,
    ) -> None:
        running = {"running": {"startedAt": self._second(at, name)}}
        over = {"terminated": self._over(name, *last, reason)} if last else {}
        self._says(
            at, name, "True", containerID=f"containerd://{container}", state=running, lastState=over, ready=True, **more
        )

    def ended(
        self, at: float, name: str, container: str, since: float, reason: str = "", told: float | None = None
    ) -> None:
        over = {"terminated": self._over(name, container, since, at, reason)}
        self._says(
            told or at, name, "False", containerID=f"containerd://{container}", state=over, lastState={}, ready=False
        )

    def told_to_end(self, at: float, name: str) -> None:
        one = copy.deepcopy(self._pods[name])
        one["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        self.changes(at, name, one)

    def missed(self, at: float, name: str, ready: str = "False") -> None:
        one = copy.deepcopy(self._pods[name])
        one["status"]["conditions"][0]["status"] = ready
        self.changes(at, name, one)

    def gone(self, at: float, name: str) -> None:
        self.changes(at, name, self._pods[name], gone=True)

    def changes(
        self, at: float, name: str, one: dict[str, Any], *, gone: bool = False, since: float | None = None
    ) -> None:
        self._revision += 1
        one = copy.deepcopy(one)
        one["metadata"]["resourceVersion"] = str(self._revision)
        lo, hi = at - SOON if since is None else since, at + SOON
        change = Change(round(lo * SECOND), round(hi * SECOND), self._pods.get(name), one, gone)
        self._pods[name] = one
        self.events += self._told(change)

    def marks(self) -> list[tuple[str, str]]:
        return [(event.mark, event.inc[1]) for event in self.effects() if event.inc]

    def effects(self) -> list[Effect]:
        return [event for event in self.events if isinstance(event, Effect)]

    def coverage(self) -> Iterator[tuple[str, bool]]:
        return ((event.of, event.on) for event in self.events if isinstance(event, Coverage))

    def judged(self, check: str = "split-brain") -> Finding:
        """Of one session, which is started at 0.5 s and stopped at 50 s: what is seen of its object is as it should be."""
        made = Tiny(END_S, require=[check], processes="pods")
        made.watched.append("pods")
        made.send(0.5, "start", None, made="s1")
        made.effect(0.9, "s1", "made", gen=1, key="c1")
        made.send(50.0, "stop", "s1")
        made.effect(50.2, "s1", "gone", gen=2)
        made.settled(58.0)
        history = made.history()
        events = sorted([*history.events, *self.events], key=lambda event: (event.hi, event.lo))
        return checker.judge(history._replace(events=events), "end").checks[check]

    def _says(self, at: float, name: str, is_ready: str, **status: Any) -> None:
        one = copy.deepcopy(self._pods[name])
        proxy = {
            "name": "proxy",
            "containerID": "containerd://p",
            "state": {"running": {"startedAt": self._second(at, name)}},
        }
        one["status"]["containerStatuses"] = [proxy | {"ready": True}, {"name": "main", **status}]
        one["status"]["conditions"][0]["status"] = is_ready
        self.changes(at, name, one)

    def _over(self, name: str, container: str, since: float, until: float, reason: str) -> dict[str, Any]:
        told = {"startedAt": self._second(since, name), "finishedAt": self._second(until, name)}
        return {"containerID": f"containerd://{container}", "reason": reason, **told}

    def _second(self, at: float, name: str) -> str:
        """The node's clock, which is told without fractions."""
        node = self._pods[name]["spec"]["nodeName"]
        return datetime.fromtimestamp(int(at + AHEAD_S + self.ahead_s[node]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_process_that_begins_says_which_claims_its_pod_has() -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "home", "persistentVolumeClaim": {"claimName": "s1-home"}}]
    cluster._pods["p1"]["spec"]["volumes"] = volumes
    cluster.runs(2.0, "p1", "c1")
    assert [one.homes for one in cluster.effects()] == [["s1-home"]]


def one_after_the_other(cluster: Cluster, pause_s: float = 1.0) -> None:
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    cluster.told_to_end(10.0, "p1")
    cluster.ended(10.5, "p1", "c1", 2.0)
    cluster.gone(10.6, "p1")
    cluster.bound(10.6 + pause_s, "p2")
    cluster.runs(11.6 + pause_s, "p2", "c2")


def test_each_life_of_the_first_container_begins_and_ends_once() -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    cluster.runs(2.5, "p1", "c1")  # told again
    cluster.ended(5.0, "p1", "c1", 2.0)
    cluster.runs(6.0, "p1", "c2", last=("c1", 2.0, 5.0))
    cluster.told_to_end(9.0, "p1")
    cluster.ended(9.3, "p1", "c2", 6.0)
    cluster.gone(9.5, "p1")
    assert cluster.marks() == [("up", "c1"), ("crash", "c1"), ("back", "c2"), ("down", "c2")]
    assert {(event.ledger, event.object, event.session) for event in cluster.effects()} == {("pods", "p1.uid-p1", "s1")}
    assert list(cluster.coverage()) == [("pods/p1.uid-p1", False), ("pods/p1.uid-p1", True)]
    assert cluster.judged().count == (0, 0)


def test_when_it_ended_is_known_by_the_clock_of_its_node_however_late_it_is_told() -> None:
    cluster = Cluster()
    for number, at in enumerate((2.0, 3.3, 4.6, 5.9)):  # each shows more of that clock
        cluster.bound(at - 0.5, f"p{number}", session=f"s{number}")
        cluster.runs(at, f"p{number}", f"c{number}")
    cluster.ended(20.4, "p0", "c0", 2.0, told=29.0)
    end = cluster.effects()[-1]
    assert 18 * SECOND < end.lo < 20.4 * SECOND < 29 * SECOND < end.hi


def test_of_a_clock_that_was_set_nothing_is_known() -> None:
    cluster = Cluster()
    one_after_the_other(cluster)
    cluster.ahead_s["n1"] = 100.0
    cluster.ended(20.0, "p2", "c2", 11.6)
    begin, end = cluster.effects()[-2:]
    assert (end.mark, end.lo) == ("crash", begin.lo)


@pytest.mark.parametrize("reason", ["", "ContainerStatusUnknown"])
def test_a_restart_in_place_is_one_after_the_other(reason: str) -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    cluster.runs(5.0, "p1", "c2", last=("c1", 2.0, 4.9), reason=reason)  # both are told at once
    cluster.runs(
        9.0, "p1", "c4", last=("c3", 7.0, 8.0)
    )  # of c3 nothing was told before, and of the end of c2 nothing at all
    assert [one for one in cluster.marks() if one[0] == "crash"] == [("crash", "c1"), ("crash", "c2"), ("crash", "c3")]
    assert (cluster.judged().count, cluster.judged().evidence) == ((0, 0), 4)


def test_a_pod_after_another_one_is_no_split_brain() -> None:
    cluster = Cluster()
    one_after_the_other(cluster)
    assert (cluster.judged().count, cluster.judged().scope) == ((0, 0), [])


def test_the_order_of_the_server_tells_them_apart_where_times_do_not() -> None:
    cluster = Cluster()
    one_after_the_other(cluster, pause_s=0.05)
    told, bound = (cluster.effects()[index] for index in (1, 2))
    assert bound.lo < told.hi
    assert cluster.judged().count == (0, 0)


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_two_pods_that_lived_at_once_are_a_split_brain(node: str) -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    cluster.bound(9.0, "p2", node)  # as a rolling update does it
    cluster.runs(10.0, "p2", "c2")
    cluster.told_to_end(10.1, "p1")
    cluster.ended(14.0, "p1", "c1", 2.0)
    split = cluster.judged()
    assert (split.value, split.count) == ("false", (1, 1))
    assert "container c2 began at 10.100 s, while container c1 had lived" in split.witnesses[0].say


def test_two_pods_that_nobody_ends_are_a_split_brain() -> None:
    cluster = Cluster()
    for name, container in (("p1", "c1"), ("p2", "c2")):
        cluster.bound(1.0, name)
        cluster.runs(2.0, name, container)
    assert cluster.judged().count == (1, 1)


@pytest.mark.parametrize("end", ["by force", "told", "missed", "within a moment"])
def test_two_pods_that_may_have_lived_at_once_are_unknown(end: str) -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    match end:
        case "by force":
            cluster.gone(9.0, "p1")
        case "told":
            cluster.told_to_end(9.0, "p1")
        case "missed":
            cluster.missed(9.0, "p1")
        case "within a moment":
            cluster.told_to_end(9.0, "p1")
    cluster.bound(9.5, "p2", "n2")
    cluster.runs(10.0, "p2", "c2")
    if end == "within a moment":
        cluster.ended(10.3, "p1", "c1", 2.0)
    split = cluster.judged()
    assert (split.value, split.count) == ("unknown", (0, 1)), split


def test_a_node_that_was_missed_and_comes_back_tells_what_it_knows() -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    cluster.missed(9.0, "p1")
    cluster.bound(9.5, "p2", "n2")
    cluster.runs(10.0, "p2", "c2")
    cluster.ended(20.0, "p1", "c1", 2.0, told=30.0)
    assert cluster.judged().count == (1, 1)
    ended = Cluster()
    ended.bound(1.0, "p1")
    ended.runs(2.0, "p1", "c1")
    ended.missed(9.0, "p1")
    ended.missed(20.0, "p1", "True")
    assert list(ended.coverage()) == [("pods/p1.uid-p1", False), ("pods/p1.uid-p1", True)]


def test_what_ran_before_anybody_looked_is_none_of_ours() -> None:
    first, later = Cluster(), Cluster()
    first.bound(1.0, "p1")
    first.runs(2.0, "p1", "c1")
    later._pods = copy.deepcopy(first._pods)  # as the first list has them
    later.ended(5.0, "p1", "c1", 2.0)
    later.runs(6.0, "p1", "c2", last=("c1", 2.0, 5.0))
    assert later.marks() == [("crash", "c1"), ("back", "c2")]
    assert later.judged().evidence == 1


def test_a_process_that_is_left_is_residue_only_if_it_surely_runs() -> None:
    cluster = Cluster()
    cluster.bound(1.0, "p1")
    cluster.runs(2.0, "p1", "c1")
    assert cluster.judged("residue").labels == {"process": 1}
    cluster.told_to_end(51.0, "p1")
    assert cluster.judged("residue").count == (0, 1)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"memory": "134217729", "cpu": "103m"}, {"memory": 134217729, "cpu": 103}),
        ({"memory": "131073Ki", "cpu": "0.5"}, {"memory": 134218752, "cpu": 500}),
        ({"memory": "134500k", "cpu": "2"}, {"memory": 134500000, "cpu": 2000}),
        ({"memory": "128Mi"}, {"memory": 134217728, "cpu": None}),
        ({}, {"memory": None, "cpu": None}),
    ],
)
def test_what_a_process_may_take_is_what_the_limits_of_its_container_say(
    limits: dict[str, str], told: dict[str, int | None]
) -> None:
    world = Cluster()
    world.bound(1.0, "p1")
    world.limited("p1", **limits)
    world.runs(2.0, "p1", "c1")
    world.ended(9.0, "p1", "c1", 2.0)
    assert [(event.mark, event.limits) for event in world.effects()] == [("up", told), ("crash", {})]


def test_what_the_kubelet_says_that_a_container_has_counts_more_than_what_it_was_made_with() -> None:
    world = Cluster()
    world.bound(1.0, "p1")
    world.limited("p1", memory="128Mi", cpu="100m")
    world.runs(2.0, "p1", "c1", resources={"limits": {"cpu": "200m"}})
    assert world.effects()[0].limits == {"memory": None, "cpu": 200}
