"""How long the owner of a run waits for what it asks of the load: for as long as that may rightly take, and no longer.

That is the length that was asked for, the time in which calls are answered and the longest settling, and however long the platform
has asked to be left alone meanwhile (429, Retry-After), which only the load knows: it is asked each time that the rest is over. One that
is frozen does not answer that either; one that died is noticed at once.
"""

import pathlib
from typing import Any

from chaosreprise.errors import RunBroken
from chaosreprise.run.child import Child
from chaosreprise.workload.load import SETTLE_LIMIT

ANSWERED_S = 120.0  # for the calls of one request, one after the other
TELLS_S = 10.0


class LoadChild(Child):
    """`settle_s` is the plan's, once there is one."""

    def __init__(
        self, name: str, module: str, arguments: list[str], logs: pathlib.Path, answered_s: float = ANSWERED_S
    ) -> None:
        super().__init__(name, module, arguments, logs)
        self.settle_s = 0.0
        self._answered_s, self._left_alone_s = answered_s, 0.0

    def ask(self, verb: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        if timeout_s is not None:
            return super().ask(verb, timeout_s, **arguments)
        future = self.begin(verb, **arguments)
        rest_s = waited_s = arguments.get("seconds", 0.0) + self._answered_s + SETTLE_LIMIT * self.settle_s
        while rest_s > 0:
            try:
                return future.result(rest_s)
            except TimeoutError:
                rest_s = self._left_alone_more(verb, waited_s)
                waited_s += rest_s
        raise RunBroken(
            f"the load of this run has not answered to `{verb}` within {waited_s:g} s (its log: {self.log})"
        )

    def _left_alone_more(self, verb: str, waited_s: float) -> float:
        """For how long it was asked to leave the platform alone, beyond what it had told before."""
        try:
            told_s: float = super().ask("left_alone", min(TELLS_S, self._answered_s))["seconds"]
        except TimeoutError as error:
            why = f"has not answered to `{verb}` within {waited_s:g} s, nor to anything else"
            raise RunBroken(f"the load of this run {why} (its log: {self.log})") from error
        more_s, self._left_alone_s = told_s - self._left_alone_s, told_s
        return more_s
