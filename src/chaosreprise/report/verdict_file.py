"""verdict.json: the verdict for machines. It appears as a whole, or not at all."""

import json
import os
import pathlib

from chaosreprise.checker import Verdict


def verdict_json(verdict: Verdict) -> str:
    return json.dumps(verdict.to_json(), indent=2) + "\n"


def replace(path: pathlib.Path, text: str) -> None:
    """Write a file as a whole: into a new one beside it, on the disk, then in its place. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
