"""The file of known violations: what is wrong with it refuses the run, and `chaos reprise accept` writes what is read again."""

import pathlib
import subprocess
import sys

import msgspec
import pytest
from histories import Made, complete, ns

from chaosreprise import checker
from chaosreprise.errors import BadInput
from chaosreprise.history import Effect
from chaosreprise.run import known

GOOD = """\
[[known]]
check = "lost"
match = "* wake of session *: accepted at * s, no effect until * s [silent]"
why = "the queue is lost (TICKET-7)"
expires = 2999-01-31
"""


def file(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / "known.toml"
    path.write_text(text)
    return path


def losing() -> Made:
    made = complete()
    made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > ns(5))
    return made


def recorded(made: Made, folder: pathlib.Path) -> pathlib.Path:
    """A run's directory with this history."""
    (folder / "history").mkdir(parents=True)
    history = made.history()
    lines = [msgspec.json.encode(event) for event in (history.segments[0], history.contract, *history.events)]
    (folder / "history" / "owner.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


def test_a_good_file_is_read_with_or_without_quotes_around_its_day(tmp_path):
    for text in (GOOD, GOOD.replace("2999-01-31", '"2999-01-31"')):
        (entry,) = known.stated(str(file(tmp_path, text)))
        assert (entry.check, entry.expires) == ("lost", "2999-01-31")


def test_without_a_name_nothing_is_known():
    assert known.stated("") == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"lost"', '"lots"', 'known[0].check = "lots": no such check: known are contradicted, '),
        ("2999-01-31", '"soon"', 'known[0].expires = "soon": expected a day such as'),
        ("2999-01-31", '"2999-02-31"', 'known[0].expires = "2999-02-31": expected a day such as'),
        ("2999-01-31", "2001-01-31", "expired on 2001-01-31 (the queue is lost (TICKET-7)): repair what it is about"),
        ('why = "the queue is lost (TICKET-7)"', 'why = ""', 'known[0].why = "": expected the reason'),
        ('why = "the queue is lost (TICKET-7)"\n', "", "known[0].why is missing"),
        ("match =", "mtach =", "known[0].mtach is not a setting: did you mean match?"),
        ("[[known]]", "[known]", "known = "),
        ("[[known]]", "[[knwon]]", "knwon is not a setting: did you mean known?"),
        ("[[known]]", "[[known", "not TOML"),
        (
            "* wake of session *: accepted at * s, no effect until * s [silent]",
            "* * *",
            "at least 3 words must stand for themselves",
        ),
    ],
)
def test_what_is_wrong_with_it_is_said_and_refuses_the_run(tmp_path, old, new, says):
    path = file(tmp_path, GOOD.replace(old, new))
    with pytest.raises(BadInput) as error:
        known.stated(str(path))
    assert says in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_refuses_the_run(tmp_path):
    with pytest.raises(BadInput, match="the file of known violations can't be read"):
        known.stated(str(tmp_path / "known.toml"))


def test_it_is_found_beside_the_experiment(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    file(tmp_path / "experiments", GOOD)
    (tmp_path / "experiments" / "mine.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["chaos", "run", "experiments/mine.json"])
    assert len(known.stated("known.toml")) == 1


def test_what_is_accepted_is_known_afterwards(tmp_path):
    run = recorded(losing(), tmp_path / "run")
    path = tmp_path / "known.toml"
    lines = known.accept(str(run), 'a "reason"\twith \x7f', "2999-01-31", str(path))
    assert lines == [
        f"{path}: accepted until 2999-01-31: lost: * wake of session *: accepted at * s, no effect until * s [silent]"
    ]
    made = losing()
    made.contract.known = known.stated(str(path))
    assert made.contract.known[0].why == 'a "reason"\twith \x7f'
    assert checker.judge(made.history(), "end").value == "true"


def test_accepting_again_adds_nothing_and_keeps_what_was_written_by_hand(tmp_path):
    run = recorded(losing(), tmp_path / "run")
    path = file(tmp_path, "# by hand\n" + GOOD)
    lines = known.accept(str(run), "x", "2999-12-31", str(path))
    assert "was there already, until 2999-01-31" in lines[0]
    assert path.read_text() == "# by hand\n" + GOOD


@pytest.mark.parametrize(
    ("why", "expires", "says"),
    [
        (" ", "2999-01-31", "--why is empty"),
        ("x", "2001-01-31", "--expires 2001-01-31 is over"),
        ("x", "soon", '--expires = "soon"'),
    ],
)
def test_an_entry_needs_a_reason_and_a_day_to_come(tmp_path, why, expires, says):
    run = recorded(losing(), tmp_path / "run")
    with pytest.raises(BadInput) as error:
        known.accept(str(run), why, expires, str(tmp_path / "known.toml"))
    assert says in str(error.value)
    assert not (tmp_path / "known.toml").exists()


def test_there_is_nothing_to_accept_where_nothing_was_violated(tmp_path):
    run = recorded(complete(), tmp_path / "run")
    with pytest.raises(BadInput, match="nothing to accept: the verdict is true"):
        known.accept(str(run), "x", "2999-01-31", str(tmp_path / "known.toml"))


def test_the_command_accepts_and_the_exit_code_of_a_recheck_follows(tmp_path, chaos):
    run = recorded(losing(), tmp_path / "run")
    command = [chaos, "--no-version-check", "--no-log-file", "reprise"]
    assert subprocess.run([*command, "recheck", run], capture_output=True).returncode == 1
    done = subprocess.run(
        [*command, "accept", run, "--why", "x", "--expires", "2999-01-31"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = losing()
    made.contract.known = known.stated(str(tmp_path / "known.toml"))
    again = recorded(made, tmp_path / "again")
    told = subprocess.run([*command, "recheck", again], capture_output=True, text=True)
    assert told.returncode == 0
    assert "known      lost 1: x (until 2999-01-31)" in told.stdout
