"""The verdict as a block of plain text for a terminal: what was found, on what evidence, and what to do next."""

import os
import re
import textwrap
from collections.abc import Iterable, Iterator

from chaosreprise.checker import Doubt, Finding, Verdict, Witness
from chaosreprise.checker.registry import checks
from chaosreprise.report import words

WIDTH = 110
LABEL = 11
SHOWN = 3  # witnesses of one check
DOUBTS = 6
UNITS = re.compile(r"(\d) (s\b|ms\b|%|±)")
COLOURS = {"true": "32", "false": "31", "unknown": "33"}


def console(verdict: Verdict, where: str | os.PathLike[str] | None = None, *, colour: bool = False) -> str:
    """The block, with `where` as the run's directory. Colours only on request; what the platform said can't bring its own."""
    place = os.fspath(where) if where is not None else None
    lines = [*_head(verdict, place)]
    if verdict.value == "false":
        lines += _violations(verdict)
    lines += _known(verdict)
    lines += _doubts(verdict)
    lines += _facts(verdict)
    lines += _foot(verdict, place)
    text = "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in "\n".join(["", *lines, ""]))
    word = words.headline(verdict)
    return text.replace(word, f"\033[1;{COLOURS[verdict.value]}m{word}\033[0m", 1) if colour else text


def _head(verdict: Verdict, place: str | None) -> Iterator[str]:
    word, name = words.headline(verdict), words.name_of(verdict)
    room = WIDTH - 6 - len(word) - len(name)
    if place is None:
        yield f"  {word}  {name}"
    elif len(place) <= room:
        yield f"  {word}  {name}{place:>{room + 2}}"
    else:
        yield f"  {word}  {name}"
        yield from _line("run", place)


def _violations(verdict: Verdict) -> Iterator[str]:
    for name, found in verdict.checks.items():
        if found.value == "false" and found.besides is None:
            yield from _violation(name, found)


def _violation(name: str, found: Finding) -> Iterator[str]:
    n = found.count[0]
    says = checks()[name].says[0 if n == 1 else 1]
    details = [part for part in (words.labels(found), _baseline(found)) if part]
    yield f"  {name} {words.count(found)}   {says}" + (f": {'; '.join(details)}" if details else "")
    if not found.promised:
        yield "    the platform does not promise it, so it is only told"
    for witness in found.witnesses[:SHOWN]:
        yield from _witness(witness)
    if n > SHOWN:
        yield f"    and {n - SHOWN} more, in verdict.json and report.html"


def _known(verdict: Verdict) -> Iterator[str]:
    """Violations that somebody has accepted, and entries that are about nothing any more."""
    for told in verdict.known:
        if told.seen:
            yield from _line("known", f"{told.check} {told.seen}: {told.why} (until {told.expires})")
        elif told.gone:
            yield from _line("known", f"{told.check} 0: {told.match!r} does not show up any more: take it out")


def _baseline(found: Finding) -> str:
    if not found.baseline:
        return ""
    who = "all" if found.baseline == found.count[0] else str(found.baseline)
    return f"{who} in the baseline, before anything was broken"


def _witness(witness: Witness) -> Iterator[str]:
    label = f" [{witness.label}]" if witness.label else ""
    yield from textwrap.wrap(f"{witness.say}{label}", WIDTH, initial_indent="    ", subsequent_indent="      ")
    yield from _flow([f"{words.moment(moment)} {moment.what}" for moment in witness.moments], "      ")
    if says := words.own_row(witness):
        yield from textwrap.wrap(says, WIDTH, initial_indent="      ", subsequent_indent="        ")


def _doubts(verdict: Verdict) -> Iterator[str]:
    """What is unknown: of the run as a whole, then of its checks. One next step for those that share it."""
    doubts = list(verdict.doubts)
    for name, found in verdict.checks.items():
        named = "" if found.required else " (optional)"
        doubts += [Doubt(what=f"{name}{named}, {doubt.what}", why=doubt.why, do=doubt.do) for doubt in found.scope]
    if doubts and verdict.value != "unknown":
        yield "  unknown besides"
    for number, doubt in enumerate(doubts[:DOUBTS]):
        yield from textwrap.wrap(f"{doubt.what}: {doubt.why}", WIDTH, initial_indent="  ", subsequent_indent="    ")
        if number + 1 == len(doubts[:DOUBTS]) or doubts[number + 1].do != doubt.do:
            yield from textwrap.wrap(f"-> {doubt.do}", WIDTH, initial_indent="    ", subsequent_indent="       ")
    if len(doubts) > DOUBTS:
        yield f"  and {len(doubts) - DOUBTS} more, in verdict.json and report.html"


def _facts(verdict: Verdict) -> Iterator[str]:
    counts = verdict.counts
    if counts.sent:
        decided = [f"{n} {word}" for n, word in ((counts.happened, "happened"), (counts.absent, "did not")) if n]
        unclear = f"   ({' and '.join(decided)} of those without a clear answer)" if decided else ""
        text = f"{counts.sent:,} sent   {counts.accepted:,} accepted   {counts.refused:,} refused"
        yield from _line("commands", f"{text}   {counts.undecided:,} undecided{unclear}")
        yield from _line("evidence", words.evidence(verdict.evidence))
    for fault in verdict.faults:
        yield from _line("broken", words.fault(fault))
    if any(told.n for told in verdict.exposure.values()):
        yield from _line("exposed", f"meanwhile, on its sessions: {words.exposed(verdict.exposure)}")
    if verdict.checks and verdict.value != "false":
        yield from _checks(verdict)
    for told in verdict.recovery:
        yield from _line("recovery", words.recovered(told))
    if verdict.not_tested:
        yield from _line("not tested", "; ".join(dict.fromkeys(entry.what for entry in verdict.not_tested)))


def _checks(verdict: Verdict) -> Iterator[str]:
    found = [f"{name} {words.count(finding)}{words.known(finding)}" for name, finding in verdict.checks.items()]
    if verdict.value == "unknown":
        found.append("as far as anything was seen")
    elif verdict.watch:
        found.append(f"within {verdict.watch.seconds:.1f} s after {verdict.watch.after}")
    yield from _flow(found, "  ", gap="   ")


def _foot(verdict: Verdict, place: str | None) -> Iterator[str]:
    if verdict.value != "true" and verdict.seed is not None:
        yield from _line("again", f"REPRISE_SEED={verdict.seed} draws the same victim, commands and times")
    if place is not None:
        yield from _line("report", os.path.join(place, "report.html"))


def _line(label: str, text: str) -> list[str]:
    held = UNITS.sub("\\1\0\\2", text)  # a figure stays with its unit
    lines = textwrap.wrap(
        held,
        WIDTH,
        initial_indent=f"  {label:<{LABEL}}",
        subsequent_indent=" " * (LABEL + 2),
        break_on_hyphens=False,
        break_long_words=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    return [line.replace("\0", " ") for line in lines]


def _flow(parts: Iterable[str], indent: str, gap: str = "  ") -> Iterator[str]:
    """Parts side by side, broken only between them."""
    line = ""
    for part in (" ".join(whole.split())[: WIDTH - len(indent)] for whole in parts):
        if line and len(indent) + len(line) + len(gap) + len(part) > WIDTH:
            yield indent + line
            line = ""
        line = f"{line}{gap}{part}" if line else part
    if line:
        yield indent + line
