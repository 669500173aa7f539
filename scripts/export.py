"""Copies what the checkout holds, new files included, and nothing that git ignores: `export.py FOLDER`.

A wheel is built from such a copy: a stale build/ has shipped a probe that was deleted.
"""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def held() -> list[pathlib.Path]:
    """The files of the checkout, relative to it. Whoever owns the checkout may be somebody else than who asks."""
    command = [
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({pathlib.Path(name) for name in names if name and (ROOT / name).is_file()})


def export(folder: pathlib.Path) -> list[pathlib.Path]:
    files = held()
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, folder / file)
    return files


if __name__ == "__main__":
    export(pathlib.Path(sys.argv[1]))
