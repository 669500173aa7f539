"""Moments: when a fault strikes, or a batch of commands is sent, told by what happens in the run ([docs/moments.md]).

`grammar` is what an experiment may say, `watch` decides from events whether it has come, `waiting` follows the growing
history until it has. Whether it was met is judged afterwards, from the history alone, by `checker.moments`.
"""

from chaosreprise.moments.grammar import At, Event, Moment, patience_s, read, words
from chaosreprise.moments.needs import needed
from chaosreprise.moments.waiting import Waiting

__all__ = ["At", "Event", "Moment", "Waiting", "needed", "patience_s", "read", "words"]
