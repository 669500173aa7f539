"""report.md: the verdict as Markdown, such as a CI job's summary shows, with the ends of the logs that the run has collected.

What the platform said is text here and nothing else: it can neither make markup nor leave its place.
"""

import pathlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from chaosreprise.checker import Doubt, Finding, Verdict
from chaosreprise.report import words

LOGS = pathlib.Path("logs", "platform")  # of a run's directory: what was collected of the platform's components
SHOWN, LINES, WIDTH = 3, 15, 400
MARKUP = re.compile(r"([\\`*_{}\[\]<>|#&~!])")


def markdown(verdict: Verdict, folder: pathlib.Path | None = None) -> str:
    """The whole text; `folder` is the run's directory."""
    lines = [*_head(verdict), *_checks(verdict), *_findings(verdict), *_facts(verdict)]
    lines += _logs(folder) if folder is not None else []
    return "\n".join(lines) + "\n"


def _head(verdict: Verdict) -> Iterator[str]:
    yield f"# {words.headline(verdict)}: {escaped(words.name_of(verdict))}"
    yield ""
    started = (
        None if verdict.started is None else f"{datetime.fromtimestamp(verdict.started, UTC):%Y-%m-%d %H:%M:%S} UTC"
    )
    for what, value in (
        ("run", verdict.run),
        ("platform", verdict.platform),
        ("seed", verdict.seed),
        ("started", started),
    ):
        if value not in (None, ""):
            yield f"- {what}: {escaped(str(value))}"
    yield ""


def _checks(verdict: Verdict) -> Iterator[str]:
    if not verdict.checks:
        return
    yield from ("## Checks", "", "| check | verdict | count | evidence |", "|---|---|---|---|")
    for name, found in verdict.checks.items():
        optional = "" if found.required else " (optional)"
        count = f"{words.count(found)}{words.known(found)}"
        yield f"| {escaped(name)}{optional} | {found.value} | {count} | {found.evidence:,} |"
    yield ""


def _findings(verdict: Verdict) -> Iterator[str]:
    told = [line for name, found in verdict.checks.items() for line in _finding(name, found)]
    told += [_doubt("the run", doubt) for doubt in verdict.doubts]
    told += [_doubt(name, doubt) for name, found in verdict.checks.items() for doubt in found.scope]
    if told:
        yield from ("## Findings", "", *told, "")


def _finding(name: str, found: Finding) -> Iterator[str]:
    for witness in found.witnesses[:SHOWN]:
        yield f"- {escaped(name)}: {escaped(witness.say)}"
        yield from (f"    - {words.moment(moment)} s {escaped(moment.what)}" for moment in witness.moments)
    if len(found.witnesses) > SHOWN:
        yield f"- {escaped(name)}: more of them in verdict.json"


def _doubt(of: str, doubt: Doubt) -> str:
    return f"- {escaped(of)} is unknown, {escaped(doubt.what)}: {escaped(doubt.why)} (next: {escaped(doubt.do)})"


def _facts(verdict: Verdict) -> Iterator[str]:
    yield from ("## What was done and seen", "")
    counts = verdict.counts
    yield f"- commands: {counts.sent:,} sent, {counts.accepted:,} accepted, {counts.refused:,} refused, {counts.undecided:,} undecided"
    yield f"- evidence: {escaped(words.evidence(verdict.evidence))}"
    yield from (f"- broken: {escaped(words.fault(fault))}" for fault in verdict.faults)
    yield f"- exposed: {escaped(words.exposed(verdict.exposure))}"
    yield from (f"- recovery: {escaped(words.recovered(told))}" for told in verdict.recovery)
    yield from (f"- not tested: {escaped(what)}" for what in dict.fromkeys(entry.what for entry in verdict.not_tested))
    yield ""


def _logs(folder: pathlib.Path) -> Iterator[str]:
    paths = sorted((folder / LOGS).glob("*")) if (folder / LOGS).is_dir() else []
    yield from ("## Logs of the platform", "")
    if not paths:
        yield "None were collected: the run knows those of processes that a keeper of Reprise runs, and no others."
    for path in paths:
        if path.stat().st_size == 0:
            yield from (f"{escaped(path.name)} is empty.", "")
            continue
        ends = path.read_text(errors="replace").splitlines()[-LINES:]
        text = "\n".join(_plain(line)[:WIDTH] for line in ends)
        fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
        yield f"<details><summary>{escaped(path.name)}, the last {len(ends)} lines</summary>"
        yield from ("", f"{fence}text", text, fence, "", "</details>", "")


def escaped(said: str) -> str:
    """On one line, without a meaning as markup."""
    return MARKUP.sub(r"\\\1", _plain(said)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def _plain(said: str) -> str:
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in said)
