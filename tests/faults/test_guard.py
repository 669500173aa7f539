"""The guard: what it sees of a suffering platform, what it leaves to the experiment, and that it halts the run."""

import asyncio
import contextlib
import math
import time

import msgspec
import pytest
import toyhttp

from chaosreprise.clock import SECOND
from chaosreprise.faults.guard import Budget, Suffering, Watch
from chaosreprise.history import Answer, Coverage, Fault, Submit, Writer
from chaosreprise.platform.limits import Guard

LIMIT = {"errors": 0.5, "window_s": 10, "least": 4}


@pytest.fixture
def toy():
    with toyhttp.serve() as toy:
        yield toy


@pytest.fixture
def look(tmp_path):
    """One look of a guard; what it said, and what it recorded."""

    def once(**settings):
        async def main():
            watch = Watch(msgspec.convert(settings, Guard), tmp_path, seen.append)
            try:
                return await watch.look()
            finally:
                await watch.close()

        seen = []
        return asyncio.run(main()), [(event.source, event.signal, event.value) for event in seen]

    return once


def submit(cmd, at, path=("control-plane", "database"), session="s1"):
    now = int(at * SECOND)
    return Submit(lo=now, hi=now, cmd=cmd, op="step", key=cmd, intended=now, session=session, path=list(path))


def answer(cmd, at, outcome="ok", rule=None):
    now = int(at * SECOND)
    return Answer(lo=now, hi=now, cmd=cmd, outcome=outcome, rule=rule)


def fault(component, state, at):
    now = int(at * SECOND)
    return Fault(lo=now, hi=now, fault="f1", kind="x.y", component=component, state=state)


def budget(answers, faults=(), **path):
    """The share at second 10 of commands sent at 5 and answered so at 6."""
    found = Budget(msgspec.convert(LIMIT, Guard))
    for event in faults:
        found.fault(event)
    for number, (outcome, rule) in enumerate(answers):
        found.load(submit(f"c{number}", 5, **path))
        found.load(answer(f"c{number}", 6, outcome, rule))
    return found.check(10 * SECOND)


OK, INFO, REFUSED, UNCONNECTED = ("ok", None), ("info", None), ("fail", "no-agents"), ("fail", "unconnected")


def test_unexpected_errors_up_to_the_share_are_borne_and_one_more_is_not():
    assert budget([OK, OK, INFO, UNCONNECTED]) == 0.5
    with pytest.raises(
        Suffering, match=r"3 of 4 answers of the load in 10 s were unexpected errors \(guard.errors = 0.5\)"
    ):
        budget([OK, INFO, INFO, UNCONNECTED])


def test_a_refusal_of_the_table_is_no_unexpected_error_and_few_answers_say_nothing():
    assert budget([REFUSED] * 4) == 0.0
    assert budget([INFO] * 3) is None


def test_what_is_still_without_an_answer_after_the_window_is_an_error():
    hung = Budget(msgspec.convert(LIMIT, Guard))
    for number in range(4):
        hung.load(submit(f"c{number}", 5))
    assert hung.check(14 * SECOND) is None
    with pytest.raises(Suffering, match="4 of 4"):
        hung.check(16 * SECOND)


def test_answers_older_than_the_window_are_forgotten():
    old = Budget(msgspec.convert(LIMIT, Guard))
    for number in range(4):
        old.load(submit(f"c{number}", 5))
        old.load(answer(f"c{number}", 6, "info"))
    assert old.check(17 * SECOND) is None


@pytest.mark.parametrize(
    ("component", "states", "counts"),
    [
        ("database", [("armed", 1)], False),
        ("sessions/s1", [("armed", 1)], False),
        ("agents/a1", [("armed", 1)], True),
        ("database", [("planned", 1)], True),
        ("database", [("armed", 5.5)], False),  # in flight when it broke
        ("database", [("armed", 7)], True),
        ("database", [("armed", 0.5), ("undone", 2.5)], False),  # just over
        ("database", [("armed", 0.5), ("undone", 1)], True),  # it had time to recover
    ],
)
def test_errors_of_what_crosses_a_fault_of_ours_are_what_was_asked_for(component, states, counts):
    faults = [fault(component, state, at) for state, at in states]
    if counts:
        with pytest.raises(Suffering):
            budget([INFO] * 4, faults)
    else:
        assert budget([INFO] * 4, faults) is None


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        (["s1"], [], False),  # it may be lost for good
        (["s1"], ["s1"], True),  # it was well again since
        ([], [], True),  # made since
    ],
)
def test_steps_in_a_session_that_a_fault_may_have_ended_for_good_do_not_count(before, after, counts):
    found = Budget(msgspec.convert(LIMIT, Guard))
    for at, names in ((0.2, before), (1.5, after)):
        for name in names:
            found.load(submit(f"{name} {at}", at, session=name))
            found.load(answer(f"{name} {at}", at + 0.1))
    found.fault(fault("database", "armed", 0.5))
    found.fault(fault("database", "undone", 1.0))
    for number in range(4):
        found.load(submit(f"c{number}", 5))
        found.load(answer(f"c{number}", 6, "info"))
    assert found.share(10 * SECOND)[0] == 4 * counts


