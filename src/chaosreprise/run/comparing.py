"""`chaos reprise compare STORE`: the newest run of each experiment on each platform, beside the runs before it."""

import json
import pathlib
from collections.abc import Iterator

import msgspec

from chaosreprise.errors import BadInput
from chaosreprise.paths import runs_root
from chaosreprise.report import nights
from chaosreprise.report.nights import Rule
from chaosreprise.run import store


class Comparing:
    """What a store of runs tells. Raises BadInput where there is none, or for a rule that can't be kept."""

    def __init__(self, where: str | None, experiment: str, *, bad: int, of: int, earlier: int) -> None:
        if bad > of:
            raise BadInput(f"--bad {bad} --of {of}: {bad} of the last {of} runs can't be: give a --bad of at most {of}")
        place = pathlib.Path(where) if where is not None else runs_root()
        rule = Rule(bad=bad, of=of, earlier=earlier)
        self.found = nights.compare(store.read(place, experiment), rule)

    @property
    def worst(self) -> str:
        return nights.worst(self.found)

    def lines(self, markdown: bool) -> Iterator[str]:
        for one in self.found:
            yield from nights.markdown(one) if markdown else nights.lines(one)

    def json(self) -> Iterator[str]:
        yield json.dumps({"v": 1, "verdict": self.worst, "compared": msgspec.to_builtins(self.found)}, indent=2)
