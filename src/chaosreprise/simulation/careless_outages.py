"""Control planes that are not as they should be while something is away, in what they say of it; as in `careless`."""

import asyncio

from chaosreprise.history.events import Op
from chaosreprise.simulation.control import ControlPlane, Refused
from chaosreprise.simulation.link import Link
from chaosreprise.simulation.rows import SessionRow

COLD_S = 0.5
CUT_S = 0.2


class AcceptsAnyway(ControlPlane):
    """What changes a session is accepted while the store is away, and forgotten."""

    _accepted = 0

    def without_store(self, op: Op, name: str) -> str:
        if op not in ("hibernate", "wake", "stop"):
            return super().without_store(op, name)
        self._accepted += 1
        return f"q-{self._accepted:05d}"


class NotThereWithoutStore(ControlPlane):
    """That the store can't be asked is taken for an empty answer."""

    def without_store(self, op: Op, name: str) -> str:
        raise Refused(404, "Session not found") if name else Refused(500, f"{op}: database unavailable")


class ColdCache(ControlPlane):
    """After an outage of the store it knows no session for a while."""

    _cold_until = 0.0

    def find_store(self) -> None:
        super().find_store()
        self._cold_until = asyncio.get_running_loop().time() + COLD_S

    def found(self, name: str) -> SessionRow:
        if asyncio.get_running_loop().time() < self._cold_until:
            raise Refused(404, "Session not found")
        return super().found(name)


class ListsWhatIsOnline(ControlPlane):
    """A list leaves out the sessions of agents that are not connected."""

    def listed(self) -> list[str]:
        online = self.connected()
        return [name for name in super().listed() if self.rows.sessions[name].agent in online]


class AlwaysHealthy(ControlPlane):
    def healthy(self) -> bool:
        return True


class NeverOffline(ControlPlane):
    """That an agent is lost is not written down."""

    def lost(self, link: Link) -> None:
        link.cut()
        if self.links.get(link.agent) is link:
            del self.links[link.agent]


class StreamsNeedStore(ControlPlane):
    """Who can't look up a session cuts its stream."""

    def lose_store(self, kind: str) -> None:
        super().lose_store(kind)
        asyncio.get_running_loop().call_later(CUT_S, self.streams.cut_all, "the store is away")


class OneForAll(ControlPlane):
    """When an agent is lost, the streams of all are cut."""

    def lost(self, link: Link) -> None:
        super().lost(link)
        self.streams.cut_all("an agent was lost")
