"""Close each WebSocket of a link once, with a code; those that are made afterwards live.

Behind the Close nothing comes, and an end that does not answer it loses its connection after a second. What leads through an
intermediary that restarts sees this (code 1012).
"""

from typing import Any

from chaosreprise.faults import base, on_messages
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_messages import Code, Ends


class Arguments(base.Arguments, frozen=True):
    code: Code = 1012
    direction: Ends = "both"


class Close(on_messages.OnWholeWebSockets):
    arguments = Arguments
    way_back = "its toxics are removed; its ends connect again by themselves"
    proof = "our proxy has closed each WebSocket that was there, and each is established at neither end in the kernel's tables"

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "ws_close", "attributes": {"code": target["code"]}}


FAULT = Close()
