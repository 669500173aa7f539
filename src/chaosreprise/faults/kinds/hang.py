"""Let the database be there and never answer: its link is frozen, so clients connect and wait.

What they sent is delivered when the link thaws: a database that hung may do then what its clients have given up on.
"""

from chaosreprise.faults.base import Arguments
from chaosreprise.faults.kinds.freeze import Freeze


class Hang(Freeze):
    groups = ("database",)
    needs = "links/database in the platform file, through a Toxiproxy, ours or a real one, on this machine"
    arguments = Arguments


FAULT = Hang()
