"""The door to Chaos Toolkit: opens the run before the experiment, judges it after, sets `deviated` unless the verdict is true.

Chaos Toolkit ignores every exception of a control but InterruptExecution, so that is what a refused run raises; and since
a control that never ran leaves no run open, probes and actions fail then. `deviated` is set first and taken back last.
"""

import logging
from typing import Any

from chaosreprise.errors import BadInput, RepriseError

__all__ = ["after_activity_control", "after_experiment_control", "before_experiment_control", "validate_control"]
log = logging.getLogger("chaostoolkit")


def validate_control(control: dict[str, Any]) -> None:
    """Names and literals of the contract; types are checked again when the run opens."""
    from chaoslib.exceptions import InvalidActivity  # noqa: PLC0415

    from chaosreprise import checker  # noqa: PLC0415
    from chaosreprise.run import contract  # noqa: PLC0415

    try:
        contract.read_raw(control["provider"].get("arguments", {}), checker.known())
    except RepriseError as error:
        raise InvalidActivity(str(error)) from error


def before_experiment_control(context: dict[str, Any], configuration: dict[str, Any], **arguments: Any) -> None:
    """Open the run. Refuses by InterruptExecution: the experiment ends with 1 and nothing was broken."""
    from chaoslib.exceptions import InterruptExecution  # noqa: PLC0415

    from chaosreprise import checker  # noqa: PLC0415
    from chaosreprise.run import contract, current  # noqa: PLC0415
    from chaosreprise.run.run import Run  # noqa: PLC0415
    from chaosreprise.run.seed import read_seed  # noqa: PLC0415

    try:
        _refuse_dry(context)
        stated = contract.read(arguments, checker.known())
        run = Run(stated, str(configuration.get("platform") or "embedded"), read_seed(stated.workload.seed))
        run.open()
    except RepriseError as error:
        raise InterruptExecution(str(error)) from error
    current.opened(run)


def after_activity_control(context: dict[str, Any], state: dict[str, Any], **_: Any) -> None:
    """On Python 3.11 Chaos Toolkit swallows a SIGTERM that arrives in an activity: raise it again."""
    from chaoslib.exceptions import InterruptExecution  # noqa: PLC0415

    del context
    if any("InterruptExecution" in line for line in (state or {}).get("exception") or []):
        raise InterruptExecution("interrupted by a signal")


def after_experiment_control(context: dict[str, Any], state: dict[str, Any], **_: Any) -> None:
    """Judge, write, print. Whatever goes wrong in here leaves `deviated` set."""
    from chaosreprise import report  # noqa: PLC0415
    from chaosreprise.run import current  # noqa: PLC0415

    del context
    before, state["deviated"] = bool(state.get("deviated")), True
    run = current.current()
    current.closed()
    if run is None:
        if state.get("status") != "interrupted":  # else the reason has been said
            log.error("no run was open: no verdict, so this experiment does not pass")
        return
    try:
        verdict = run.finish(state)
        print(report.console(verdict, run.directory.shown), flush=True)
    except Exception as error:  # Chaos Toolkit would drop it without a word
        log.error(
            f"the run could not be judged, so this experiment does not pass: {error!r}",
            exc_info=not isinstance(error, RepriseError),
        )
        raise
    state["deviated"] = before or verdict.value != "true"


def _refuse_dry(experiment: dict[str, Any]) -> None:
    """`--dry probes` and `--dry pause` would really inject; `--dry actions` would judge a run in which nothing happened."""
    if dry := experiment.get("dry"):
        raise BadInput(
            f"--dry {getattr(dry, 'value', dry)}: a dry run proves nothing: see what would happen with `chaos reprise plan EXPERIMENT`"
        )
