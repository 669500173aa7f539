"""What a fault has left on objects of a cluster is undone once it is older than its lease, by whoever looks, and nothing else is touched."""

import asyncio
import functools
import pathlib
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

import linkwire
import pytest
from clusters import Space, written

from chaosreprise.errors import NotAllowed, Unreachable
from chaosreprise.kubernetes import deployments, marks, reaping
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.where import Where
from chaosreprise.run import healing

pytestmark = pytest.mark.kubernetes
PATIENCE_S = 90.0
POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}

eventually = functools.partial(linkwire.eventually, within_s=PATIENCE_S)


@pytest.fixture
def space(space: Space) -> Space:
    space.make("k1", replicas=0)
    space.scale("k1", 2)
    return space


def speak(space: Space, ask: Callable[[Api], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with await Api.to(Where(namespace=space.name, kubeconfig=str(space.kubeconfig))) as api:
            return await ask(api)

    return asyncio.run(main())


def leave(space: Space, lease_s: float, mark: str = "r1/f1") -> None:
    """Somebody scales it to nothing, and is never seen again."""

    async def ask(api: Api) -> None:
        path = deployments.path(api, "k1")
        made, before = ({"spec": {"replicas": number}} for number in (0, 2))
        await marks.begin(api, path, lambda: api.get(path), marks.Undo(mark, lease_s, made, before))

    speak(space, ask)


def reap(space: Space, now: float = 0.0, first: reaping.First | None = None) -> list[tuple[str, str, str]]:
    found = speak(space, lambda api: reaping.reap(api, now, first))
    return [(one.what, one.mark, one.say) for one in found if one.what.startswith(("deployments", "networkpolicies"))]


def state(space: Space) -> tuple[int, bool]:
    found = space.get("k1")
    return found.spec.replicas, marks.ANNOTATION in (found.metadata.annotations or {})


def test_what_is_seen_for_longer_than_its_lease_is_undone_and_not_before(space: Space) -> None:
    leave(space, 1000.0)
    first: reaping.First = {}
    for now in (5.0, 6.0, 1004.9):
        assert (reap(space, now, first), state(space)) == ([], (0, True))
    assert reap(space, 5000.0, None) == [], "who looks for the first time knows nothing of when it was made"
    assert eventually(lambda: reap(space, 1005.0, first) == [("deployments/k1", "r1/f1", "undone")])
    assert (state(space), reap(space, 2000.0, first), first) == ((2, False), [], {})


def test_who_looks_for_the_first_time_goes_by_the_servers_own_times(space: Space) -> None:
    leave(space, 1.0)
    assert eventually(lambda: reap(space) == [("deployments/k1", "r1/f1", "undone")])
    assert state(space) == (2, False)


def test_another_fault_on_the_same_object_has_its_own_age(space: Space) -> None:
    leave(space, 1000.0)
    first: reaping.First = {}
    reap(space, 0.0, first)
    speak(
        space,
        lambda api: marks.end(api, deployments.path(api, "k1"), lambda: api.get(deployments.path(api, "k1")), "r1/f1"),
    )
    leave(space, 1000.0, "r2/f1")
    assert (reap(space, 1000.0, first), state(space)) == ([], (0, True))
    assert eventually(lambda: reap(space, 2000.0, first) == [("deployments/k1", "r2/f1", "undone")])


def test_what_somebody_else_has_changed_since_stays_as_it_is_without_the_mark(space: Space) -> None:
    leave(space, 0.0)
    space.scale("k1", 1)
    assert eventually(
        lambda: reap(space) == [("deployments/k1", "r1/f1", "somebody else had undone it: its mark is taken off")]
    )
    assert state(space) == (1, False)


@pytest.mark.parametrize("through", [False, True])
def test_a_restart_is_rolled_back_where_it_is_stuck_and_left_where_it_is_through(space: Space, through: bool) -> None:
    made, before = ({"spec": {"template": {"metadata": {"annotations": {"at": at}}}}} for at in ("now", None))
    undo = marks.Undo("r1/f1", 0.0, made, before, once=True)
    if through:
        space.scale("k1", 0)

    async def restart(api: Api) -> None:
        path = deployments.path(api, "k1")
        await marks.begin(api, path, lambda: api.get(path), undo)

    speak(space, restart)
    status = {"observedGeneration": space.get("k1").metadata.generation}  # where no controller says so
    space.apps.patch_namespaced_deployment_status("k1", space.name, {"status": status})
    assert eventually(lambda: reap(space) == [("deployments/k1", "r1/f1", "undone")])
    assert state(space)[1] is False
    assert (space.get("k1").spec.template.metadata.annotations == {"at": "now"}) is through


def test_an_object_that_is_the_fault_is_deleted_and_one_of_somebody_else_is_not(space: Space) -> None:
    for name, annotations in (("left", marks.marked(marks.Undo("r1/f1", 0.0))), ("other", {})):
        body = POLICY | {"metadata": {"name": name, "annotations": annotations}}
        speak(space, lambda api: api.post(reaping.collection(api, "networking.k8s.io", "networkpolicies"), body))  # noqa: B023
    assert eventually(lambda: reap(space) == [("networkpolicies/left", "r1/f1", "undone")])
    left = speak(space, lambda api: api.get(reaping.collection(api, "networking.k8s.io", "networkpolicies")))
    assert [one["metadata"]["name"] for one in left["items"]] == ["other"]


def test_where_we_may_not_look_nothing_is_found_and_what_we_may_not_undo_is_said(space: Space) -> None:
    leave(space, 0.0)
    space.account()

    def told() -> str:
        return str(reap(space))

    assert eventually(lambda: _refused(space))
    assert reap(space) == []
    space.allow(("list", "apps", "deployments"))
    assert eventually(lambda: "NOT undone" in told())
    assert "patch" in told()
    space.allow(("list", "apps", "deployments"), ("patch", "apps", "deployments"))
    assert eventually(lambda: "'undone'" in told())


def _refused(space: Space) -> bool:
    try:
        speak(space, lambda api: api.get(deployments.path(api)))
    except NotAllowed:
        return True
    return False


def test_a_server_that_is_away_is_no_empty_list(space: Space) -> None:
    space.relay.cut()
    with pytest.raises(Unreachable):
        reap(space)


def test_a_mark_that_can_not_be_read_is_said_and_left_alone(space: Space) -> None:
    space.apps.patch_namespaced_deployment("k1", space.name, {"metadata": {"annotations": {marks.ANNOTATION: "{}"}}})
    [(what, _, say)] = reap(space)
    assert (what, "can't be read" in say) == ("deployments/k1", True)
    assert state(space) == (2, True)


@pytest.mark.parametrize(
    ("now", "made", "before", "after"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 0}}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": "x"}}, {"a": {"b": None, "d": "y"}}, {"a": {"b": "x", "d": None}}, {"a": {"b": "x", "d": None}}),
        ({"t": [{"key": "other"}]}, {"t": [{"key": "ours"}]}, {"t": None}, {"t": [{"key": "other"}]}),
        ({}, {"t": [{"key": "ours"}]}, {"t": None}, {"t": []}),
    ],
)
def test_a_merge_patch_is_taken_back(now: Any, made: Any, before: Any, after: Any) -> None:
    broken = merged(now, marks._added(now, made))
    assert marks._has(broken, made)
    assert not marks._has(now, made)
    assert marks._restored(broken, made, before) == after


def merged(now: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    found = dict(now) if isinstance(now, dict) else {}
    for name, value in patch.items():
        found.pop(name, None) if value is None else found.update({name: merged(found.get(name), value)})
    return found


def test_heal_undoes_in_the_cluster_of_a_platform_file_what_nobody_here_knows_of(
    space: Space, tmp_path: pathlib.Path, chaos: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("REPRISE_PLATFORM", str(written(tmp_path, space, "session=k1")))
    leave(space, 2.0)
    time.sleep(3.1)  # both times of the server are whole seconds
    done = subprocess.run(
        [chaos, "--no-version-check", "--no-log-file", "reprise", "heal"], capture_output=True, text=True
    )
    assert (done.returncode, state(space)) == (0, (2, False)), done
    assert "deployments/k1: fault r1/f1 was left, " in done.stdout


def test_a_platform_file_that_is_not_there_stops_no_other_healing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (told, well), (last, _) = healing.lines(str(tmp_path / "none.toml"))
    assert ("can't be looked for" in told, well, last) == (True, False, "1 things could not be repaired: see above")
