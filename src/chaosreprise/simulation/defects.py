"""Defects by name, one seam each: the checks must find them, and accuse nothing else.

Each replaces one part of the platform (`careless`). What it breaks besides is said in `also`: a session that is revived is out of order
and left over, both of it true.
"""

from typing import NamedTuple

from chaosreprise.simulation import careless, careless_outages
from chaosreprise.simulation.adapter import SimulatedAdapter
from chaosreprise.simulation.agent import Agent
from chaosreprise.simulation.control import ControlPlane
from chaosreprise.simulation.scenario import CRASH, HANG, PAUSE, REFUSE, TAKE_AWAY
from chaosreprise.simulation.slots import Slots


class Defect(NamedTuple):
    """`check` finds it; `also` are those that a run with it breaks as well. `kind`: the fault that brings it to light."""

    name: str
    check: str
    kind: str
    why: str
    also: tuple[str, ...] = ()
    control: type[ControlPlane] = ControlPlane
    agent: type[Agent] = Agent
    slots: type[Slots] = Slots
    adapter: type[SimulatedAdapter] = SimulatedAdapter
    all_agents: bool = False


_ALL = (
    Defect("drop-queue", "lost", TAKE_AWAY, "what waited for an agent is forgotten when it connects", ("residue", "lifecycle"), careless.DropQueue),
    Defect("fail-when-away", "lost", TAKE_AWAY, "a command for an agent that is away is closed as failed", ("residue",), careless.FailWhenAway),
    Defect("ack-is-done", "lost", TAKE_AWAY, "wakes that waited are completed when they are handed over", (), careless.AckIsDone),
    Defect("replay-twice", "duplicate", TAKE_AWAY, "a wake that waited is acted on twice", ("split-brain",), careless.ReplayTwice, careless.CarelessAgent),
    Defect("replay-completed", "duplicate", TAKE_AWAY, "wakes that were completed are acted on again",
           ("residue",), careless.ReplayCompleted, careless.CarelessAgent),
    Defect("step-twice", "duplicate", TAKE_AWAY, "every fifth step runs twice", adapter=careless.StepTwice),
    Defect("refused-acts", "phantom", TAKE_AWAY, "a start is refused after its session was made", ("residue",), careless.RefusesLate),
    Defect("sleepy", "phantom", TAKE_AWAY, "a session is hibernated that nobody asked to", ("interrupted",), careless.Sleepy),
    Defect("newest-first", "reorder", TAKE_AWAY, "what waited for an agent is delivered in the wrong order",
           ("residue", "lost"), careless.NewestFirst, careless.CarelessAgent),
    Defect("side-by-side", "reorder", TAKE_AWAY, "commands of one session are acted on side by side", ("residue", "lost"), agent=careless.SideBySide),
    Defect("process-stays", "residue", TAKE_AWAY, "the process of a stopped session goes on", (), slots=careless.LeavesProcess),
    Defect("row-stays", "residue", TAKE_AWAY, "that a session has ended is not written down", ("lifecycle",), careless.RowStays),
    Defect("never-done", "residue", TAKE_AWAY, "the end of a stop is not written down", (), careless.NeverDone),
    Defect("started-beside", "split-brain", CRASH, "a slow start gets another process", (), slots=careless.StartedBeside),
    Defect("two-at-once", "split-brain", TAKE_AWAY, "a wake starts two processes", (), slots=careless.TwoAtOnce),
    Defect("place-on-dead", "misassigned", TAKE_AWAY, "starts are placed on an agent that is away", (), careless.PlacesOnDead),
    Defect("sent-into-the-void", "misassigned", PAUSE, "commands for an agent that is away are marked as sent", (), careless.SentIntoTheVoid),
    Defect("slow-drain", "late", TAKE_AWAY, "what has piled up is worked off too slowly", ("lifecycle",), agent=careless.SlowDrain),
    Defect("forgotten-wakes", "late", CRASH, "each third wake lies about for too long", ("lifecycle",), agent=careless.ForgetsWakes),
    Defect("late-word", "lifecycle", TAKE_AWAY, "an old word overwrites a final one for a while", (), careless.LateWord),
    Defect("stays-waking", "lifecycle", CRASH, "that a session has woken is written down too late", (), careless.StaysWaking),
    Defect("internal-error", "refusal", TAKE_AWAY, "without an agent a start is answered with 500", (), careless.InternalError, all_agents=True),
    Defect("accepts-anyway", "fail-open", REFUSE, "what is accepted while the store is away is forgotten", ("lost", "residue"), careless_outages.AcceptsAnyway),
    Defect("not-there", "fail-open", HANG, "while the store is away a session does not exist", ("denied",), careless_outages.NotThereWithoutStore),
    Defect("cold-cache", "denied", REFUSE, "after an outage of the store no session exists for a while", (), careless_outages.ColdCache),
    Defect("lists-online", "denied", TAKE_AWAY, "lists leave out the sessions of an agent that is away", (), careless_outages.ListsWhatIsOnline),
    Defect("always-healthy", "dishonest", REFUSE, "the health page calls the database up whatever happens", (), careless_outages.AlwaysHealthy),
    Defect("never-offline", "dishonest", TAKE_AWAY, "that an agent is lost is not written down", (), careless_outages.NeverOffline),
    Defect("streams-need-store", "interrupted", HANG, "streams are cut while the store is away", (), careless_outages.StreamsNeedStore),
    Defect("one-for-all", "interrupted", TAKE_AWAY, "all streams are cut when one agent is lost", (), careless_outages.OneForAll),
    Defect("mute", "refusal", TAKE_AWAY, "without an agent a start is answered far too late", (), adapter=careless.Mute, all_agents=True),
)  # fmt: skip
DEFECTS = {defect.name: defect for defect in _ALL}
NONE = Defect("none", "", "", "the platform as it should be")
