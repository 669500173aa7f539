"""What tests of more than one folder need: a clean copy of the checkout, its files, and the `chaos` command."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONGEST = (
    "test_torture.py",
    "test_scripts.py",
    "test_readme.py",
    "experiments",
    "test_sandbox_pods.py",
    "test_cluster_faults.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: begun last, one would keep one worker busy while the others have nothing left to do."""
    items.sort(
        key=lambda item: next((rank for rank, name in enumerate(LONGEST) if name in item.path.parts), len(LONGEST))
    )


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A clean copy of the checkout, as a clone of the next commit would be: new files too, nothing that git ignores."""
    folder = tmp_path_factory.mktemp("export")
    subprocess.run([sys.executable, ROOT / "scripts" / "export.py", folder], check=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def files(export: pathlib.Path) -> list[pathlib.Path]:
    """The files of the checkout, relative to it."""
    return sorted(path.relative_to(export) for path in export.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def chaos() -> pathlib.Path:
    """The `chaos` command of the environment that runs the tests."""
    return pathlib.Path(sys.executable).with_name("chaos")
