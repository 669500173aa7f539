"""One run: opened before the experiment, driven by its actions and probes, judged at its end.

Order (docs/architecture.md, "A run"): leftovers healed, platform locked, stack, warden, recorder and load, baseline; then what the
method asks for; then heal, canaries away, settled, judged, verdict.json last. Whatever is lost on the way makes the
verdict unknown; nothing here turns an error into a pass.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from chaosreprise import checker, report
from chaosreprise.checker import Stage, Verdict
from chaosreprise.errors import NotAllowed, RepriseError, RunBroken
from chaosreprise.faults import client as faults
from chaosreprise.faults import facts, registry
from chaosreprise.history import Answer, Observe, Phase, Report, Submit, Tail, Writer
from chaosreprise.history import load as load_history
from chaosreprise.history.events import INTERRUPTED, LEFT, UNMADE
from chaosreprise.kubernetes.forwarding import forwarded
from chaosreprise.kubernetes.pod_logs import PodLogs
from chaosreprise.moments import words
from chaosreprise.moments.commands import agent_of
from chaosreprise.moments.needs import wants_frames
from chaosreprise.platform import adapter, commands, keepers, sandbox_ready
from chaosreprise.platform.file import KUBERNETES, Lab, Platform, load
from chaosreprise.platform.said import Leaves
from chaosreprise.run import known, litter, locking, logs, stopping
from chaosreprise.run import plan as planning
from chaosreprise.run.batches import Batches
from chaosreprise.run.breaking import Breaker
from chaosreprise.run.child import Child
from chaosreprise.run.contract import Arguments
from chaosreprise.run.directory import Directory, make
from chaosreprise.run.interruption import interruption
from chaosreprise.run.method import Batch, Wanted
from chaosreprise.run.observing import Pretender
from chaosreprise.run.patience import LoadChild
from chaosreprise.stack import starter

C = TypeVar("C", bound=Child)
log = logging.getLogger("chaostoolkit")
ONLINE = "online"
CONNECTED_S, CONNECTED_TICK_S = 30.0, 0.05
STAGES: dict[str, Stage] = {"baseline": "baseline", "clean-done": "clean", "close": "end", "close-done": "end"}


class Run:
    """An open run. `plan` says what will be broken; `phase` where it stands."""

    def __init__(
        self,
        arguments: Arguments,
        faults: list[Wanted],
        where: str,
        seed: int,
        observe: bool = False,
        batches: Sequence[Batch] = (),
        method: Any = None,
    ) -> None:
        self.arguments, self.wanted, self.seed, self.observe, self.batches = arguments, faults, seed, observe, batches
        self.method = method
        self.requested = load(where)
        self.known = known.stated(arguments.known)
        self.directory: Directory = make(arguments.name)
        self.phase = "opening"
        self._exits = contextlib.ExitStack()
        self._agents: dict[str, str] = {}
        self._interrupted = False
        self._followed: PodLogs | None = None
        self._turn = threading.Lock()
        self._sending = threading.Lock()  # the hypothesis may send commands from a thread of its own while all settles
        self._settled_from, self._unsettled = 0, False

    def open(self) -> None:
        """Everything up to the end of the baseline. What was started is ended again when this raises."""
        with contextlib.ExitStack() as undo:
            self._writer = undo.enter_context(Writer(self.directory.history, "owner", self.directory.run))
            self._batches = Batches(self._writer, self.directory.history)
            undo.callback(self._give_up)
            self._start_processes()
            self._plan()
            self._baseline()
            interruption.held = True  # until somebody who would finish it knows of it
            undo.pop_all()

    def inject(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Make a fault of the method on each component that it means; returns when all are proven.

        A momentary one (crash, restart) is also waited for until its components are back.
        """
        with self._turn:  # faults that wait may be asked for side by side
            if self.phase == "baseline":
                self._enter("method")
        try:
            told = self._breaker.inject(self.plan.fault(wanted))
        except RepriseError as error:  # the method goes on: without this what it would have shown is missed by nobody
            self._tell_unmade(wanted.kind, str(error))
            raise
        if registry.get(wanted.kind).momentary:
            self._until_connected(self.plan.fault(wanted).components)
        self._back_to_quiet()
        return told

    def _tell_unmade(self, kind: str, why: str) -> None:
        now = time.monotonic_ns()
        with self._turn:
            value = {"kind": kind, "why": why}
            self._writer.write(Observe(lo=now, hi=now, source="owner", signal=UNMADE, value=value), at_once=True)

    def undo(self, group: str, which: str = "") -> list[dict[str, Any]]:
        """Undo the faults on a group, or on one component of it; nothing when there is none, so it can be a rollback too."""
        broken = [*self._breaker.faults]
        told = self._breaker.undo(group, which)
        self._until_connected([one for one in broken if one not in self._breaker.faults])
        self._back_to_quiet()
        return told

    def _until_connected(self, components: Collection[str]) -> None:
        """A pod that is ready is not connected yet, and an agent that is not can't be broken. Who does not come is not waited for."""
        known, deadline = self.platform.file.components, time.monotonic() + CONNECTED_S
        pods = [
            agent for one in components if one in known and known[one].how == KUBERNETES and (agent := agent_of(one))
        ]
        while pods and not interruption.by and time.monotonic() < deadline:
            online = self.agents_online()
            if all(online.get(agent) == ONLINE for agent in pods):
                return
            time.sleep(CONNECTED_TICK_S)

    def send(self, seconds: float, share: float = 1.0, batch: Batch | None = None) -> dict[str, Any]:
        """Commands for the sessions of the agents that are broken, while they surely are; for all when no agent is.

        `batch`: the moment at which they are sent, else at once.
        """
        if batch is not None:
            self._await_moment(batch)
        result: dict[str, Any] = self.load.ask("send", agents=self._agents_concerned(), seconds=seconds, share=share)
        return result

    def _await_moment(self, batch: Batch) -> None:
        self.plan.batch(batch)
        agents, prompts = self._agents_concerned(), batch.prompts(len(self.plan.load.agents))
        if self.observe:
            log.info(f"observe   commands would be sent {words(batch.at)}: nothing is broken, so they are sent now")
            return
        self._batches.wait(
            batch.at,
            self._breaker.proven(),
            lambda: prompts and self.load.ask("prompt", agents=agents, sessions=[], need=prompts),
        )
        log.info(f"commands  sent {words(batch.at)}")

    def _agents_concerned(self) -> list[str]:
        proven = self._breaker.proven()
        if not proven:
            raise NotAllowed("no fault is proven at this moment: commands sent now would test nothing")
        agents = list(dict.fromkeys(agent for component in proven if (agent := agent_of(component))))
        return agents or self.plan.load.agents

    def quiet(self, seconds: float) -> dict[str, Any]:
        result: dict[str, Any] = self.load.ask("quiet", seconds=seconds)
        return result

    def drain(self) -> dict[str, Any]:
        with self._sending:
            self._enter("drain")
            self._breaker.until_back()
            result = self._settle()
        log.info(
            f"drain     settled in {result['settled_s']:.1f} s (the platform needs {self.plan.load.settle_s:.1f} s)"
        )
        return result

    def _settle(self) -> dict[str, Any]:
        self._settled_from, self._unsettled = time.monotonic_ns(), False
        result: dict[str, Any] = self.load.ask("drain")
        return result

    def clean(self) -> dict[str, Any]:
        with self._sending:
            if self.phase == "drain" and (self._breaker.until_back() >= self._settled_from or self._unsettled):
                self._settle()
            self._enter("clean")
            result: dict[str, Any] = self.load.ask("clean")
            self._leave()
        return result

    def agents_online(self) -> dict[str, str]:
        """State of each planned agent, as the platform reports it now. Raises RunBroken when nobody watches any more."""
        self._alive(self.recorder)
        with self._turn:  # a fault in the background looks as well
            for event in self._tail.new():
                if isinstance(event, Report) and event.about == "agent":
                    self._agents[event.id] = event.state
        return {agent: self._agents.get(agent, "unknown") for agent in self.plan.load.agents}

    def canaries(self, verb: str) -> dict[str, str]:
        """`answers` or `cycle` of the load: what each agent's canary does. Waits while everything settles."""
        with self._sending:
            self._unsettled = True
            result: dict[str, str] = self.load.ask(verb)
        return result

    def judge(self) -> Verdict:
        """The verdict on what is recorded so far, at the stage that the run has reached."""
        return checker.judge(load_history(self.directory.history), STAGES.get(self.phase, "during"))

    def finish(self, journal: dict[str, Any]) -> Verdict:
        """Heal, remove the canaries, settle, judge, write. The run is over afterwards, whatever happened and whatever comes."""
        interruption.held = True
        broken_off = journal.get("status") == "interrupted" or interruption.by is not None
        with self._writer:
            with self._exits:
                with self._told("heal"):
                    self.undo("")
                if not broken_off and interruption.by is None:
                    with self._told("wind down"), interruption.breaking():
                        self._wind_down()
                with self._told("end the recorder"):
                    self.recorder.ask("end")
                self._say_broken()
                with self._told("ask the warden"):
                    self._say_halted()
                with self._told("keep the platform's logs"):
                    logs.collect(self.platform, self.directory.path, self._followed)
                with self._told("end the warden"):
                    self.warden.close()
            self.directory.keep("faults.jsonl", self.warden.ledger)
            self.directory.write_json("journal.json", journal)
            return self._concluded(broken_off)

    def _say_broken(self) -> None:
        for what in self._broken:
            log.warning(f"forward   {what}: that was on the way to the platform, not the platform")

    def _say_halted(self) -> None:
        if why := stopping.why(self.warden.request("status")):
            log.error(f"halted    {why}: what was broken is whole again")

    def conclude(self) -> Verdict:
        """Judge what was recorded, and write that. Everything has been ended."""
        history = load_history(self.directory.history)
        verdict = checker.judge(history, "end")
        report.write(self.directory.path, verdict, history)
        return verdict

    def _give_up(self) -> None:
        """End what was started: a second signal does not stop that."""
        interruption.held = True
        self._exits.close()
        self._note_interruption()
        interruption.held = False

    def _concluded(self, broken_off: bool) -> Verdict:
        """A signal that comes before verdict.json is there still counts: then it is judged again."""
        while True:
            known = interruption.by
            self._note_interruption(broken_off)
            self._writer.flush()
            verdict = self.conclude()
            if interruption.by == known:
                return verdict

    def _note_interruption(self, broken_off: bool = False) -> None:
        """Once: who interrupted the run, and when."""
        if self._interrupted or not (interruption.by or broken_off):
            return
        self._interrupted = True
        at = interruption.at or time.monotonic_ns()
        by = interruption.by or "the experiment"
        self._writer.write(Observe(lo=at, hi=at, source="owner", signal=INTERRUPTED, value=by), at_once=True)

    def _back_to_quiet(self) -> None:
        with self._turn:
            if self.phase == "method" and not self._breaker.faults:
                self._enter("quiet")

    def _wind_down(self) -> None:
        """What the method did not get to, then the canaries away and everything settled: no session of ours is left."""
        if self.phase in ("baseline", "method", "quiet"):
            self.drain()
        if self.phase == "drain":
            self.clean()
        with self._sending:
            self._enter("close")
            self.load.ask("close")
            self._leave()
        self.load.ask("end")

    def _tidy(self) -> None:
        """Stop what sessions of ours are left: none, unless the run broke off."""
        self.load.close()
        with self._told("tidy up"):
            if line := litter.stop(self.platform, self.directory.run):
                log.info(f"tidied    {line}")
            self._tell_left()
            if self._starts_answered():
                self._litter.unlink()

    def _tell_left(self) -> None:
        speaker = adapter.make(self.platform, self.directory.run)
        if isinstance(speaker, Leaves) and (left := speaker.left()):
            now = time.monotonic_ns()
            self._writer.write(Observe(lo=now, hi=now, source="owner", signal=LEFT, value=left), at_once=True)
            log.info(f"left      {'; '.join(left)}")

    @property
    def _outlived(self) -> bool:
        """Whether sessions may outlive the run: those of a lab of its own end with it, somebody else's program may keep them on its disk."""
        return self._stack is None or bool(self.requested.commands)

    def _mark_litter(self) -> None:
        """From here on sessions may be left."""
        if self._outlived:
            self._litter = litter.mark(self.platform, self.directory.run)
            self._exits.callback(self._tidy)

    def _starts_answered(self) -> bool:
        """Else the platform may make one more session after we have looked: the next run looks again, by the mark."""
        events = load_history(self.directory.history).events
        sent = {event.cmd for event in events if isinstance(event, Submit) and event.op == "start"}
        return sent <= {event.cmd for event in events if isinstance(event, Answer)}

    def _start_processes(self) -> None:
        lab = self._lab()
        kind = lab.serves if lab is not None else self.requested.file.kind
        arguments = ["--run", self.directory.run, "--history", str(self.directory.history), "--kind", kind]
        logged = self.directory.logs
        self.recorder = self._child(Child("recorder", "chaosreprise.run.recorder", arguments, logged))
        self.load = self._child(LoadChild("load", "chaosreprise.workload", arguments, logged))
        self.recorder.needed_by.append(self.load)
        self.platform, self._stack = self._platform()
        ways = forwarded(self.platform.cluster, self.platform.file.forward, self._writer.write)
        self._broken = self._exits.enter_context(ways)
        self._exits.enter_context(locking.locked(self.platform, self.directory.run))
        told = self._exits.enter_context(stopping.announced(self.requested, self.platform, self.directory))
        for healed in faults.heal(self.platform.id, keepers.address(self.platform)):
            log.info(f"healed    {healed}")
        self.warden = faults.Warden.start(
            run=self.directory.run,
            platform_id=self.platform.id,
            keeper=keepers.address(self.platform),
            history=self.directory.history,
            platform_file=self.platform.path,
            observe=self.observe,
            stack_fd=self._stack.owner_write_fd if self._stack else None,
        )
        self._exits.callback(self.warden.close)
        stopping.announce(told, self.warden.address)
        interruption.at_once = self.warden.halt_at_once
        self.adapter = adapter.make(self.platform, self.directory.run)
        if self._outlived:
            for line in litter.clear(self.platform):
                log.info(f"tidied    {line}")

    def _child(self, child: C) -> C:
        self._exits.callback(child.close)
        return child

    def _lab(self) -> Lab | None:
        """The embedded platform that is made for this run."""
        embedded = self.requested.file.kind == "embedded"
        return self.arguments.needs.lab(self.requested.file.lab or Lab()) if embedded else None

    def _platform(self) -> tuple[Platform, "starter.Stack | None"]:
        if self.requested.commands:
            return self.requested, self._start_commands()
        if self.requested.file.kind != "embedded":
            return self.requested, None
        began = time.monotonic()
        lab = self._lab()
        assert lab is not None
        stack = starter.start(**msgspec.structs.asdict(lab), owned=True)
        self._exits.callback(stack.end)
        log.info(f"platform  embedded: {lab.parts()}   ready in {time.monotonic() - began:.1f} s")
        return load(str(stack.platform_file)), stack

    def _start_commands(self) -> "starter.Stack":
        began = time.monotonic()
        stack = starter.start_spec(self.requested.stack, commands.stack(self.requested), owned=True)
        self._exits.callback(stack.end)
        log.info(
            f"platform  {self.requested.file.name}: {', '.join(self.requested.commands)}   "
            f"ready in {time.monotonic() - began:.1f} s"
        )
        return stack

    def _plan(self) -> None:
        description = self.adapter.describe()
        self.plan = planning.make(
            self.arguments,
            self.wanted,
            self.platform,
            description,
            self.adapter.components(),
            self.seed,
            self.observe,
            self.batches,
        )
        asked = Pretender() if self.observe else self.warden
        self._breaker = Breaker(asked, self.load, self.plan, dict(self.arguments.exposure))
        self.plan.check(self.platform, asyncio.run(facts.once(self.platform, self.directory.run, self.plan.components)))
        self.directory.write_json("plan.json", msgspec.to_builtins(self.plan))
        self._writer.write(
            planning.contract_event(self.arguments, self.plan, description, self.platform, self.known, self.method),
            at_once=True,
        )
        for line in self.plan.lines():
            log.info(line)

    def _baseline(self) -> None:
        self._tail = Tail(self.directory.history, "recorder")
        waiting = [one.at for one in self.wanted] + [one.at for one in self.batches]
        frames = any(map(wants_frames, waiting))
        self._mark_litter()
        self.recorder.ask("watch", platform=self.platform.path, frames=frames)
        self.load.settle_s = self.plan.load.settle_s
        self.load.ask("plan", plan=msgspec.to_builtins(self.plan.load), platform=self.platform.path)
        if (followed := logs.follow(self.platform)) is not None:
            self._exits.callback(followed.end)
            self._followed = followed
        try:
            self.load.ask("open")
        except RunBroken as error:
            raise RunBroken(f"{error}{sandbox_ready.waiting(self.platform)}") from error
        self._enter("baseline")
        self.load.ask("baseline", seconds=self.arguments.limits.baseline_s)

    def _enter(self, name: str) -> None:
        now = time.monotonic_ns()
        if self.phase in ("baseline", "method", "quiet", "drain", "clean", "close"):
            self._writer.write(Phase(lo=now, hi=now, name=self.phase, edge="end"), at_once=True)
        self._writer.write(Phase(lo=now, hi=now, name=name, edge="begin"), at_once=True)
        self.phase = name

    def _leave(self) -> None:
        now = time.monotonic_ns()
        self._writer.write(Phase(lo=now, hi=now, name=self.phase, edge="end"), at_once=True)
        self.phase = f"{self.phase}-done"

    def _alive(self, child: Child) -> None:
        if not child.alive():
            raise RunBroken(
                f"the {child.name} process of this run has ended: see {self.directory.logs}/{child.name}.log"
            )

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """An error while finishing is said and makes the verdict unknown by the evidence that then lacks; the rest goes on."""
        try:
            yield
        except Exception as error:
            ours = isinstance(error, RepriseError | OSError)  # a TimeoutError is an OSError
            log.error(f"could not {what}: {error if ours else repr(error)}", exc_info=not ours)
