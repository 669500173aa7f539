"""What people and files are told is told without the secrets that this process has read."""

import logging
import pathlib
from collections.abc import Iterator

import pytest

from chaosreprise import hidden
from chaosreprise.errors import BadInput
from chaosreprise.history import Answer, Report, Writer

SECRET = 'pl"anted-\u00fc-1'


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """Other tests of this process have their own."""
    before = list(hidden._texts)
    yield
    hidden._texts[:] = before


@pytest.mark.parametrize(
    "told",
    [
        "postgresql://watcher:pl%40nted-1@db/x is refused",
        "password authentication: pl@nted-1",
        "in a path: pl%40nted-1",
    ],
)
def test_of_a_connection_string_its_password_is_a_secret_too(told: str) -> None:
    hidden.hide("postgresql://watcher:pl%40nted-1@db/x")
    assert "nted-1" not in hidden.without(told)


@pytest.mark.parametrize("dsn", ["host=db password=planted-1 user=x", "password = 'planted 11' host=db"])
def test_so_is_one_among_keywords(dsn: str) -> None:
    hidden.hide(dsn)
    assert hidden.without("planted-1, or planted 11").count("<secret>") == 1


def test_a_sentence_a_record_and_a_trace_are_without(caplog: pytest.LogCaptureFixture) -> None:
    hidden.hide(SECRET)
    assert str(BadInput(f"refused: {SECRET}")) == "refused: <secret>"
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("any").exception("it was %s", SECRET)
    assert "it was <secret>" in caplog.text
    assert "anted-" not in caplog.text


def test_a_history_has_the_words_without_and_all_else_as_it_is(tmp_path: pathlib.Path) -> None:
    """Who has `terminated` for a password loses no state of a session."""
    for secret in (SECRET, "terminated"):
        hidden.hide(secret)
    with Writer(tmp_path, "load", "r1") as writer:
        writer.write(Answer(lo=1, hi=2, cmd="c1", outcome="info", error=f"500 {SECRET}"))
        report = Report(
            lo=1, hi=2, source="rows", about="session", id="s1", state="terminated", fields={"error": SECRET}
        )
        writer.write(report)
    text = (tmp_path / "load.jsonl").read_text()
    assert "500 <secret>" in text
    assert "anted-" not in text
    assert '"state":"terminated"' in text
