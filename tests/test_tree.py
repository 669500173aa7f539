"""The tree draws the architecture, and each activity looks as Chaos Toolkit needs it to be found and typed."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import logging
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from chaoslib.experiment import ensure_experiment_is_valid
from chaoslib.loader import load_experiment

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOP = {"experiments", "probes", "actions", "k8s", "tests", "src", "docs", "scripts", "constraints", ".ci"}
TOP_FILES = {"pyproject.toml", "README.md", "CHANGELOG.md", ".gitignore"}
NOT_YET = {"k8s"}  # git keeps no empty folder
ACTIVITY_LINES = 25
FUNCTION_LINES = 60
README_LINES = 150
HEAVY = ["aiohttp", "chaosk8s", "httpx", "kubernetes", "msgspec", "psycopg", "toxiproxy"]

EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.json"))
ACTIVITIES = sorted(
    path for folder in ("probes", "actions") for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"
)


def name_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def sources(files: list[pathlib.Path], *folders: str) -> dict[str, ast.Module]:
    return {
        file.as_posix(): ast.parse((ROOT / file).read_text())
        for file in files
        if file.suffix == ".py" and any(file.is_relative_to(folder) for folder in folders)
    }


def test_the_top_of_the_tree_is_as_agreed(files: list[pathlib.Path]):
    folders = {file.parts[0] for file in files if len(file.parts) > 1}
    plain = {file.name for file in files if len(file.parts) == 1}
    assert folders <= TOP
    assert folders >= TOP - NOT_YET
    assert plain >= TOP_FILES
    assert (ROOT / ".ci" / "run").is_file()
    assert {file.parts[1] for file in files if file.parts[0] == "src"} == {"chaosreprise"}


def test_the_tests_mirror_the_folders(files: list[pathlib.Path]):
    mirrored = (
        TOP | {"support", "standins"} | {file.parts[2] for file in files if file.is_relative_to("src/chaosreprise")}
    )
    assert {file.parts[1] for file in files if file.parts[0] == "tests" and len(file.parts) > 2} <= mirrored


def test_probes_and_actions_are_flat(files: list[pathlib.Path]):
    deep = [file.as_posix() for file in files if file.parts[0] in {"probes", "actions"} and len(file.parts) > 2]
    assert deep == []
    assert ACTIVITIES


@pytest.mark.parametrize("path", ACTIVITIES, ids=name_of)
def test_an_activity_module_is_found_and_typed_by_chaos_toolkit(path: pathlib.Path):
    tree = ast.parse(path.read_text())
    module = importlib.import_module(f"chaosreprise.{path.parent.name}.{path.stem}")
    assert module.__all__
    assert "annotations" not in vars(module), (
        "from __future__ import annotations makes discovery show each type as object"
    )
    for name in module.__all__:
        function = getattr(module, name)
        assert inspect.getdoc(function), f"{name} has no docstring"
        parameters = inspect.signature(function).parameters.values()
        assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters), (
            f"{name}: only plain parameters are discovered"
        )
        assert all(p.annotation is not p.empty for p in parameters), f"{name}: a parameter without a type"
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}
    assert public == set(module.__all__)


@pytest.mark.parametrize("path", ACTIVITIES, ids=name_of)
def test_an_activity_is_short(path: pathlib.Path):
    long = {
        function.name: lines(function)
        for function in functions(ast.parse(path.read_text()))
        if lines(function) > ACTIVITY_LINES
    }
    assert long == {}


def test_each_module_says_what_it_is_for(files: list[pathlib.Path]):
    silent = [
        name
        for name, tree in sources(files, "src", "probes", "actions", "experiments", "scripts").items()
        if not ast.get_docstring(tree)
    ]
    assert silent == []


def test_no_function_is_long(files: list[pathlib.Path]):
    trees = sources(files, "src", "probes", "actions", "scripts")
    long = {
        f"{name}:{function.name}": lines(function)
        for name, tree in trees.items()
        for function in functions(tree)
        if lines(function) > FUNCTION_LINES
    }
    assert long == {}


def test_the_readme_is_no_manual():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_nothing_outside_of_the_checkout_is_needed(files: list[pathlib.Path]):
    """The team's notes lie beside the checkout: what is shipped does not read or cite them."""
    citing = [
        file.as_posix()
        for file in files
        if file.parts[0] in {"src", "probes", "actions", "experiments"}
        and re.search(r"\bshared/", (ROOT / file).read_text(errors="replace"))
    ]
    assert citing == []


def run_chaos(chaos: pathlib.Path, folder: pathlib.Path, *arguments: str) -> str:
    """The output of a `chaos` command that must end well and warn of nothing."""
    command = [chaos, "--no-version-check", "--no-log-file", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search(r"WARN|ERROR|CRITICAL|Traceback", said), said
    return said


def test_there_is_an_experiment():
    assert "experiments/agent-failover.json" in map(name_of, EXPERIMENTS)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_an_experiment_is_valid(path: pathlib.Path, caplog: pytest.LogCaptureFixture):
    ensure_experiment_is_valid(load_experiment(str(path)))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_command_says_of_an_experiment_that_it_is_valid(chaos: pathlib.Path, tmp_path: pathlib.Path):
    assert "look valid" in run_chaos(chaos, tmp_path, "validate", str(EXPERIMENTS[0]))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_an_experiment_heals_whatever_happens(path: pathlib.Path):
    """Chaos Toolkit skips the rollbacks of a failed or interrupted run unless it is told otherwise."""
    assert json.loads(path.read_text())["runtime"]["rollbacks"]["strategy"] == "always"


def test_every_activity_is_discovered_with_its_types(chaos: pathlib.Path, tmp_path: pathlib.Path):
    run_chaos(chaos, tmp_path, "discover", "--no-install", "--discovery-path", "found.json", "chaostoolkit-reprise")
    found = json.loads((tmp_path / "found.json").read_text())["activities"]
    expected = {
        (f"chaosreprise.{path.parent.name}.{path.stem}", name)
        for path in ACTIVITIES
        for name in importlib.import_module(f"chaosreprise.{path.parent.name}.{path.stem}").__all__
    }
    assert {(activity["mod"], activity["name"]) for activity in found} == expected
    untyped = [
        (activity["name"], argument["name"])
        for activity in found
        for argument in activity.get("arguments", [])
        if argument.get("type") in {None, "object"}
        and argument["name"] not in {"count", "at", "match"}  # a number, or "all", an object
    ]
    assert untyped == []


@pytest.mark.parametrize("module", ["chaosreprise", "chaosreprise.cli", "chaosreprise.controls"])
def test_what_each_chaos_command_imports_is_light(module: str):
    look = f"import sys, {module}; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look, *HEAVY], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_the_fixed_packages_are_hard_dependencies():
    hard = {
        re.split(r"[^\w.-]", line)[0]
        for line in importlib.metadata.requires("chaostoolkit-reprise") or []
        if "extra ==" not in line
    }
    assert hard >= {"chaostoolkit", "chaostoolkit-kubernetes", "httpx", "kubernetes", "toxiproxy-python"}
