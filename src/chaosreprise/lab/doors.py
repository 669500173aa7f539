"""Where an agent connects to: to one of the control planes, and to the next one when that is gone or silent."""

import collections
import time

PATIENCE_S = 5.0  # a platform that is being started is not there at once
LEAST_SILENCE_S = 2.0  # less would take a busy machine for a silent control plane


class Doors:
    """`here` is the one whose turn it is. `silence_s`: how long it may say nothing; who has nowhere else to go waits for ever."""

    def __init__(self, ports: list[int], silence_s: float, host: str = "127.0.0.1") -> None:
        self._urls = collections.deque(f"http://{host}:{port}/api/v1/agents" for port in ports)
        self._patient_until = time.monotonic() + PATIENCE_S
        self.silence_s = max(silence_s, LEAST_SILENCE_S) if len(ports) > 1 else None

    @property
    def here(self) -> str:
        return self._urls[0]

    def reached(self) -> None:
        """It has let the agent in: from now on who does not is gone."""
        self._patient_until = 0.0

    def turn(self) -> None:
        """The connection has ended, or there was none. One that never was there is asked again for a while."""
        if time.monotonic() > self._patient_until:
            self._urls.rotate(-1)
