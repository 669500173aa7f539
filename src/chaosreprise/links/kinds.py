"""All types of toxics by their names: those of Toxiproxy, and ours on messages."""

from chaosreprise.links import commits, messages, toxics

KINDS: dict[str, type[toxics.NoOp]] = {**toxics.KINDS, **messages.KINDS, **commits.KINDS}
