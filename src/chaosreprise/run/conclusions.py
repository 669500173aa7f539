"""What a platform file, a look at the platform and what earlier runs left say of a run to come."""

from collections import Counter

from chaosreprise.errors import BadInput
from chaosreprise.faults import ledger, registry
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.links import GROUP as LINKS
from chaosreprise.platform.links import OF_AGENTS, of
from chaosreprise.platform.said import Said
from chaosreprise.run import litter, stopping
from chaosreprise.run.looking import Look
from chaosreprise.workload import plan as workload
from chaosreprise.workload.steps import LOOKS_HZ

HEAL = "`chaos reprise heal` does so, and so does the next run here before anything else"


def allowed(platform: Platform) -> list[Said]:
    allow, kinds = platform.file.allow, registry.kinds()
    limits = f"share {allow.share:g}, {allow.count} of a group by one run, {allow.at_once} at once"
    others = f"{allow.foreign_sessions} sessions of others"
    when = f"within {', '.join(allow.windows)}" if allow.windows else "at any time"
    said = []
    if unknown := [kind for kind in allow.faults if kind not in kinds]:
        do = "correct it: `chaos reprise faults` lists all kinds"
        said.append(Said(about="allowed", state="limited", say=f"{', '.join(unknown)}: no such fault", do=do))
    number = sum(kind in allow.faults for kind in kinds)
    if not number:
        do = "add the kinds that this platform may suffer: `chaos reprise faults` lists them"
        return [*said, Said(about="allowed", state="limited", say="allow.faults lists no kind of fault", do=do)]
    groups = Counter(kind.partition(".")[0] for kind in kinds if kind in allow.faults)
    on = ", ".join(f"{group} {n}" for group, n in groups.items())
    say = f"{number} of {len(kinds)} kinds of faults ({on}); {limits}; {others}; {when}"
    return [*said, Said(about="allowed", say=say)]


def effects(there: Look) -> list[Said]:
    entries = there.description.attribution
    if not entries:
        do = "name a ledger of effects in [evidence]; without one, only experiments that go by rows and answers can be run"
        return [Said(about="effects", state="limited", say="no ledger shows what commands do", do=do)]
    by_level: dict[str, list[str]] = {}
    for entry in entries:
        by_level.setdefault(f"{entry.level} in {entry.ledger}", []).append(entry.op)
    says = [f"{' '.join(ops)} {level}" for level, ops in by_level.items()]
    says += [] if there.description.steps else ["no steps: sessions are read instead"]
    said = [Said(about="effects", say="; ".join(says))]
    for name in sorted({entry.ledger for entry in entries} if not there.description.hibernates else ()):
        evidence = there.platform.file.evidence.get(name)
        if evidence is not None and evidence.hz < LOOKS_HZ:
            say = f"{evidence.hz:g} looks a second may see a step only when it has ended: no crash would strike amid it"
            said.append(Said(about="effects", name=name, state="limited", say=say, do=f"set evidence.{name}.hz to 20"))
    return said


def links(there: Look, found: list[Component] | Said) -> list[Said]:
    if isinstance(found, Said):
        return [found]
    said = []
    for one in found:
        if one.reason or one.state != "up":
            why = one.reason or "its proxy is disabled"
            said.append(Said(about="link", name=one.name, state="limited", say=f"{why}: no fault can be made on it"))
        else:
            taps = "up, read along" if of(there.platform)[one.name].taps else "up"
            said.append(Said(about="link", name=one.name, say=taps))
    names = [one.name for one in found]
    bare = [f"{OF_AGENTS}{agent}" for agent in there.agents if f"{OF_AGENTS}{agent}" not in names]
    bare += [f"{LINKS}/{name}" for name in ("clients", "database") if f"{LINKS}/{name}" not in names]
    do = "put a Toxiproxy there, and name it in [links]"
    say = "no proxy: no fault can be made on it"
    return said + [Said(about="link", name=name, state="limited", say=say, do=do) for name in bare]


def budget(there: Look) -> list[Said]:
    """Whether the load of a usual run fits, or at least the smallest one."""
    if not there.agents:
        return []
    limits = there.platform.file.budget
    has = f"{limits.max_sessions} sessions of {len(limits.users)} users, {limits.max_rps:g} requests a second"
    says: list[str] = []
    for exposure in (workload.DEFAULT_EXPOSURE, 1):
        try:
            load = workload.make(
                workload.Workload(),
                dict.fromkeys(workload.WAITING, exposure),
                there.agents,
                limits.users,
                limits.max_sessions,
                limits.max_rps,
                seed=0,
            )
        except BadInput as error:
            says.append(str(error))
        else:
            say = f"{has}: an exposure of {exposure} takes {load.starts} sessions"
            state = "limited" if says else "ok"
            return [Said(about="budget", state=state, say="; ".join([say, *says]))]  # type: ignore[arg-type]
    return [Said(about="budget", state="not ok", say=f"{has}: {says[-1]}")]


def left(platform: Platform) -> list[Said]:
    """What earlier runs left, and who is at it now."""
    said = []
    busy = [one for one in stopping.running() if one.platform == platform.id]
    if busy:
        say, do = f"run {busy[0].run} is testing it now", "wait for its end, or `chaos reprise stop`"
        said.append(Said(about="lock", state="not ok", say=say, do=do))
    elif (pid := ledger.holder(platform.id)) is not None:
        say = f"process {pid} of Reprise is at work on it now"
        said.append(Said(about="lock", state="not ok", say=say, do="wait for its end"))
    now = {one.run for one in busy}
    for record in ledger.leftovers(platform.id):
        if record.run not in now:
            say = f"{record.kind} on {record.on} of run {record.run} is {record.state}: {record.say or 'not undone'}"
            said.append(Said(about="left", state="limited", say=say, do=HEAL))
    for mark in litter.left(platform.id):
        if mark.name not in now:
            say = f"run {mark.name} ended before it had stopped its sessions"
            said.append(Said(about="left", state="limited", say=say, do=HEAL))
    return said or [Said(about="left", say="nothing, and nobody is at work on it")]
