"""The lock of a run in a cluster: one holder at a time, told by name, renewed, and taken over when nobody renews it any more."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clusters import Space, rules_of
from kubernetes import client
from linkwire import eventually

from chaosreprise.errors import NotAllowed
from chaosreprise.kubernetes import lease
from chaosreprise.kubernetes.where import Where

pytestmark = pytest.mark.kubernetes
LOST_S = 60.0


def where(space: Space) -> Where:
    return Where(namespace=space.name, kubeconfig=str(space.kubeconfig))


def never(why: str) -> None:
    raise AssertionError(why)


def spec(space: Space) -> Any:
    return client.CoordinationV1Api(space.api).read_namespaced_lease(lease.NAME, space.name).spec


def dead(space: Space, lasts_s: int) -> None:
    """Whoever has it is never seen again."""
    body = {"metadata": {"name": lease.NAME}, "spec": {"holderIdentity": "r0 on x", "leaseDurationSeconds": lasts_s}}
    client.CoordinationV1Api(space.api).create_namespaced_lease(space.name, body)


def test_the_second_is_refused_by_the_name_of_the_first_until_that_has_ended(space: Space) -> None:
    space.account(*rules_of("lock"))
    assert eventually(lambda: spec_is_there(space))
    with lease.held(where(space), "r1 on x", never):
        first = spec(space).renew_time
        with pytest.raises(NotAllowed, match=rf"{space.name} is being tested by r1 on x, .*: wait for the end"):
            with lease.held(where(space), "r2 on y", never):
                pass
        assert spec(space).renew_time > first
    assert spec(space).holder_identity == ""
    began = time.monotonic()
    with lease.held(where(space), "r2 on y", never):
        assert spec(space).holder_identity == "r2 on y"
    assert time.monotonic() - began < lease.RENEWED_S, "what was given back is free at once"


def spec_is_there(space: Space) -> bool:
    """The role counts a moment after it was made."""
    with contextlib.suppress(NotAllowed), lease.held(where(space), "r0 on x", never):
        return True
    return False


def test_of_two_who_want_what_a_dead_run_had_one_gets_it_and_not_before_it_has_run_out(space: Space) -> None:
    dead(space, 2)
    began, over = time.monotonic(), threading.Event()

    def take(who: str) -> str:
        try:
            with lease.held(where(space), who, never):
                assert time.monotonic() - began > 2
                over.wait(LOST_S)
                return who
        except NotAllowed as error:
            over.set()
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        said = sorted(threads.map(take, ("r1 on x", "r2 on y")), key=len)
    assert said[0] in ("r1 on x", "r2 on y")
    assert f"is being tested by {said[0]}," in said[1]


@pytest.mark.parametrize("how", ["taken over", pytest.param("away", marks=pytest.mark.thorough)])
def test_a_holder_that_has_lost_it_is_told(space: Space, how: str) -> None:
    lost: list[str] = []
    with lease.held(where(space), "r1 on x", lost.append):
        if how == "away":
            space.relay.cut()
        else:
            body = {"spec": {"holderIdentity": "r2 on y"}}
            client.CoordinationV1Api(space.api).patch_namespaced_lease(lease.NAME, space.name, body)
        assert eventually(lambda: lost, LOST_S)
    assert ("was taken over by another run" if how == "taken over" else "can't be renewed") in lost[0]
    assert spec(space).holder_identity == ("r2 on y" if how == "taken over" else "r1 on x"), "it is not given back"


def test_a_lock_that_may_not_be_had_is_refused_with_the_verb_that_lacks(space: Space) -> None:
    space.account()
    with pytest.raises(NotAllowed, match=r"cannot get resource .leases."):
        with lease.held(where(space), "r1 on x", never):
            pass
