"""What a defect is. Its classes are imported only where they act: an agent must not pay for the control plane's libraries."""

import importlib
from typing import NamedTuple, TypeVar

Part = TypeVar("Part")


class Defect(NamedTuple):
    """One defect: the check that finds it first, the experiment that reveals it, and why real platforms have it.

    `also`: further checks that it violates, rightly. `label`: of each witness, if the check has labels. `parts`: seam ->
    `module.Class` of `package` that replaces it.
    """

    name: str
    check: str
    experiment: str
    why: str
    parts: dict[str, str]
    label: str | None = None
    also: tuple[str, ...] = ()
    package: str = __package__

    def of(self, seam: type[Part]) -> type[Part]:
        """What stands behind a seam: the class itself, or what replaces it."""
        named = self.parts.get(seam.__name__)
        if named is None:
            return seam
        module, _, name = named.partition(".")
        found: type[Part] = getattr(importlib.import_module(f"{self.package}.{module}"), name)
        assert issubclass(found, seam), f"{named} is no {seam.__name__}"
        return found
