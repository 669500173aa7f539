"""The names of sessions and steps: UTC times, of a second and of a nanosecond. Only the latter are never the same twice."""

import time


def session() -> str:
    return time.strftime("session-%Y%m%d%H%M%S", time.gmtime())


class StepIds:
    """Those of one process: a clock that stands still, or goes back, gives no name twice."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        self._last = max(time.time_ns(), self._last + 1)
        seconds, rest = divmod(self._last, 10**9)
        return f"step-{time.strftime('%Y%m%d%H%M%S', time.gmtime(seconds))}.{rest:09d}"
