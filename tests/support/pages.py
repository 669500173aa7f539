"""Pages whose blocks are executed: their files (` ```python file=NAME `), their commands (` ```console `) and what these print."""

import re
from collections.abc import Iterator

BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLOUR = re.compile(r"\x1b\[\d*m")
VARIABLE = re.compile(r"\d+(\.\d+)?")


def files(page: str) -> dict[str, str]:
    return {name: text for _, name, text in BLOCK.findall(page) if name}


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each with the lines that it is said to print."""
    for language, _, text in BLOCK.findall(page):
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output.splitlines()


def plain(line: str) -> str:
    """A line without what differs from run to run: numbers, what the seed draws, widths, colours."""
    line = re.sub(r"runs/\S+", "RUN", " ".join(COLOUR.sub("", line).split()))
    return VARIABLE.sub("N", re.sub(r"agents/a\d", "AGENT", line))


def missing(expected: list[str], printed: str) -> str | None:
    """The first line that a page shows and that was not printed, in this order; `...` stands for any lines, or for the rest of one."""
    lines, position = [plain(line) for line in printed.splitlines()], 0
    for line in expected:
        if line == "...":
            continue
        found = next((at for at in range(position, len(lines)) if _is_shown(line, lines[at])), None)
        if found is None:
            return line
        position = found + 1
    return None


def _is_shown(expected: str, printed: str) -> bool:
    rest = expected.endswith("...")
    return printed.startswith(plain(expected.removesuffix("..."))) if rest else printed == plain(expected)
