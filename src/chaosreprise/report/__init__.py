"""What a person and a machine read of a verdict: console, verdict.json, JUnit, HTML, Markdown, metrics."""

import pathlib

from chaosreprise import recovery
from chaosreprise.checker import Verdict
from chaosreprise.errors import RunBroken
from chaosreprise.history import History
from chaosreprise.report.console import console
from chaosreprise.report.html import page
from chaosreprise.report.junit import suite
from chaosreprise.report.markdown import markdown
from chaosreprise.report.metrics import metrics
from chaosreprise.report.verdict_file import replace, verdict_json

__all__ = ["console", "markdown", "metrics", "page", "suite", "verdict_json", "write"]


def write(folder: pathlib.Path, verdict: Verdict, history: History) -> None:
    """Write report.html, report.md, junit.xml, metrics.prom and, last, verdict.json, each as a whole; fills in the verdict's recovery.

    Raises RunBroken when one of them can't be written.
    """
    recovery.add(verdict, history)
    files = (
        ("report.html", page(verdict, history)),
        ("report.md", markdown(verdict, folder)),
        ("junit.xml", suite(verdict)),
        ("metrics.prom", metrics(verdict)),
        ("verdict.json", verdict_json(verdict)),
    )
    for name, text in files:
        try:
            replace(folder / name, text)
        except OSError as error:
            raise RunBroken(f"{folder / name}: can't be written ({error.strerror})") from error
