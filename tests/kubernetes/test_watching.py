"""Kubernetes as evidence, on a real API server: each change once, at its time, and every moment that was not watched is a gap."""

import asyncio
import base64
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

import certifi
import pytest
import yaml
from apiservers import Server
from clusters import LABELS, Space, pause, rules_of
from kubernetes import config
from kubernetes.client import Configuration
from linkwire import eventually
from platformfiles import STREAMSPACE

from chaosreprise import checker
from chaosreprise.checker.tiny import ATTRIBUTION, Tiny
from chaosreprise.checker.verdict import Finding
from chaosreprise.clock import SECOND, SystemClock
from chaosreprise.errors import BadInput
from chaosreprise.history import Coverage, Effect, Timed
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.watching import ObjectSource
from chaosreprise.kubernetes.where import Where
from chaosreprise.platform import adapter, file
from chaosreprise.platform.said import Said
from chaosreprise.platform.streamspace import StreamSpace
from chaosreprise.platform.streamspace_marks import BASE_MEMORY

pytestmark = pytest.mark.kubernetes
PATIENCE_S = 60.0
AUTHORITY = pathlib.Path(certifi.where())  # any
TEXT = (
    STREAMSPACE
    + """\
[kubernetes]
namespace = "{namespace}"
context = "{context}"
kubeconfig = "kubeconfig"
[evidence.slots]
kind = "kubernetes"
hz = 20
[evidence.homes]
kind = "kubernetes"
hz = 20
"""
)


def speaker(folder: pathlib.Path, space: Space, context: str | None = None) -> StreamSpace:
    (folder / "p.toml").write_text(TEXT.format(port=1, namespace=space.name, context=context or space.context))
    found = adapter.make(file.load(str(folder / "p.toml")), "r1")
    assert isinstance(found, StreamSpace)
    return found


class Watched:
    """What a source has emitted so far."""

    def __init__(self, source: ObjectSource) -> None:
        self.source = source
        self.events: list[Timed] = []

    def effects(self, session: str | None = None) -> list[Effect]:
        found = [event for event in self.events if isinstance(event, Effect)]
        return [one for one in found if session in (None, one.session)]

    def marks(self, session: str) -> list[str]:
        return [one.mark for one in self.effects(session)]

    def coverage(self) -> list[Coverage]:
        return [event for event in self.events if isinstance(event, Coverage)]

    def edges(self) -> list[bool]:
        return [one.on for one in self.coverage()]


Step = Callable[[Watched], Iterator[Callable[[], object]]]


def watch(folder: pathlib.Path, space: Space, steps: Step, name: str = "slots") -> Watched:
    """Run this source; `steps` yields what is waited for before it goes on."""
    [source] = [one for one in speaker(folder, space).sources() if one.name == name]
    assert isinstance(source, ObjectSource)
    watched = Watched(source)

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(source.run(SystemClock(), watched.events.append, stop))
        going = steps(watched)
        try:
            await until(task, lambda: watched.edges() == [True])
            while (awaited := await asyncio.to_thread(next, going, None)) is not None:
                await until(task, awaited)
        finally:
            stop.set()
            await task

    asyncio.run(main())
    return watched


