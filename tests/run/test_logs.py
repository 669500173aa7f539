"""The logs of the platform's components that a run keeps: their ends, in whole lines, and no secret in them."""

import pathlib

import pytest

from chaosreprise.platform import file
from chaosreprise.platform.file import Platform
from chaosreprise.report.markdown import LOGS
from chaosreprise.run import logs

TEXT = """version = 1
kind = "streamspace"
name = "x"
[control]
url = "http://127.0.0.1:1"
user = "u"
password = { env = "PLANTED_PASSWORD" }
template = "t"
[timing]
settle = { backoff_s = 1, reconcile_s = 1, slowest_s = 1 }
[budget]
users = ["a"]
[evidence.rows]
kind = "sql"
dsn = { file = "reader.dsn" }
[components.agents]
how = "process"
keeper = "stack/keeper.json"
"""
PLANTED = {"PLANTED_PASSWORD": "correct horse/battery", "in the dsn": "pl4nted-dsn", "beside": "f00df00df00d"}


@pytest.fixture
def platform(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("PLANTED_PASSWORD", PLANTED["PLANTED_PASSWORD"])
    (tmp_path / "stack" / "logs").mkdir(parents=True)
    (tmp_path / "stack" / "secrets" / "agents").mkdir(parents=True)
    (tmp_path / "stack" / "secrets" / "agents" / "a1").write_text(PLANTED["beside"] + "\n")
    (tmp_path / "reader.dsn").write_text(f"postgresql://reader:{PLANTED['in the dsn']}@127.0.0.1/db\n")
    (tmp_path / "lab.toml").write_text(TEXT)
    return file.load(str(tmp_path / "lab.toml"))


def kept(platform: Platform, said: str, name: str = "agents-a1.log") -> str:
    (platform.folder / "stack" / "logs" / name).write_text(said)
    run = platform.folder / "run"
    assert name in logs.collect(platform, run)
    return (run / LOGS / name).read_text()


@pytest.mark.parametrize("secret", PLANTED.values(), ids=PLANTED)
def test_what_the_platform_file_refers_to_is_masked_wherever_it_stands(secret: str, platform: Platform):
    quoted = secret.replace(" ", "%20").replace("/", "%2F")
    text = kept(platform, f"began with {secret} and\nGET /x?p={quoted} HTTP/1.1\nthe end\n")
    assert (secret in text, quoted in text) == (False, False)
    assert text == f"began with {logs.MASK} and\nGET /x?p={logs.MASK} HTTP/1.1\nthe end\n"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("sent eyJhbGciOi.eyJzdWIi.c2lnbmVk to", "sent *** to"),
        ("dsn postgres://u:hunter2@db:5432/x", "dsn postgres://***@db:5432/x"),
        ('{"password": "hunter2", "user": "u"}', '{"password": "***", "user": "u"}'),
        ("api_key=0123abcd next", "api_key=*** next"),
        ("the tokens of 3 users", "the tokens of 3 users"),
    ],
)
def test_what_looks_like_a_secret_is_masked_too(said: str, left: str, platform: Platform):
    assert kept(platform, said) == left


def test_of_a_long_log_the_last_whole_lines_are_kept(platform: Platform):
    text = kept(platform, "".join(f"line {n}\n" for n in range(20_000)))
    lines = text.splitlines()
    assert len(text.encode()) <= logs.KEPT
    assert lines == [f"line {n}" for n in range(20_000 - len(lines), 20_000)]


def test_a_platform_without_processes_of_a_keeper_leaves_none(platform: Platform):
    bare = TEXT.partition("[components.agents]")[0]
    (platform.folder / "bare.toml").write_text(bare)
    assert logs.collect(file.load(str(platform.folder / "bare.toml")), platform.folder / "run") == []
    assert not (platform.folder / "run").exists()