def test_the_guard_reads_the_load_in_the_growing_history_and_records_the_share(look, tmp_path):
    with Writer(tmp_path, "load", "r1") as writer:
        now = time.monotonic()
        for number in range(4):
            writer.write(submit(f"c{number}", now))
            writer.write(answer(f"c{number}", now, "info" if number else "ok"), at_once=True)
        assert look(**{**LIMIT, "errors": 0.8}) == (None, [("guard", "errors", 0.75)])
        why, seen = look(**LIMIT)
    assert why.startswith("3 of 4 answers of the load")
    assert seen == []


def test_a_history_that_is_none_is_no_reason_to_go_on(look, tmp_path):
    (tmp_path / "load.jsonl").write_text("nonsense\n")
    assert "what the load recorded can't be read" in look()[0]


def test_a_url_that_answers_otherwise_or_not_at_all_is_seen(look, toy):
    url = f"{toy.url}/health"
    assert look(url=url) == (None, [("guard", "url", 200)])
    toy.health = 500
    assert look(url=url) == (f"{url} answered 500 (guard.status = 200)", [("guard", "url", 500)])
    assert look(url=url, status=500)[0] is None
    assert (
        look(url="http://127.0.0.1:9/")[0]
        == "guard.url = http://127.0.0.1:9/ does not answer within 5 s (ConnectError)"
    )


@pytest.mark.parametrize(
    ("limit", "series", "says"),
    [
        ({"below": 2}, [1.5, 1.9], None),
        ({"below": 2}, [1.5, 2.0], "sum(errors) is 2 (guard.promql.below = 2)"),
        ({"above": 0.9}, [0.95], None),
        ({"above": 0.9}, [0.95, 0.5], "sum(errors) is 0.5 (guard.promql.above = 0.9)"),
        ({"below": 2}, [math.nan], "sum(errors) is nan (guard.promql.below = 2)"),
        ({"below": 2}, [], "sum(errors) can't be evaluated: no series has a value now"),
    ],
)
def test_every_series_of_a_query_must_keep_its_limit_and_no_series_is_no_evidence(look, toy, limit, series, says):
    toy.series = series
    why, seen = look(promql={"url": toy.url, "query": "sum(errors)", **limit})
    assert why == says
    assert len(seen) == (1 if series else 0)
    assert toy.asked == [("GET", "/api/v1/query")]


@pytest.mark.parametrize(
    "said",
    [
        {"status": "error", "error": "bad query"},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": []}]}},
        {"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "many"]}]}},
        [1],
    ],
)
def test_an_answer_that_is_no_instant_query_is_no_evidence(look, toy, said):
    toy.said = said
    why, seen = look(promql={"url": toy.url, "query": "up", "above": 0})
    assert why.startswith("up can't be evaluated")
    assert seen == []


def test_a_scalar_is_a_number_as_well(look, toy):
    toy.said = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "3"]}}
    assert look(promql={"url": toy.url, "query": "3", "below": 4}) == (None, [("guard", "promql", [3.0])])


def test_looking_goes_on_each_second_until_something_is_seen(tmp_path, toy):
    async def main():
        looked = asyncio.Event()
        watch = Watch(msgspec.convert({"url": f"{toy.url}/health"}, Guard), tmp_path, lambda _: None)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(watch.close)
            looking = asyncio.create_task(watch.until_suffering(looked))
            await looked.wait()
            assert not looking.done()
            toy.health = 503
            began = time.monotonic()
            why = await looking
        return why, time.monotonic() - began

    why, took = asyncio.run(main())
    assert "answered 503" in why
    assert took < 1.5


def test_what_the_guard_saw_is_covered_from_its_first_good_look_to_the_end(tmp_path):
    """Else an objective for its signals would be unknown for ever."""
    (tmp_path / "load.jsonl").touch()
    told = []

    async def watched() -> None:
        watch = Watch(Guard(), tmp_path, told.append)
        looked = asyncio.Event()
        task = asyncio.create_task(watch.until_suffering(looked))
        await looked.wait()
        task.cancel()
        await asyncio.wait([task])
        await watch.close()

    asyncio.run(watched())
    assert [(event.of, event.on, event.why) for event in told if isinstance(event, Coverage)] == [
        ("guard", True, "watching"),
        ("guard", False, "done"),
    ]
