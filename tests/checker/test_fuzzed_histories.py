"""Anybody's files: spoiled histories are judged or refused in a sentence, and none is true that could not be.

REPRISE_HISTORIES says how many are drawn (10,000 take some minutes). When true would be wrong is certain in two cases: the history
had a violation and none of the lines that show it was touched, and none of the names in them was written elsewhere; or the history
was true, and something was taken out of it that its truth rests on.
"""

import functools
import json
import os
import pathlib
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from histories import ns, segments, thorough
from spoiling import Lines, Spoiler, fresh, texts

from chaosreprise import checker, recovery, report
from chaosreprise.errors import LONGEST, BadInput
from chaosreprise.history import Answer, Effect, History, Observe, Report, Submit, load
from chaosreprise.simulation import DEFECTS, simulate
from chaosreprise.simulation.scenario import KINDS, plain

HISTORIES = int(os.environ.get("REPRISE_HISTORIES", "160"))
BATCH = 40
BATCHES = range(-(-HISTORIES // BATCH))


class Base(NamedTuple):
    """A history that is judged as `value`, as lines, and as their events; `witnesses` of its violations by check."""

    lines: Lines
    events: list[dict[str, Any]]
    said: list[frozenset[str]]
    value: checker.Value
    witnesses: list[tuple[str, checker.Witness]]


def base(history: History) -> Base:
    verdict = checker.judge(history, "end")
    lines = segments(history)
    witnesses = [
        (name, one) for name, found in verdict.checks.items() if found.value == "false" for one in found.witnesses
    ]
    events = [json.loads(line) for own in lines.values() for line in own]
    return Base(lines, events, [frozenset(texts(event)) for event in events], verdict.value, witnesses)


@functools.cache
def correct() -> list[Base]:
    histories = [thorough().history(), *(simulate(plain(0, kind)).history() for kind in KINDS)]
    return [made for made in map(base, histories) if made.value == "true"]


@functools.cache
def violated() -> list[Base]:
    late = thorough()
    late.find(Observe)[0].value = 4000.0
    lame = [simulate(plain(0, it.kind, all_agents=it.all_agents), it).history() for it in DEFECTS.values()]
    return [made for made in map(base, [late.history(), *mixed_up(), *lame]) if made.value == "false"]


def mixed_up() -> Iterator[History]:
    """What no simulated platform does: a memory that is gone, an id that is given out twice, a row that was never written, a place
    that was not asked for, places for whoever asks, an old answer, a command that failed by its row, a session that nothing limits."""
    forgetful, sharing, careless, deaf, generous = thorough(), thorough(), thorough(), thorough(), thorough(quota=2)
    old, given_up, greedy = thorough(), thorough(), thorough()
    old.find(Answer, lambda e: e.result == "hibernated")[0].result = "running"
    stop = given_up.commands("stop", since=12.0)[0].cmd
    given_up.find(Report, lambda e: e.id == f"p-{stop}")[-1].state = "failed"
    steps = {cmd.cmd for cmd in forgetful.commands("step", since=6.0)}
    answer = forgetful.find(Answer, lambda e: e.cmd in steps)[0]
    answer.result = " ".join([str(answer.result).split()[0], "f0e5", "1", "9999"])
    first, second = (
        sharing.find(Answer, lambda e, cmd=cmd.cmd: e.cmd == cmd)[0] for cmd in sharing.commands("start")[:2]
    )
    second.session = first.session
    stop = careless.commands("stop", since=12.0)[0].cmd
    careless.drop(Report, lambda e: e.about == "command" and e.id == f"p-{stop}")
    deaf.find(Submit, lambda e: bool(e.asks))[0].asks = {"cluster": "c9"}
    greedy.find(Effect, lambda e: bool(e.limits))[0].limits = {"memory": None, "cpu": 100}
    for made in (forgetful, sharing, careless, deaf, generous, old, given_up, greedy):
        yield made.history()


def names_of(made: Base, witness: checker.Witness) -> frozenset[str]:
    """The command and the session of a violation, and whatever else they are called."""
    names = {name for name in (witness.cmd, witness.session) if name}
    for _ in range(2):
        for event in made.events:
            own = {event.get(key) for key in ("cmd", "key", "session", "object", "id")} | {
                event.get("fields", {}).get(key) for key in ("session", "key")
            }
            if event["type"] in ("submit", "answer", "effect", "report") and names & own:
                names |= {name for name in own if name}
    return frozenset(names)


def evidence(made: Base, lines: Lines, check: str, names: frozenset[str]) -> set[int]:
    """The ids of the lines that may show a violation: what is said of its command and session, of faults and agents, of the run."""
    kinds = {"segment", "contract", "fault", *(("observe", "phase") if check in ("objective", "dishonest") else ())}
    return {
        id(line)
        for line, event, said in zip(
            (line for own in lines.values() for line in own), made.events, made.said, strict=True
        )
        if event["type"] in kinds or event.get("about") == "agent" or names & said
    }


def judged(lines: Lines, folder: pathlib.Path, tail: bytes = b"\n") -> checker.Verdict | None:
    """The verdict on these files, drawn as well; None where they are refused, in a sentence that says where."""
    for path in folder.iterdir():
        path.unlink()
    for writer, own in lines.items():
        (folder / f"{writer}.jsonl").write_bytes(b"\n".join(own) + tail if own else b"")
    try:
        history = load(folder)
    except BadInput as error:
        said = str(error)
        assert str(folder) in said
        assert "\n" not in said
        assert len(said) <= LONGEST
        return None
    verdict = recovery.add(checker.judge(history, "end"), history)
    assert verdict.value in ("true", "false", "unknown")
    assert not any("crashed" in reason for reason in verdict.why), verdict.why
    assert verdict.why
    assert report.console(verdict)
    return verdict


def spoil(spoiler: Spoiler, chance: random.Random) -> None:
    """Mostly what the format allows, so that it gets as far as the checks."""
    lawful = chance.choice((1, 2, 5, 20, 80))
    for _ in range(lawful):
        spoiler.lawfully()
    if chance.random() < 0.25:
        spoiler.unlawfully()


def seeds(batch: int) -> Iterator[tuple[str, random.Random]]:
    for number in range(batch * BATCH, (batch + 1) * BATCH):
        yield str(number), random.Random(number)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_spoiled_history_is_judged_or_refused_and_a_violation_in_it_never_becomes_true(
    batch: int, tmp_path: pathlib.Path
):
    for seed, chance in seeds(batch):
        made = chance.choice([*violated(), *correct()])
        check, witness = chance.choice(made.witnesses or [("", None)])
        names = names_of(made, witness) if witness else frozenset()
        blind = witness is None or chance.random() < 0.2  # then nothing is spared, and anything may come out
        lines = fresh(made.lines)
        spared = set() if blind else evidence(made, lines, check, names)
        spoiler = Spoiler(lines, spared, chance, frozenset() if blind else names)
        spoil(spoiler, chance)
        verdict = judged(spoiler.lines, tmp_path, chance.choice((b"\n", b"\n", b"", b'\n{"type":')))
        assert blind or verdict is None or verdict.value != "true", (seed, check, witness)


def is_needed(event: dict[str, Any]) -> bool:
    """Single lines on which the truth of every run rests."""
    kind = event["type"]
    if kind == "coverage":
        of, on = event["of"], event["on"]
        return of in ("load", "recorder", "warden") or (on and of in ("slots", "workspaces", "rows"))
    if kind == "fault":
        return event["state"] in ("proven", "undone", "clean")
    if kind == "phase":
        return event["edge"] == "end" and event["name"] in ("drain", "clean", "close")
    return kind in ("contract", "submit", "segment")


def without_a_line(made: Base, chance: random.Random) -> Lines:
    lines = fresh(made.lines)
    kinds: dict[tuple[str, ...], list[tuple[list[bytes], bytes]]] = {}
    for own in lines.values():
        for line in own:
            event = json.loads(line)
            if is_needed(event):
                what = tuple(str(event.get(key)) for key in ("type", "of", "state", "name", "op"))
                kinds.setdefault(what, []).append((own, line))
    own, line = chance.choice(kinds[chance.choice(sorted(kinds))])
    del own[next(at for at, one in enumerate(own) if one is line)]
    return lines


def without_a_change(made: Base, chance: random.Random) -> Lines:
    """Without all marks of one change of an object, or of one step: somebody's effect."""
    effects = [event for event in made.events if event["type"] == "effect" and event["mark"] not in ("crash", "back")]
    one = chance.choice(effects)
    place = ("ledger", "key") if one["mark"] in ("b", "e") else ("ledger", "object", "gen")
    what = {key: one.get(key) for key in place}

    def is_it(line: bytes) -> bool:
        event = json.loads(line)
        return event["type"] == "effect" and all(event.get(key) == value for key, value in what.items())

    return {writer: [line for line in own if not is_it(line)] for writer, own in made.lines.items()}


def without_an_end(made: Base, chance: random.Random) -> Lines:
    """A segment that is cut somewhere, at least within its last needed line."""
    lines = fresh(made.lines)
    writer = chance.choice(sorted(lines))
    last = max(at for at, line in enumerate(lines[writer]) if is_needed(json.loads(line)))
    at = chance.choice((last, chance.randint(0, last)))
    lines[writer] = [*lines[writer][:at], lines[writer][at][: chance.randrange(len(lines[writer][at]))]]
    return lines


def without_a_kind(made: Base, chance: random.Random) -> Lines:
    """Without a segment, or all effects of one ledger, or all reports; those of sessions alone where a check rests on them."""
    if chance.random() < 0.4:
        gone = chance.choice(sorted(made.lines))
        return {writer: own for writer, own in made.lines.items() if writer != gone}
    kinds = [{"type": "report"}, {"ledger": "slots"}, {"ledger": "workspaces"}]
    if "lifecycle" in json.loads(made.lines["owner"][1])["require"]:
        kinds.append({"about": "session"})
    what = chance.choice(kinds)
    return {
        writer: [
            line
            for line in own
            if not what.items() <= {k: v for k, v in json.loads(line).items() if isinstance(v, str)}.items()
        ]
        for writer, own in made.lines.items()
    }


@pytest.mark.parametrize("batch", BATCHES)
def test_a_true_history_without_what_its_truth_rests_on_is_never_true(batch: int, tmp_path: pathlib.Path):
    ways = (without_a_line, without_a_change, without_an_end, without_a_kind)
    for seed, chance in seeds(batch):
        made, way = chance.choice(correct()), chance.choice(ways)
        lines = way(made, chance)
        verdict = judged(lines, tmp_path, b"" if way is without_an_end else b"\n")
        assert verdict is None or verdict.value != "true", (seed, way.__name__)


def test_what_is_spoiled_is_what_it_should_be():
    assert {made.value for made in correct()} == {"true"}
    assert len(correct()) > len(KINDS) / 2
    assert {check for made in violated() for check, _ in made.witnesses} == set(checker.known())
    assert ns(0) == 1_000_000_000_000
