"""What `chaos reprise heal` repairs: faults that earlier runs left, and the folders of stacks whose owner died."""

from chaosreprise.faults import client
from chaosreprise.stack import starter


def lines() -> list[str]:
    """What was found and done, a line each; the last one says whether anything is still broken."""
    healed = client.heal_all()
    said = [str(one) for one in healed]
    said += [f"stack {folder.name} had lost its keeper: its folder is removed" for folder in starter.sweep()]
    leaked = sum(one.state == "leaked" for one in healed)
    return [*said, f"{leaked} faults could not be undone: see above" if leaked else "clean"]
