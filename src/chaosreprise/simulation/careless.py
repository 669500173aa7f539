"""Parts of a platform that are not as they should be: each class replaces one part of the correct one.

Which of them make a defect, and who must find it, stands in `defects`.
"""

import asyncio
from typing import Any

from chaosreprise.simulation.adapter import SimulatedAdapter
from chaosreprise.simulation.agent import Agent
from chaosreprise.simulation.control import ControlPlane, Refused
from chaosreprise.simulation.link import Link
from chaosreprise.simulation.rows import CommandRow, SessionRow
from chaosreprise.simulation.scenario import BOUND_S
from chaosreprise.simulation.slots import Slot, Slots

LATE_S = 1.6 * BOUND_S
BESIDE_S = 0.05


class DropQueue(ControlPlane):
    def on_connect(self, agent: str) -> list[CommandRow]:
        self._forgotten = {command.id for command in self.rows.unfinished(agent)}
        return []

    def afterwards(self, agent: str) -> list[CommandRow]:
        return [command for command in self.rows.pending(agent) if command.id not in self._forgotten]


class FailWhenAway(ControlPlane):
    def while_away(self, command: CommandRow) -> None:
        self.failed(command, f"agent {command.agent} is not connected")


class AckIsDone(ControlPlane):
    """A wake that waited is completed as soon as it is handed over, and not acted on."""

    def deliver(self, link: Link, commands: list[CommandRow]) -> None:
        waited = [one for one in commands if len(commands) > 1 and one.op == "wake"]
        super().deliver(link, [one for one in commands if one not in waited])
        for command in waited:
            self.rows.command(command, "sent")
            self.rows.command(command, "completed")


class CarelessAgent(Agent):
    revives = True

    def applied(self, slot: Slot, command: CommandRow) -> bool:
        del slot, command
        return False


class ReplayTwice(ControlPlane):
    def on_connect(self, agent: str) -> list[CommandRow]:
        twice = [[one] * (2 if one.state == "pending" and one.op == "wake" else 1) for one in super().on_connect(agent)]
        return [command for both in twice for command in both]


class ReplayCompleted(ControlPlane):
    def on_connect(self, agent: str) -> list[CommandRow]:
        done = [row for row in self.rows.commands.values() if row.agent == agent and row.state == "completed"]
        return [*(row for row in done if row.op == "wake"), *super().on_connect(agent)]


class StepTwice(SimulatedAdapter):
    """Every fifth step runs twice."""

    _steps = 0

    async def run_step(self, key: str, name: str, process: list[Any]) -> None:
        self._steps += 1
        await super().run_step(key, name, process)
        if self._steps % 5 == 0:
            await super().run_step(key, name, process)


class RefusesLate(ControlPlane):
    """The quota is looked at after the session was made: it is refused, and there. Once a session has been stopped."""

    def create(self, key: str, user: str) -> tuple[str, CommandRow]:
        made = super().create(key, user)
        if any(session.state == "terminated" for session in self.rows.sessions.values()):
            raise Refused(409, "Quota exceeded")
        return made


class Sleepy(ControlPlane):
    """It hibernates by itself what it takes for idle."""

    def accept(self, agent: str) -> Link | None:
        link = super().accept(agent)
        asyncio.get_running_loop().call_later(1.0, self._idle, agent)
        return link

    def _idle(self, agent: str) -> None:
        asked = {row.session for row in self.rows.commands.values() if row.op != "start"}
        for session in self.rows.sessions.values():
            slot = self.slots.get(session.id)
            if session.agent == agent and session.state == "running" and session.id not in asked:
                self.slots.down(slot.name, slot.gen, slot.note)
                return


class NewestFirst(ControlPlane):
    def on_connect(self, agent: str) -> list[CommandRow]:
        return super().on_connect(agent)[::-1]


