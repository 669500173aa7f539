"""By what sessions of ours are told from other people's: their tags where a deployment shows them, else their memory.

Rows have the tags. Over HTTP a session comes back without them as a rule, but with the memory that its create asked for: our key,
a number of bytes just above 128 MiB, out of a range that each run has for itself.
"""

import zlib
from typing import Any, NamedTuple

BASE_MEMORY = 128 * 2**20  # the smallest that a create may ask for
BASE_CPU, CPUS = 100, 10  # in thousandths; how many amounts of it there are
KEYS_A_RUN = 4096
RUNS = 32000
TAG = "reprise"


class Marks(NamedTuple):
    """What the sessions of one run, or of all runs, bear."""

    tag: str
    keys: range

    def key(self, memory: object) -> str | None:
        """Our key in the memory that somebody asked for."""
        said = str(memory)
        return said if said.isdecimal() and len(said) <= len(str(self.keys[-1])) and int(said) in self.keys else None

    def on(self, session: dict[str, Any]) -> bool:
        """Whether a session bears them, as it comes over HTTP."""
        if isinstance(tags := session.get("tags"), list) and tags:
            return self.tag in tags
        asked = session.get("resources")
        return isinstance(asked, dict) and self.key(asked.get("memory")) is not None


def cpu(key: str) -> int:
    """How much of a processor a create with this key asks for: one that gets another's is likely to be told by that."""
    return BASE_CPU + int(key) % CPUS if key.isdecimal() else BASE_CPU


def of(run: str) -> Marks:
    base = BASE_MEMORY + KEYS_A_RUN * (1 + zlib.crc32(run.encode()) % RUNS)
    return Marks(f"{TAG}-{run}", range(base, base + KEYS_A_RUN))


ANYBODYS = Marks(TAG, range(BASE_MEMORY + KEYS_A_RUN, BASE_MEMORY + KEYS_A_RUN * (1 + RUNS)))
"""Whichever run of ours made them."""
