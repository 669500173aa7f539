"""What an experiment would do to a platform, without doing it: `chaos reprise plan EXPERIMENT`.

Reads the experiment as Chaos Toolkit would (configuration from the environment and its defaults) and the platform as the
run would. What is started for a run is not started for it, so its victim has a name but no pid.
"""

import asyncio
import json
import secrets
from typing import Any

import msgspec
from chaoslib import substitute
from chaoslib.configuration import load_configuration
from chaoslib.exceptions import ChaosException

from chaosreprise import checker
from chaosreprise.errors import BadInput, RepriseError, shown
from chaosreprise.faults import facts, registry
from chaosreprise.kubernetes.forwarding import forwarded
from chaosreprise.platform import adapter, proxies
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import EMBEDDED, KEEPER_FILE, Lab, Platform, load
from chaosreprise.run import contract, known, method, observing, plan
from chaosreprise.run.contract import Arguments
from chaosreprise.run.method import Batch, Wanted
from chaosreprise.run.seed import read_seed
from chaosreprise.settings import TOO_MUCH, read_text

MODULE = "chaosreprise.controls"
PLACES_A_USER = 5  # of the embedded platform, which gives them to each of its users


def lines(experiment: str) -> list[str]:
    """The plan, a line each. Raises what the run itself would refuse."""
    arguments, faults, batches, configuration = read(experiment)
    platform = load(contract.platform(configuration))
    known.stated(arguments.known)
    seed = read_seed(arguments.workload.seed)
    if platform.file.kind == "embedded":
        return [
            *([plan.OBSERVE_ONLY] if observing.asked() else []),
            *embedded(arguments, faults, batches, platform, seed),
        ]
    run = f"plan-{secrets.token_hex(4)}"
    with forwarded(platform.cluster, platform.file.forward):
        speaker = adapter.make(platform, run)
        if platform.commands and not (platform.stack / KEEPER_FILE).exists():
            there = [*to_be_started(platform), *proxies.components(platform)]
            found = plan.make(arguments, faults, platform, speaker.describe(), there, seed, observing.asked(), batches)
            return [f"would start        {', '.join(platform.commands)}; ended with the run", *found.lines()]
        found = plan.make(
            arguments, faults, platform, speaker.describe(), speaker.components(), seed, observing.asked(), batches
        )
        found.check(platform, asyncio.run(facts.once(platform, run, found.components)))
        return found.lines()


def to_be_started(platform: Platform) -> list[Component]:
    """The components that a run starts: they have names, but no processes yet."""
    return [Component(name=name, group=registry.group_of(name), inc=["later"]) for name in platform.commands]


def embedded(
    arguments: Arguments, faults: list[Wanted], batches: list[Batch], platform: Platform, seed: int
) -> list[str]:
    """The same for a platform that is not there yet: it has names, but no processes."""
    lab = arguments.needs.lab(platform.file.lab or Lab())
    hibernates = lab.serves != "sandbox"  # of which there is one agent
    agents = [f"a{number}" for number in range(1, lab.agents + 1 if hibernates else 2)]
    users = [f"user{number:02}" for number in range(1, lab.users + 1)]
    most = PLACES_A_USER * len(users)
    budget = msgspec.structs.replace(
        platform.file.budget, users=users, max_sessions=most, sessions_a_user=PLACES_A_USER
    )
    there = msgspec.structs.replace(platform, file=msgspec.structs.replace(platform.file, budget=budget))
    try:
        load_plan = plan.make_load(arguments, there, agents, seed, [*faults, *batches], hibernates)
    except BadInput as error:
        raise BadInput(str(error) if platform is EMBEDDED else f"{platform.path}: {error}") from error
    controls = [plan.CONTROL_PLANE, *(f"{plan.CONTROL_PLANE}/{n}" for n in range(2, lab.control_planes + 1))]
    regions = {f"r{n + 1}": agents[n :: lab.regions] for n in range(lab.regions)}
    planned = [plan.shown(wanted, agents, seed, controls, regions) for wanted in faults]
    return [
        f"would start        the embedded platform: {lab.parts()}; ended with the run",
        *(fault.line() for fault in planned),
        *map(plan.batch_line, batches),
        f"load               {load_plan.starts} sessions for {len(users)} users; seed {seed}",
    ]


def check_at_once(experiment: dict[str, Any]) -> None:
    """Raises NotAllowed where the method surely has more faults on at once than the platform file allows. What can't be read is said by a run."""
    try:
        configuration = load_configuration(experiment.get("configuration", {}))
        platform = load(contract.platform(configuration))
        faults = method.faults_of(substitute(experiment.get("method"), configuration, {}))
    except (ChaosException, RepriseError):
        return
    if platform.file.kind != "embedded":  # that is made so that it allows for everything
        least = [1 if one.one_by_one or one.count == method.ALL else int(one.count) for one in faults]
        plan.check_at_once(platform, faults, least)


def read(experiment: str) -> tuple[Arguments, list[Wanted], list[Batch], dict[str, Any]]:
    """The contract, the faults, the commands at a moment and the configuration of an experiment file. Raises BadInput."""
    text = read_text(experiment, "the experiment", "give a file such as experiments/agent-failover.json")
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{experiment}: not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{experiment}: {TOO_MUCH}") from error
    stated = _arguments(experiment, raw)
    configuration = _configuration(experiment, raw.get("configuration", {}))
    if not isinstance(raw.get("method"), list):
        raise BadInput(f"{experiment}: method = {shown(raw.get('method'))}: expected a list of steps")
    arguments = contract.read(substitute(stated, configuration, {}), checker.known())
    steps = substitute(raw.get("method"), configuration, {})
    return arguments, method.faults_of(steps), method.batches_of(steps), configuration


def _configuration(experiment: str, raw: Any) -> dict[str, Any]:
    """As Chaos Toolkit loads it, which takes for granted that it is well made."""
    if not isinstance(raw, dict):
        raise BadInput(f"{experiment}: configuration = {shown(raw)}: expected a table")
    found: dict[str, Any] = {}
    for name, value in raw.items():
        try:
            found |= load_configuration({name: value})
        except Exception as error:  # whatever it stumbles over stands in the experiment
            reason = error if isinstance(error, ChaosException) else "no such setting can be loaded"
            raise BadInput(
                f"{experiment}: configuration.{name} = {shown(value)}: {reason}: expected a value, or a table with type, key and default"
            ) from error
    return found


def _arguments(experiment: str, raw: Any) -> Any:
    controls = raw.get("controls", []) if isinstance(raw, dict) else []
    for control in controls if isinstance(controls, list) else []:
        provider = control.get("provider", {}) if isinstance(control, dict) else {}
        if isinstance(provider, dict) and provider.get("module") == MODULE:
            return provider.get("arguments", {})
    raise BadInput(f"{experiment}: no control {MODULE} in it: an experiment of Reprise states its contract there")
