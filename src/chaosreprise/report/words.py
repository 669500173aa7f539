"""How figures are written for people, the same in every report."""

import math
import re
from collections.abc import Iterable

from chaosreprise.checker import Finding, KindExposure, Recovery, Verdict, Witness
from chaosreprise.checker.verdict import Evidence, FaultTold, Moment, Span

HEADLINE = {"true": "PASS", "false": "FAIL", "unknown": "UNKNOWN"}
ON_TIME_MS = 20.0  # what the platform sees of a lag below this is lost in its own
WIDE_S = 0.0015  # an interval at least as wide is written with both ends
EMBEDDED, LAB = "embedded", re.compile(r"lab-[0-9a-f]{6}@")
RECOVERED = (
    ("noticed", "noticed"),
    ("elsewhere", "next start elsewhere"),
    ("first_success", "first success"),
    ("drained", "drained"),
    ("normal", "normal latency"),
)
SINCE = {"proven": "after it broke", "undoing": "after its undo began"}


def headline(verdict: Verdict) -> str:
    return HEADLINE[verdict.value]


def name_of(verdict: Verdict) -> str:
    return verdict.experiment or verdict.run or "a history"


def platform_of(platform: str) -> str:
    """Whose name stays the same from run to run: labs that Reprise makes are one platform, wherever and however often they are made."""
    return EMBEDDED if LAB.match(platform) else platform


def moment(span: Span | Moment) -> str:
    """A time in seconds since the start; both ends where they differ visibly."""
    lo, hi = (span.lo, span.hi) if isinstance(span, Moment) else span
    return f"{hi:.3f}" if hi - lo < WIDE_S else f"{lo:.3f}..{hi:.3f}"


def percent(rate: float | None) -> str:
    return "nothing" if rate is None else f"{rate * 100:.0f} %"


def count(finding: Finding) -> str:
    """How often it is violated: a range where that is not sure, and no number where nothing could be judged."""
    if finding.value == "unknown" and not finding.evidence and not finding.count[1]:
        return "?"
    lowest, highest = finding.count
    return str(lowest) if lowest == highest else f"{lowest}..{highest}"


def known(finding: Finding) -> str:
    """A note beside its count, where all of it is known."""
    return " (known)" if finding.besides is not None else ""


def own_row(witness: Witness) -> str:
    """What the platform itself says of the command; nothing where a witness is about no command."""
    if not witness.op:
        return ""
    return f"the platform's own row says: {witness.row}" if witness.row else "the platform has no row for it"


def labels(finding: Finding) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(finding.labels.items()))


def exposed(exposure: dict[str, KindExposure]) -> str:
    """Each kind that had to be exposed, with what 0 of so many excludes."""
    wanted = sorted(((kind, told) for kind, told in exposure.items() if told.need), key=lambda item: -item[1].n)
    parts = []
    for number, (kind, told) in enumerate(wanted):
        words = "excludes loss above " if number == 0 else ""
        accepted = "none accepted" if told.excludes_above is None else f"{words}{percent(told.excludes_above)}"
        power = f"({accepted})" if told.n else f"(of {told.need} needed)"
        parts.append(f"{kind} {told.n} {power}")
    return f"{', '.join(parts)}, at 95 %" if parts else "nothing was asked to be"


def evidence(told: Evidence) -> str:
    parts = [f"{n:,} effects in {ledger} ({told.objects.get(ledger, 0)} objects)" for ledger, n in told.effects.items()]
    parts = parts or ["no effects, so nothing shows what really ran, or how often"]
    parts.append(f"{told.reports:,} reports of the platform")
    if told.lag_ms is not None:
        punctual = "load on time" if told.lag_ms <= ON_TIME_MS else "load late"
        skipped = f", {told.skipped} steps and reads not sent" if told.skipped else ""
        parts.append(f"{punctual} (p99 lag {told.lag_ms:.1f} ms{skipped})")
    return "; ".join(parts)


def fault(told: FaultTold) -> str:
    """One fault in a line."""
    when = f" {told.moment}" if told.moment else ""
    if told.proven is None:
        return f"{told.component} ({told.kind}){when}: not proven, {told.end}"
    until = told.undoing or told.undone
    text = f"{told.component} ({told.kind}){when}, proven at {moment(told.proven)} s"
    text += f", undone from {moment(until)} s" if until else ", never undone"
    return text + (f" by {told.by}" if told.by else "") + f", {told.end}"


def recovered(told: Recovery) -> str:
    """One fault's recovery in a line, with the widest of its intervals; what was not seen is said to be so."""
    spans: dict[str, Span] = {name: span for name, _ in RECOVERED if (span := getattr(told, name)) is not None}
    texts = dict(RECOVERED)
    parts = []
    for since, after in SINCE.items():
        if seen := [f"{texts[name]} {figure(told, name)}" for name in spans if told.since[name] == since]:
            parts.append(f"{' · '.join(seen)} {after}")
    missing: dict[str, list[str]] = {}
    for name, text in RECOVERED:
        if name not in spans and name in told.why_not:
            missing.setdefault(told.why_not[name], []).append(text)
    if parts:
        parts[-1] += f" ({resolution(spans.values())})"
    parts += [f"{', '.join(names)}: no, {reason}" for reason, names in missing.items()]
    return f"{told.component}: {' · '.join(parts)}"


def figure(told: Recovery, name: str) -> str:
    """The middle of one figure, with what is to be said of it and what an objective allows."""
    lo, hi = getattr(told, name)
    allowed = f"objective {told.limits[name]:g} s" if name in told.limits else ""
    besides = ", ".join(part for part in (told.notes.get(name, ""), allowed) if part)
    return f"{(lo + hi) / 2:.2f} s" + (f" ({besides})" if besides else "")


def resolution(spans: Iterable[Span]) -> str:
    """How far off any of these middles may be."""
    off = max((hi - lo) / 2 for lo, hi in spans)
    return f"±{math.ceil(off * 1e3 - 1e-6)} ms" if off < 1 else f"±{math.ceil(off * 10) / 10:.1f} s"
