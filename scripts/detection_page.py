"""docs/detection.md: scripts/detect writes what stands above the mark, scripts/soak what stands below it. Each leaves the other's part as it is."""

import pathlib
from typing import Literal

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "detection.md"
MARK = "<!-- What follows is written by scripts/soak --page, what stands above by scripts/detect. -->\n"


def write(part: Literal["detect", "soak"], text: str, page: pathlib.Path = PAGE) -> None:
    above, _, below = (page.read_text() if page.exists() else "").partition(MARK)
    above, below = (text, below) if part == "detect" else (above, text)
    page.write_text(f"{above.rstrip()}\n\n{MARK}\n{below.strip()}\n")
