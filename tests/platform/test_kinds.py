"""A kind of platform may come from another distribution: it is found by its entry point, and what is wrong with it is one sentence."""

import pathlib
import sys

import pytest

from chaosreprise import checker
from chaosreprise.errors import BadInput, NotPossible
from chaosreprise.platform import adapter, file
from chaosreprise.platform.adapter import Description
from chaosreprise.platform.values import Hidden, Port, Strict
from chaosreprise.run import contract, plan

TIMING = "[timing]\nsettle = { backoff_s = 1, reconcile_s = 1, slowest_s = 1 }\n"
OTHER = f'version = 1\nkind = "other"\nname = "x"\n{TIMING}'
CONTROL = '[control]\nurl = "http://127.0.0.1:1"\nuser = "u"\npassword = { env = "P" }\ntemplate = "t"\n'
ADAPTER = "def adapter(platform, run):\n    return platform.file.name, run\n"


class Settings(Strict, frozen=True):
    port: Port
    token: Hidden | None = None
    fast: bool = False


class Installed:
    """Distributions on the path, each with one entry point."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def add(self, kind: str, text: str = ADAPTER, name: str = "its-adapter") -> None:
        module = name.replace("-", "_")
        info = self._folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[chaosreprise.platforms]\n{kind} = {module}\n")
        (self._folder / f"{module}.py").write_text(text)


@pytest.fixture
def installed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    for name in ("its_adapter", "another"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Installed(folder)


def load(folder: pathlib.Path, text: str) -> file.Platform:
    path = folder / "p.toml"
    path.write_text(text)
    return file.load(str(path))


def refused(folder: pathlib.Path, text: str) -> str:
    with pytest.raises(BadInput) as error:
        load(folder, text)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{folder}/p.toml: ")


def test_an_adapter_of_another_distribution_is_found_by_its_entry_point(installed: Installed, tmp_path: pathlib.Path):
    installed.add("other")
    assert adapter.make(load(tmp_path, OTHER), "r1") == ("x", "r1")


def test_a_kind_that_nobody_brings_is_refused_with_those_that_are_known(installed: Installed, tmp_path: pathlib.Path):
    installed.add("other")
    said = refused(tmp_path, OTHER.replace('"other"', '"othr"'))
    assert said.startswith('kind = "othr": expected one of embedded, streamspace, sandbox, other, or install')


def test_what_is_built_in_is_not_replaced(installed: Installed, tmp_path: pathlib.Path):
    installed.add("sandbox", "raise RuntimeError('imported')")
    assert adapter.module_of("sandbox").__name__ == "chaosreprise.platform.sandbox"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_this_name\n", "its_adapter of its-adapter, can't be imported (ModuleNotFoundError("),
        ("1 / 0\n", "its_adapter of its-adapter, can't be imported (ZeroDivisionError("),
        ("adapter = None\n", "its_adapter of its-adapter has no function adapter(platform, run)"),
    ],
)
def test_an_adapter_that_is_broken_is_said(installed: Installed, tmp_path: pathlib.Path, text: str, says: str):
    installed.add("other", text)
    with pytest.raises(BadInput) as error:
        adapter.make(load(tmp_path, OTHER), "r1")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_nobody_guesses_between_two_of_one_kind(installed: Installed, tmp_path: pathlib.Path):
    installed.add("other")
    installed.add("other", name="another")
    with pytest.raises(BadInput, match=r"another of another.*both bring it: uninstall one"):
        adapter.make(load(tmp_path, OTHER), "r1")


def test_its_settings_are_read_as_strictly_as_any_table(
    installed: Installed, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    installed.add("other")
    monkeypatch.setenv("T", "word")
    found = load(tmp_path, OTHER + '[settings]\nport = 80\ntoken = { env = "T" }\nfast = true\n')
    settings = found.settings(Settings)
    assert (settings.port, settings.fast) == (80, True)
    assert settings.token is not None
    assert settings.token.read(found.folder) == "word"
    for text, says in (
        ("", "port is missing: expected a port from 1 to 65535"),
        ("port = 0", "port = 0: expected a port from 1 to 65535"),
        ("port = 80\nfsat = true", "fsat is not a setting: did you mean fast?"),
        ('port = 80\ntoken = "secret"', "token: expected a secret by reference"),
    ):
        with pytest.raises(BadInput) as error:
            load(tmp_path, f"{OTHER}[settings]\n{text}\n").settings(Settings)
        assert str(error.value).startswith(f"{tmp_path}/p.toml: [settings]: {says}")
        assert "secret" not in str(error.value).replace("a secret by reference", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[settings]\nports = [80]", "settings.ports = [80]: expected a text on one line, a number, true or false"),
        ('[settings]\n"a b" = 1', 'settings."a b" is not a setting'),
        ("[settings]\ntoken = { env = 'T', file = 't' }", "settings.token"),
        ('[settings]\nurl = "http://x:99999"', 'settings.url = "http://x:99999": Port out of range'),
        (CONTROL, "[control] does not go with kind"),
        ("[lab]\nagents = 3", "[lab] goes only with kind"),
    ],
)
def test_what_does_not_stand_in_such_a_file_is_refused(
    installed: Installed, tmp_path: pathlib.Path, text: str, says: str
):
    installed.add("other")
    assert refused(tmp_path, f"{OTHER}{text}\n").startswith(says)


@pytest.mark.parametrize("kind", ["streamspace", "embedded"])
def test_what_is_built_in_keeps_its_own_tables(tmp_path: pathlib.Path, kind: str):
    head = f'version = 1\nkind = "{kind}"\nname = "x"\n'
    rest = CONTROL + TIMING + '[budget]\nusers = ["a"]\n' if kind != "embedded" else ""
    assert refused(tmp_path, f"{head}{rest}[settings]\nport = 80\n").startswith("[settings] does not go with kind")


def needing(kind: str) -> dict[str, object]:
    return {"name": "n", "require": ["lost"], "needs": {"kind": kind}}


def test_an_experiment_may_need_such_a_kind_which_the_embedded_platform_cannot_be(installed: Installed):
    installed.add("other")
    stated = contract.read(needing("other"), checker.known())
    with pytest.raises(
        BadInput, match=r'needs\.kind = "other": the embedded platform can\'t be one: set REPRISE_PLATFORM'
    ):
        stated.needs.lab(file.Lab())


def test_another_platform_than_it_needs_is_refused_without_the_advice_to_name_none(
    installed: Installed, tmp_path: pathlib.Path
):
    installed.add("other")
    stated = contract.read(needing("other"), checker.known())
    wrong = load(tmp_path, f"{OTHER.replace('other', 'streamspace')}{CONTROL}[budget]\nusers = ['a']\n")
    with pytest.raises(NotPossible) as error:
        plan.check_needs(stated, wrong, [])
    assert str(error.value).endswith("(needs.kind): name a platform of that kind")


@pytest.mark.parametrize("sources", [["rows"], ["steps"]])
def test_a_check_that_reads_rows_takes_any_source_that_its_adapter_calls_so(
    installed: Installed, tmp_path: pathlib.Path, sources: list[str]
):
    installed.add("other")
    stated = contract.read({**needing("other"), "require": ["unrecorded"]}, checker.known())
    says = Description(attribution=[], refusals=[], promises={}, bounds={}, offline_ns=0, sources=sources)
    if "rows" in sources:
        plan.check_evidence(stated, load(tmp_path, OTHER), says)
    else:
        with pytest.raises(BadInput, match=r"evidence\.rows is missing: the required check 'unrecorded'"):
            plan.check_evidence(stated, load(tmp_path, OTHER), says)


@pytest.mark.parametrize("kind", ["othr", "embedded"])
def test_an_experiment_for_a_kind_that_nobody_brings_is_refused(kind: str):
    with pytest.raises(BadInput, match=rf'needs\.kind = "{kind}": expected one of streamspace, sandbox, or install'):
        contract.read(needing(kind), checker.known())