class SideBySide(CarelessAgent):
    """Each command in a task of its own: what is quick overtakes what is slow."""

    async def _serve(self, link: Link) -> None:
        under_way = []
        while (command := await link.receive()) is not None:
            await self._gate.wait()
            under_way.append(asyncio.create_task(self.handle(link, command)))

    def acting(self, command: CommandRow) -> float:
        return 0.001 if command.op == "stop" else 0.03


class LeavesProcess(Slots):
    """The object goes, its process stays."""

    def _end(self, slot: Slot) -> None:
        if slot.state != "gone":
            super()._end(slot)


class RowStays(ControlPlane):
    """The report that a session has ended is lost, but for the first few."""

    def reported(self, command: CommandRow, session: SessionRow, state: str) -> None:
        ended = sum(one.state == "terminated" for one in self.rows.sessions.values())
        if state != "terminated" or ended < len(self.rows.agents):
            super().reported(command, session, state)


class NeverDone(ControlPlane):
    """The end of a stop is never written down."""

    def completed(self, command: CommandRow) -> None:
        if command.op != "stop":
            super().completed(command)


class StartedBeside(Slots):
    """What takes a slow start for a failed one starts another process, for every third session."""

    def make(self, name: str, gen: int, note: int, key: str) -> None:
        super().make(name, gen, note, key)
        slot, made = self.get(name), self.get(name).gen
        if int(slot.processes[-1][2]) % 3 == 0:
            asyncio.get_running_loop().call_later(BESIDE_S, self.begin_again, slot, made)


class TwoAtOnce(Slots):
    """A wake starts two processes."""

    def up(self, name: str, gen: int, note: int) -> None:
        super().up(name, gen, note)
        self.begin(self.get(name))


class PlacesOnDead(ControlPlane):
    """It places on agents of which it has once heard, connected or not."""

    def connected(self) -> list[str]:
        return sorted(self.rows.agents)

    def place(self, agents: list[str]) -> str | None:
        away = [agent for agent in agents if self.gone(agent)]
        return away[0] if away else super().place(super().connected())


class SentIntoTheVoid(ControlPlane):
    def while_away(self, command: CommandRow) -> None:
        self.rows.command(command, "sent")


class SlowDrain(Agent):
    """Wakes that had piled up are worked off far too slowly."""

    _slow = 0

    def acting(self, command: CommandRow) -> float:
        piled_up = len(self._control.rows.unfinished(self.name)) > 2 and command.op == "wake"
        self._slow += piled_up
        return LATE_S / self._control.scenario.slow if piled_up and self._slow % 2 else super().acting(command)


class ForgetsWakes(Agent):
    """Each third wake lies about for longer than it may."""

    _wakes = 0

    def acting(self, command: CommandRow) -> float:
        self._wakes += command.op == "wake"
        late = command.op == "wake" and self._wakes % 3 == 0
        return 2 * LATE_S / self._control.scenario.slow if late else super().acting(command)


class LateWord(ControlPlane):
    """The word that it runs overwrites, for a while, that it has ended."""

    def reported(self, command: CommandRow, session: SessionRow, state: str) -> None:
        super().reported(command, session, state)
        if state == "terminated" and session.state == "terminated" and command.seq > 2:
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, self.rows.session, session, "running")
            loop.call_later(0.3, self.rows.session, session, "terminated")


class StaysWaking(ControlPlane):
    """That a session has woken is written down far too late."""

    def reported(self, command: CommandRow, session: SessionRow, state: str) -> None:
        if session.state == "waking":
            asyncio.get_running_loop().call_later(LATE_S, super().reported, command, session, state)
        else:
            super().reported(command, session, state)


class InternalError(ControlPlane):
    """Nobody there to place on is an error that nobody thought of."""

    def create(self, key: str, user: str) -> tuple[str, CommandRow]:
        if not self.connected():
            raise Refused(500, "index out of range")
        return super().create(key, user)


class Mute(SimulatedAdapter):
    """A refusal of a start comes when its caller has long gone."""

    async def _leg(self) -> None:
        await super()._leg()
        if not self._control.connected():
            await asyncio.sleep(0.8)
