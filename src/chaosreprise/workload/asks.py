"""What creates ask for of the agent that their session gets, in the shares that the plan states.

Nothing is drawn: of twenty creates of which a fifth shall ask for a region four do, and of two regions each is asked for by
two. What there is to ask for is what agents have, as the platform reports it.
"""

from collections.abc import Mapping

from chaosreprise.history.events import Place


class Asks:
    """`places`: the values that are known by now."""

    def __init__(self, shares: Mapping[Place, float], places: Mapping[Place, set[str]]) -> None:
        self._shares, self._places = shares, places
        self._due: dict[Place, float] = dict.fromkeys(shares, 0.0)
        self._asked: dict[Place, int] = dict.fromkeys(shares, 0)

    def next(self) -> dict[Place, str]:
        """What the next create asks for: one thing, or nothing."""
        for name, share in self._shares.items():
            self._due[name] += share
        if not self._due:
            return {}
        name = max(self._due, key=self._due.__getitem__)
        if self._due[name] < 0.5 or not self._places[name]:
            return {}
        self._due[name] -= 1.0
        self._asked[name] += 1
        values = sorted(self._places[name])
        return {name: values[self._asked[name] % len(values)]}
