"""The wheel, the sdist and an editable install ship exactly the repository's files, under the names that the code imports."""

import configparser
import importlib.metadata
import json
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Folder of the repository -> folder of the installed package (pyproject.toml, tool.setuptools.package-dir).
SHIPPED = {
    "src/chaosreprise": "chaosreprise",
    "probes": "chaosreprise/probes",
    "actions": "chaosreprise/actions",
    "experiments": "chaosreprise/experiments",
}


@pytest.fixture(scope="session")
def shipped(files: list[pathlib.Path]) -> dict[str, str]:
    """Each file that must be shipped: its name in the repository -> its name in the installed package."""
    return {
        file.as_posix(): f"{package}/{file.relative_to(folder).as_posix()}"
        for file in files
        for folder, package in SHIPPED.items()
        if file.is_relative_to(folder)
    }


def build(source: pathlib.Path, out: pathlib.Path, *what: str) -> list[pathlib.Path]:
    """Build with the backend of this environment, so without the network; from a copy, since it writes beside the files."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(source, pathlib.Path(folder, "source"))
        command = [sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", str(out), str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(out.iterdir())


@pytest.fixture(scope="session")
def wheel(export: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (path,) = build(export, tmp_path_factory.mktemp("wheel"), "--wheel")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="session")
def sdist(export: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The unpacked sdist."""
    (path,) = build(export, tmp_path_factory.mktemp("sdist"), "--sdist")
    with tarfile.open(path) as archive:
        archive.extractall(path.parent, filter="data")
    return path.with_name(path.name.removesuffix(".tar.gz"))


def packaged(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}


def test_the_wheel_ships_exactly_the_repositorys_files(wheel: zipfile.ZipFile, shipped: dict[str, str]):
    assert packaged(wheel) == set(shipped.values())


def test_the_sdist_ships_exactly_the_repositorys_files(sdist: pathlib.Path, shipped: dict[str, str]):
    found = {
        path.relative_to(sdist).as_posix()
        for folder in SHIPPED
        for path in (sdist / folder).rglob("*")
        if path.is_file()
    }
    assert found == set(shipped)


def test_a_wheel_made_of_the_sdist_is_the_same(sdist: pathlib.Path, shipped: dict[str, str], tmp_path: pathlib.Path):
    (path,) = build(sdist, tmp_path, "--wheel")
    with zipfile.ZipFile(path) as wheel:
        assert packaged(wheel) == set(shipped.values())


EDITABLE = """
import importlib.resources, json, pathlib, site, sys
site.addsitedir(sys.argv[1])   # its .pth files count, those of this environment do not
sys.path.append(sys.argv[2])
files = {}
for package in json.loads(sys.argv[3]):
    folder = pathlib.Path(str(importlib.resources.files(package.replace("/", "."))))
    files[package] = str(folder.resolve())
print(json.dumps(files))
"""


def test_an_editable_install_reads_the_repositorys_folders(
    export: pathlib.Path, shipped: dict[str, str], tmp_path: pathlib.Path
):
    hook = "import sys, setuptools.build_meta as backend; backend.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", hook, tmp_path], cwd=export, check=True, capture_output=True, timeout=60)
    (path,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(path).extractall(tmp_path)
    packages = {
        target.rpartition("/")[0]: source.rpartition("/")[0]
        for source, target in shipped.items()
        if source.endswith("/__init__.py")
    }
    arguments = [str(tmp_path), sysconfig.get_path("purelib"), json.dumps(sorted(packages))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", EDITABLE, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {package: str(export / folder) for package, folder in packages.items()}


@pytest.mark.parametrize("folder", ["probes", "actions"])
def test_the_bare_name_of_a_folder_is_refused(folder: str):
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert f"import chaosreprise.{folder}" in done.stderr.splitlines()[-1]


def test_the_wheel_says_that_it_is_typed_and_plugs_into_the_command_line(wheel: zipfile.ZipFile):
    assert "chaosreprise/py.typed" in wheel.namelist()
    (entry_points,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(entry_points).decode())
    assert parser["chaostoolkit.cli_plugins"]["reprise"] == "chaosreprise.cli:reprise"


def test_the_experiments_are_data_of_the_package(wheel: zipfile.ZipFile):
    assert "chaosreprise/experiments/agent-failover.json" in wheel.namelist()


def pins(stack: str) -> dict[str, str]:
    lines = (ROOT / "constraints" / f"{stack}.txt").read_text().splitlines()
    found = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines if not line.startswith("#"))
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize("stack", ["py311", "py312"])
def test_the_constraints_pin_each_dependency_within_its_range(stack: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    for requirement in map(Requirement, wanted):
        pinned = pins(stack).get(canonicalize_name(requirement.name))
        assert pinned, f"constraints/{stack}.txt does not pin {requirement.name}"
        assert pinned in requirement.specifier


def test_the_constraints_pin_each_installed_distribution():
    expected = pins("py311" if sys.version_info < (3, 12) else "py312")
    installed = {canonicalize_name(found.name): found.version for found in importlib.metadata.distributions()}
    not_ours_to_pin = {"pip", "chaostoolkit-reprise"}  # pip comes with the interpreter
    assert {name: version for name, version in installed.items() if name not in not_ours_to_pin} == expected


def test_the_oldest_and_the_newest_chaos_toolkit_are_supported():
    assert pins("py311")["chaostoolkit"].startswith("1.19.")
    assert pins("py312")["chaostoolkit"].startswith("1.21.")
