"""Known violations: those that somebody has accepted, with a reason and a last day. They are told as known, and decide nothing.

An entry names a check and the words of a witness, with `*` for what differs from run to run: one word or a part of one, never
more, so that a pattern can't cover another sentence. A check is excused only if each of its violations has a witness and
each witness an entry. An entry whose last day is over excuses nothing, and makes a run unknown; one that matches nothing any more is
told, so that it can be taken out.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

from chaosreprise.checker import witness as witnesses
from chaosreprise.checker.verdict import Doubt, Finding, KnownTold, Value, Verdict, Witness
from chaosreprise.history import History
from chaosreprise.history.statements import Known

LEAST = 3  # words of a pattern that stand for themselves: below, it would match nearly anything
NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w-])")
NAME = re.compile(r"(?=[\w./:@-]*\d)(?=[\w./:@-]*[A-Za-z])[\w./:@-]*[\w]")
STATUS = "status "


def words_of(witness: Witness) -> str:
    """What a pattern is held against."""
    parts = [
        witness.kind or witness.say,
        f"[{witness.label}]" if witness.label else "",
        "[baseline]" if witness.baseline else "",
    ]
    return " ".join(" ".join(parts).split())


def pattern_of(witness: Witness) -> str:
    """Its words, with `*` for names, times and other figures; an HTTP status stays."""
    text = words_of(witness)
    for name in sorted({witness.cmd, witness.session or "", witness.agent or ""} - {""}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "*", text)
    text = NAME.sub("*", text)
    return NUMBER.sub(lambda found: found[0] if text[: found.start()].endswith(STATUS) else "*", text)


def matches(entry: Known, name: str, witness: Witness) -> bool:
    return entry.check == name and re.fullmatch(_pattern(entry.match), words_of(witness)) is not None


def _pattern(match: str) -> str:
    """`*` is a part of one word. What stands between two of them is taken at its first place, which never is a wrong one: so
    that the time does not grow with the power of their number."""
    first, *rest = (re.escape(part) for part in " ".join(match.split()).split("*"))
    if not rest:
        return first
    return first + "".join(rf"(?>\S*?{part})" for part in rest[:-1]) + rf"\S*{rest[-1]}"


def is_vague(match: str) -> bool:
    """Whether so little of a pattern stands for itself that it could cover something else."""
    return sum("*" not in word and re.search(r"[A-Za-z]{2}", word) is not None for word in match.split()) < LEAST


def expired(entry: Known, day: date) -> bool:
    return date.fromisoformat(entry.expires) < day


def doubts(history: History) -> list[Doubt]:
    """Entries that held no more on the day of the run, and such as can't be used."""
    found = []
    for entry in history.contract.known if history.contract is not None else []:
        if _is_unusable(entry):
            why = f"the entry {entry.match!r} of {entry.check} can't be used: too few words stand for themselves, or {entry.expires} is no day"
            found.append(
                Doubt(what="known", why=why, do="write down the words of the witness, or `chaos reprise accept` it")
            )
        elif expired(entry, day_of(history)):
            why = f"the entry {entry.match!r} of {entry.check} expired on {entry.expires}: {entry.why}"
            do = "repair what it is about and take it out, or decide again and give it a later day"
            found.append(Doubt(what="known", why=why, do=do))
    return found


def apply(verdict: Verdict, history: History) -> None:
    """Mark what is known in each finding, and tell of each entry how often it was seen."""
    entries = [entry for entry in history.contract.known if not _is_unusable(entry)] if history.contract else []
    holding = [entry for entry in entries if not expired(entry, day_of(history))]
    seen = dict.fromkeys(range(len(holding)), 0)
    for name, found in verdict.checks.items():
        for witness in found.witnesses:
            hits = [number for number, entry in enumerate(holding) if matches(entry, name, witness)]
            found.known += bool(hits)
            for number in hits[:1]:
                seen[number] += 1
        found.besides = _besides(found, verdict)
    verdict.known = [_told(entry, n, verdict) for entry, n in zip(holding, seen.values(), strict=True)]


def day_of(history: History) -> date:
    """The day on which the run began, in UTC."""
    first = min(history.segments, key=lambda segment: segment.mono)
    return datetime.fromtimestamp(first.wall / 1e9, UTC).date()


def _besides(found: Finding, verdict: Verdict) -> Value | None:
    """Its value without what is known; None where something is not, or could not be looked at."""
    lowest, highest = found.count
    every = found.known == len(found.witnesses) and 0 < len(found.witnesses) < witnesses.LIMIT
    if found.value != "false" or not every:
        return None
    return "unknown" if highest > lowest or found.scope or verdict.doubts else "true"


def _told(entry: Known, n: int, verdict: Verdict) -> KnownTold:
    """`gone` only where the check was judged and would have seen it."""
    found = verdict.checks.get(entry.check)
    looked = verdict.stage == "end" and found is not None and found.value != "unknown"
    return KnownTold(
        check=entry.check, match=entry.match, why=entry.why, expires=entry.expires, seen=n, gone=looked and not n
    )


def _is_unusable(entry: Known) -> bool:
    try:
        date.fromisoformat(entry.expires)
    except ValueError:
        return True
    return is_vague(entry.match)


def entries_for(verdict: Verdict, why: str, expires: str) -> Iterable[Known]:
    """An entry for each kind of violation of this verdict that is not known yet."""
    entries: dict[tuple[str, str], Known] = {}
    for name, found in verdict.checks.items():
        if found.value != "false" or found.besides is not None:
            continue
        for witness in found.witnesses:
            match = pattern_of(witness)
            entries.setdefault((name, match), Known(check=name, match=match, why=why, expires=expires))
    return entries.values()
