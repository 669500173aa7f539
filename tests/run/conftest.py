"""A small lab that a module of tests keeps, and platform files that say something else of it."""

import pathlib
from collections.abc import Callable, Iterator

import pytest
from runs import start_lab

from chaosreprise.stack import starter

Edited = Callable[..., pathlib.Path]


@pytest.fixture(scope="module")
def lab() -> Iterator[starter.Stack]:
    stack = start_lab()
    try:
        yield stack
    finally:
        stack.end()


@pytest.fixture
def edited(lab: starter.Stack) -> Iterator[Edited]:
    """A copy of the lab's platform file, beside it, in which each text is replaced by another one."""
    made: list[pathlib.Path] = []

    def edit(*changes: tuple[str, str]) -> pathlib.Path:
        text = lab.platform_file.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = lab.dir / f"edited-{len(made)}.toml"
        path.write_text(text)
        made.append(path)
        return path

    yield edit
    for path in made:
        path.unlink()