async def until(task: "asyncio.Task[None]", is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            assert not task.done()
            await asyncio.sleep(0.01)


def test_each_change_is_told_once_with_its_mark_its_generation_its_key_and_when(
    tmp_path: pathlib.Path, space: Space
) -> None:
    key = str(BASE_MEMORY + 4096 * 1234 + 688)
    [short] = [key for key in speaker(tmp_path, space).keys(4096) if key.endswith("000")][:1]
    times: dict[str, tuple[int, int]] = {}

    def timed(mark: str, act: Callable[[], object]) -> None:
        began = time.monotonic_ns()
        act()
        times[mark] = began, time.monotonic_ns()

    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        timed("made", lambda: space.make("s1", short))
        space.make("of-somebody-else", key)
        for mark, act in {
            "down": lambda: space.scale("s1", 0),
            "up": lambda: space.scale("s1", 1),
            "gone": lambda: space.delete("s1"),
        }.items():
            space.scale("s1", len(times) % 2)  # as it is: leaves no trace
            space.label("s1", mark)  # a change that is none
            timed(mark, act)
        yield lambda: "gone" in watched.marks("s1")

    watched = watch(tmp_path, space, steps)
    seen = watched.effects("s1")
    assert [one.mark for one in seen] == ["made", "down", "up", "gone"]
    assert [one.gen for one in seen] == [1, 2, 3, 4]
    assert [one.key for one in seen] == [short, None, None, None]
    assert space.name not in str(seen)
    for one in seen:
        began, ended = times[one.mark]
        assert one.lo <= ended, one
        assert began <= one.hi, one
        assert one.hi - one.lo < PATIENCE_S * SECOND
    assert [one.key for one in watched.effects("of-somebody-else")] == [None]
    assert watched.edges() == [True, False]


def test_a_session_that_is_made_again_is_another_object_of_the_same_session(
    tmp_path: pathlib.Path, space: Space
) -> None:
    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        for count in (1, 2):
            space.make("s1")
            space.delete("s1")
            yield lambda: watched.marks("s1") == ["made", "gone"] * count  # noqa: B023 - looked at before it is changed

    assert len({one.object for one in watch(tmp_path, space, steps).effects("s1")}) == 2


def test_a_watch_that_ends_is_taken_up_where_it_ended_and_loses_nothing(tmp_path: pathlib.Path, space: Space) -> None:
    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        space.make("s1")
        yield lambda: watched.marks("s1") == ["made"]
        space.relay.cut()
        for replicas in (0, 1, 0):
            space.scale("s1", replicas)
        yield lambda: watched.edges() == [True, False]
        space.relay.mend()
        yield lambda: len(watched.marks("s1")) == 4

    watched = watch(tmp_path, space, steps)
    assert watched.marks("s1") == ["made", "down", "up", "down"]
    [lost] = [one for one in watched.coverage() if not one.on][:1]
    assert "the API server does not answer" in lost.why
    for one in watched.effects("s1")[1:]:
        assert one.lo <= lost.hi, "it may have happened as soon as nobody looked"


def test_a_server_that_is_frozen_is_a_gap_from_the_last_good_look_on(
    tmp_path: pathlib.Path, own: Space, server: Server
) -> None:
    frozen = 0

    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        nonlocal frozen
        server.signal(signal.SIGSTOP)
        frozen = time.monotonic_ns()
        yield lambda: watched.edges() == [True, False]
        server.signal(signal.SIGCONT)
        own.make("s1")
        yield lambda: watched.edges() == [True, False, True]
        yield lambda: watched.marks("s1") == ["made"]

    watched = watch(tmp_path, own, steps)
    _, off, on, _ = watched.coverage()
    assert off.lo <= frozen < on.lo
    assert "does not answer" in off.why


def forgotten(
    watched: Watched, own: Space, server: Server, *changes: Callable[[], object]
) -> Iterator[Callable[[], object]]:
    """What happens while nobody can look, and then the server begins anew: it remembers nothing of what was before."""
    own.relay.cut()
    for change in changes:
        change()
    server.kill()
    server.start()
    yield lambda: watched.edges() == [True, False]
    own.relay.mend()
    yield lambda: watched.edges()[-1]


@pytest.mark.thorough
def test_what_the_server_has_forgotten_is_listed_anew_and_is_a_gap(
    tmp_path: pathlib.Path, own: Space, server: Server
) -> None:
    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        for name in ("s1", "s2", "s3"):
            own.make(name)
        yield lambda: len(watched.effects()) == 3
        changes = [("s1", 0), ("s2", 0), ("s2", 1)]
        others = [lambda: own.delete("s3"), lambda: own.make("s4")]
        yield from forgotten(watched, own, server, *(partial(own.scale, *one) for one in changes), *others)

    watched = watch(tmp_path, own, steps)
    marks = {name: watched.marks(name) for name in ("s1", "s2", "s3", "s4")}
    assert marks == {"s1": ["made", "down"], "s2": ["made"], "s3": ["made", "gone"], "s4": ["made"]}
    off = next(one for one in watched.coverage() if not one.on)
    for one in watched.effects()[3:]:
        assert one.lo <= off.hi <= one.hi


@pytest.mark.parametrize("hidden", [True, False])
def test_a_required_check_whose_evidence_lies_in_the_gap_is_unknown(
    tmp_path: pathlib.Path, own: Space, server: Server, hidden: bool
) -> None:
    """A session that was hibernated and woken while nobody looked is as it was before."""
    sent: list[int] = []

    def change(replicas: int) -> None:
        sent.append(time.monotonic_ns())
        own.scale("s1", replicas)

    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        own.make("s1")
        yield lambda: watched.marks("s1") == ["made"]
        if hidden:
            yield from forgotten(watched, own, server, lambda: change(0), lambda: change(1))
        else:
            change(0)
            change(1)
            yield lambda: watched.marks("s1") == ["made", "down", "up"]

    watched = watch(tmp_path, own, steps)
    found = judged(watched, sent)
    assert (found.value, found.count[0]) == (
        "unknown",
        0,
    )  # so small a run always is, but where its evidence is whole, nothing is doubted
    assert (found.evidence, bool(found.scope)) == ((1, True) if hidden else (3, False)), found
    assert not hidden or "ledger slots" in str(found.scope)


def judged(watched: Watched, sent: list[int]) -> Finding:
    """What `lost` says of a hibernation and a wake that were sent then, on what was seen of the slots."""
    zero = min(event.lo for event in watched.events) - SECOND

    def at(moment: int) -> float:
        return (moment - zero) / SECOND

    end = max(at(event.hi) for event in watched.events) + 10
    tiny = Tiny(end, require=["lost"], attribution=ATTRIBUTION[:4])
    tiny.watched = [of for of in tiny.watched if of != "slots"]
    tiny.send(1.0, "start", None, made="s1")  # where the source began
    for op, moment in (("hibernate", sent[0]), ("wake", sent[1])):
        tiny.send(at(moment), op, "s1")
    tiny.settled(end - 1)
    last = watched.coverage()[-1]
    for event in watched.events:
        if isinstance(event, Effect) and event.mark == "made":
            event.key = "c1"
        event.lo, event.hi = event.lo - zero, event.hi - zero
        if event is last:  # it watched until the end
            event.lo = event.hi = round(end * SECOND)
    history = tiny.history()
    events = sorted([*history.events, *watched.events], key=lambda event: (event.hi, event.lo))
    return checker.judge(history._replace(events=events), "end").checks["lost"]


@pytest.mark.parametrize(
    ("name", "watched", "lacking"),
    [
        (
            "slots",
            "deployments.apps and pods",
            "list deployments.apps and watch deployments.apps and list pods and watch pods",
        ),
        ("homes", "persistentvolumeclaims", "list persistentvolumeclaims and watch persistentvolumeclaims"),
    ],
)
def test_the_doctor_says_whether_we_may_list_and_watch_and_names_what_is_missing(
    name: str, watched: str, lacking: str, tmp_path: pathlib.Path, space: Space
) -> None:
    space.account()

    def told() -> Said:
        [said] = asyncio.run(speaker(tmp_path, space).examinations()[f"evidence {name}"]())
        return said

    def becomes(*words: str) -> bool:
        return eventually(lambda: words == (told().state, told().say))

    claims, where = "persistentvolumeclaims", f"in the namespace {space.name}"
    every = [one for one in rules_of("watch") if (one[2] == claims) is (name == "homes")]
    assert becomes("not ok", f"may not {lacking} {where}")
    for missing in every:
        verb, group, resource = missing
        space.allow(*(one for one in every if one != missing))
        assert becomes("not ok", f"may not {verb} {resource}{group and '.'}{group} {where}")
    space.allow(*every)
    assert becomes("ok", f"may list and watch {watched} in {space.name}")


def test_a_claim_is_a_home_that_is_made_and_gone_and_one_that_is_made_again_is_another(
    tmp_path: pathlib.Path, space: Space
) -> None:
    def claim(name: str) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
        body = {"metadata": {"name": f"{name}-home", "labels": LABELS | {"session": name}}, "spec": spec}
        space.core.create_namespaced_persistent_volume_claim(space.name, body)

    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        for name in ("s1", "s2"):
            claim(name)
        yield lambda: watched.marks("s1") == watched.marks("s2") == ["made"]
        space.core.delete_namespaced_persistent_volume_claim("s1-home", space.name)
        yield lambda: watched.marks("s1") == ["made", "gone"]
        claim("s1")
        yield lambda: watched.marks("s1") == ["made", "gone", "made"]

    watched = watch(tmp_path, space, steps, "homes")
    first, gone, second = (one.object for one in watched.effects("s1"))
    assert first == gone != second
    assert {one.rpartition(".")[0] for one in (first, second)} == {"s1-home"}
    assert (watched.marks("s2"), watched.edges()) == (["made"], [True, False])


def test_keys_that_stand_in_a_kubeconfig_are_left_in_no_file_and_those_of_others_are_left_alone(
    tmp_path: pathlib.Path, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    shown = yaml.safe_load(space.kubeconfig.read_text())
    for one in shown["clusters"]:
        one["cluster"]["certificate-authority-data"] = base64.b64encode(AUTHORITY.read_bytes()).decode()
    space.kubeconfig.write_text(yaml.safe_dump(shown))
    for _ in range(2):
        asyncio.run(Api(Where(namespace=space.name, kubeconfig=str(space.kubeconfig))).close())
    assert list((tmp_path / "temporary").iterdir()) == []
    others = Configuration()
    config.load_kube_config(str(space.kubeconfig), client_configuration=others)
    asyncio.run(Api(Where(namespace=space.name, kubeconfig=str(space.kubeconfig))).close())
    assert pathlib.Path(others.ssl_ca_cert).read_bytes() == AUTHORITY.read_bytes()


def test_a_kubeconfig_that_can_not_be_used_is_said_in_one_sentence(tmp_path: pathlib.Path, space: Space) -> None:
    said = speaker(tmp_path, space, context="nowhere").examinations()["evidence slots"]
    with pytest.raises(BadInput, match="context nowhere: can't be used"):
        asyncio.run(said())


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_right_on_pods_that_is_missing_is_a_gap_with_its_name(
    tmp_path: pathlib.Path, space: Space, verb: str
) -> None:
    missing = (verb, "", "pods")
    space.account(*(one for one in rules_of("watch") if one != missing))
    examined = speaker(tmp_path, space).examinations()["evidence slots"]
    assert eventually(lambda: f"may not {verb} pods in" in asyncio.run(examined())[0].say)
    [source] = [one for one in speaker(tmp_path, space).sources() if one.name == "pods"]
    seen: list[Timed] = []

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(source.run(SystemClock(), seen.append, stop))
        why = f'cannot {verb} resource "pods"'
        await until(task, lambda: any(isinstance(one, Coverage) and not one.on and why in one.why for one in seen))
        stop.set()
        await task

    asyncio.run(main())


def begun(watched: Watched, session: str) -> int:
    return watched.marks(session).count("up")


def test_pods_that_follow_each_other_are_told_from_those_that_live_at_once(
    tmp_path: pathlib.Path, space: Space
) -> None:
    image = pause(space)

    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        for name in ("s1", "s2", "s3"):
            space.make(name, image=image)
        yield lambda: all(begun(watched, name) == 1 for name in ("s1", "s2", "s3"))
        space.scale("s2", 2)
        yield lambda: begun(watched, "s2") == 2
        space.scale("s1", 0)
        yield lambda: watched.marks("s1") == ["up", "down"]
        space.scale("s1", 1)
        yield lambda: begun(watched, "s1") == 2
        for name in ("s1", "s2"):
            space.delete(name)
        yield lambda: all(watched.marks(name).count("down") == 2 for name in ("s1", "s2"))
        space.core.delete_collection_namespaced_pod(space.name, label_selector="session=s3", grace_period_seconds=0)
        yield lambda: begun(watched, "s3") == 2

    watched = watch(tmp_path, space, steps, "pods")
    assert watched.marks("s1") == ["up", "down", "up", "down"]
    assert all(one.lo <= one.hi and one.inc and len(one.inc) == 2 for one in watched.effects())
    assert split(watched, "s1").count == (0, 0)
    assert split(watched, "s2").count[1] == 1, "sure only if both lived for longer than their node's clock is sharp"
    found = split(watched, "s3")
    assert (found.value, found.count) == ("unknown", (0, 1)), "what was deleted by force may go on"


def test_a_container_that_its_kubelet_starts_again_is_another_process_of_the_same_pod(
    tmp_path: pathlib.Path, space: Space
) -> None:
    def steps(watched: Watched) -> Iterator[Callable[[], object]]:
        never = {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1}
        space.make("s1", image=pause(space), livenessProbe=never)
        yield lambda: "back" in watched.marks("s1")

    watched = watch(tmp_path, space, steps, "pods")
    first, ended, second = watched.effects("s1")[:3]
    assert [first.mark, ended.mark, second.mark] == ["up", "crash", "back"]
    assert first.object == ended.object == second.object
    assert first.inc == ended.inc != second.inc
    assert split(watched, "s1").count == (0, 0)


def split(watched: Watched, session: str) -> Finding:
    """What `split-brain` says of one session."""
    events = [one for one in watched.events if getattr(one, "session", session) == session]
    zero = min(one.lo for one in watched.events) - SECOND
    end = (max(one.hi for one in events) - zero) / SECOND + 10
    made = Tiny(end, require=["split-brain"], processes="pods")
    made.send(0.5, "start", None, made=session)
    made.effect(0.9, session, "made", gen=1, key="c1")
    made.settled(end - 1)
    history = made.history()
    last = watched.coverage()[-1]
    moved = []
    for one in events:
        copy = type(one)(**{name: getattr(one, name) for name in one.__struct_fields__})
        copy.lo, copy.hi = one.lo - zero, one.hi - zero
        if one is last:  # it watched until the end
            copy.lo = copy.hi = round(end * SECOND)
        moved.append(copy)
    every = sorted([*history.events, *moved], key=lambda one: (one.hi, one.lo))
    return checker.judge(history._replace(events=every), "end").checks["split-brain"]
