"""report.html: the verdict as one page that needs nothing else: no script, no font, no picture from outside.

Everything that comes from a history is escaped: the platform under test may say anything.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources

from chaosreprise.checker import Doubt, Finding, KnownTold, Verdict, Witness
from chaosreprise.checker.case import Case
from chaosreprise.history import History
from chaosreprise.report import words
from chaosreprise.report.timeline import Timeline, legend


def page(verdict: Verdict, history: History) -> str:
    """The whole page."""
    title = escape(f"{words.headline(verdict)} {words.name_of(verdict)}")
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    body = [
        *_header(verdict),
        *_timeline(verdict, history),
        *_checks(verdict),
        *_witnesses(verdict),
        *_known(verdict),
        *_doubts(verdict),
        *_exposure(verdict),
        *_recovery(verdict),
        *_counts(verdict),
        *_not_tested(verdict),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head>{head}<style>{style}</style></head><body><main>',
            *body,
            "</main></body></html>",
            "",
        ]
    )


def _header(verdict: Verdict) -> Iterator[str]:
    yield f'<header class="{verdict.value}"><p class="badge">{words.headline(verdict)}</p>'
    yield f"<div><h1>{escape(words.name_of(verdict))}</h1>"
    facts = [verdict.run, verdict.platform, f"seed {verdict.seed}" if verdict.seed is not None else ""]
    if verdict.started is not None:
        facts.append(datetime.fromtimestamp(verdict.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    yield f"<p>{' · '.join(escape(fact) for fact in facts if fact)}</p></div></header>"
    yield _list(verdict.why, "why")


def _timeline(verdict: Verdict, history: History) -> Iterator[str]:
    if history.contract is None or not verdict.counts.sent:
        return
    yield "<section><h2>What happened</h2><figure>"
    yield Timeline(Case(history, history.contract, verdict.stage), verdict).svg()
    entries = "".join(f"<span>{drawn} {escape(text)}</span>" for drawn, text in legend())
    yield f"<figcaption>{entries}</figcaption></figure></section>"


def _checks(verdict: Verdict) -> Iterator[str]:
    if not verdict.checks:
        return
    rows = [
        [
            f"<strong>{escape(name)}</strong>",
            f'<span class="pill {found.value}">{found.value}</span>',
            words.count(found),
            escape(words.labels(found)) or "–",
            escape(found.level),
            f"{found.evidence:,}",
            _standing(found),
        ]
        for name, found in verdict.checks.items()
    ]
    yield "<section><h2>Checks</h2>"
    yield _table(("check", "verdict", "violations", "of which", "attribution", "effects judged", "standing"), rows)
    if verdict.watch is not None:
        yield f"<p>Watched for {verdict.watch.seconds:.1f} s after {verdict.watch.after}, until nothing more could come.</p>"
    yield "</section>"


def _standing(found: Finding) -> str:
    parts = ["required" if found.required else "optional", "promised" if found.promised else "not promised: told only"]
    if found.baseline:
        parts.append(f"{found.baseline} in the baseline")
    if found.known:
        parts.append(f"{found.known} known")
    if found.exempt:
        parts.append(f"{found.exempt} exempt")
    return ", ".join(parts)


def _witnesses(verdict: Verdict) -> Iterator[str]:
    if not any(found.witnesses for found in verdict.checks.values()):
        return
    yield "<section><h2>Witnesses</h2>"
    for name, found in verdict.checks.items():
        for number, witness in enumerate(found.witnesses):
            yield from _witness(f"w-{name}-{number}", name, witness)
        if found.count[0] > len(found.witnesses):
            yield f"<p>and {found.count[0] - len(found.witnesses)} more of {escape(name)}</p>"
    yield "</section>"


def _witness(anchor: str, name: str, witness: Witness) -> Iterator[str]:
    tags = [tag for tag in (name, witness.label, "baseline" if witness.baseline else None) if tag]
    shown = " ".join(f'<span class="pill false">{escape(tag)}</span>' for tag in tags)
    yield f'<article id="{escape(anchor)}"><h3>{shown} {escape(witness.say)}</h3>'
    moments = [
        f'<tr class="{"bad" if moment.bad else "plain"}"><td>{words.moment(moment)} s</td><td>{escape(moment.what)}</td></tr>'
        for moment in witness.moments
    ]
    yield f'<table class="moments">{"".join(moments)}</table>'
    incs = [f"{acted.object}: {' '.join(str(part) for part in acted.inc)}" for acted in witness.effects if acted.inc]
    yield f"<p>{escape(words.own_row(witness))}</p>" + (
        f"<p class=note>incarnations {escape('; '.join(incs))}</p>" if incs else ""
    )
    yield "</article>"


def _known(verdict: Verdict) -> Iterator[str]:
    if not verdict.known:
        return
    yield "<section><h2>Known violations</h2>"
    rows = [
        [escape(told.check), escape(told.match), escape(told.why), escape(told.expires), _seen(told)]
        for told in verdict.known
    ]
    yield _table(("check", "witness", "why it is accepted", "until", "seen"), rows)
    yield "</section>"


def _seen(told: KnownTold) -> str:
    return str(told.seen) if told.seen else "not any more: take it out" if told.gone else "–"


def _doubts(verdict: Verdict) -> Iterator[str]:
    doubts = [("run", doubt) for doubt in verdict.doubts]
    doubts += [(name, doubt) for name, found in verdict.checks.items() for doubt in found.scope]
    if not doubts:
        return
    yield "<section><h2>Unknown</h2>"
    yield _table(("of", "about", "why", "window", "next step"), [_doubt(of, doubt) for of, doubt in doubts])
    yield "</section>"


def _doubt(of: str, doubt: Doubt) -> list[str]:
    window = f"{doubt.window[0]:.3f} s to {doubt.window[1]:.3f} s" if doubt.window else "the run"
    return [escape(of), escape(doubt.what), escape(doubt.why), window, escape(doubt.do)]


def _exposure(verdict: Verdict) -> Iterator[str]:
    if not verdict.faults and not verdict.exposure:
        return
    yield "<section><h2>What was broken, and what crossed it</h2>"
    yield _list([words.fault(fault) for fault in verdict.faults], "faults")
    rows = [
        [
            escape(kind),
            str(told.during),
            str(told.in_flight),
            f"{told.need or '–'}",
            f"{words.percent(told.excludes_above)}" if told.n else "–",
            "yes" if told.shows_repeat else "no",
        ]
        for kind, told in sorted(verdict.exposure.items())
    ]
    yield _table(
        ("kind", "during", "in flight", "needed", "0 lost excludes rates above (95 %)", "a repeat shows"), rows
    )
    yield "</section>"


def _recovery(verdict: Verdict) -> Iterator[str]:
    if not verdict.recovery:
        return
    yield "<section><h2>Recovery</h2>"
    rows = []
    for told in verdict.recovery:
        for name, text in words.RECOVERED:
            span = getattr(told, name)
            value, off = told.why_not.get(name, "–"), "–"
            if span is not None:
                value, off = f"{words.figure(told, name)} {words.SINCE[told.since[name]]}", words.resolution([span])
            rows.append([escape(told.component), text, escape(value), off, escape(told.source.get(name, "–"))])
    yield _table(("component", "what", "when", "off by at most", "source"), rows)
    yield "</section>"


def _counts(verdict: Verdict) -> Iterator[str]:
    counts, seen = verdict.counts, verdict.evidence
    yield "<section><h2>Commands and evidence</h2>"
    heads = ("sent", "accepted", "refused", "undecided", "unclear, happened", "unclear, did not", "reads")
    values = (
        counts.sent,
        counts.accepted,
        counts.refused,
        counts.undecided,
        counts.happened,
        counts.absent,
        counts.reads,
    )
    yield _table(heads, [[f"{value:,}" for value in values]])
    kinds = ", ".join(f"{escape(kind)} {n:,}" for kind, n in counts.by_op.items())
    yield f"<p>{kinds}</p><p>{escape(words.evidence(seen))}</p></section>"


def _not_tested(verdict: Verdict) -> Iterator[str]:
    if not verdict.not_tested:
        return
    yield "<section><h2>Not tested</h2>"
    yield _table(("what", "why"), [[escape(entry.what), escape(entry.why)] for entry in verdict.not_tested])
    yield "</section>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(texts: Sequence[str], style: str) -> str:
    return f'<ul class="{style}">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ""
