"""The door to Chaos Toolkit: opens the run before the experiment, judges it after, sets `deviated` unless the verdict is true.

Chaos Toolkit ignores every exception of a control but InterruptExecution, so that is what a refused run raises; and since
a control that never ran leaves no run open, probes and actions end the experiment then. `deviated` is set first and taken
back last, and what Chaos Toolkit calls at its very end, whatever became of the hooks, looks whether that was done.
"""

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from chaoslib.exceptions import InterruptExecution, InvalidActivity
from chaoslib.run import EventHandlerRegistry, RunEventHandler

from chaosreprise.errors import BadInput, RepriseError
from chaosreprise.run.interruption import interruption

if TYPE_CHECKING:
    from chaosreprise.checker import Verdict
    from chaosreprise.run.run import Run

__all__ = [
    "after_activity_control",
    "after_experiment_control",
    "after_hypothesis_control",
    "after_method_control",
    "before_activity_control",
    "before_experiment_control",
    "before_hypothesis_control",
    "before_method_control",
    "configure_control",
    "validate_control",
]
log = logging.getLogger("chaostoolkit")


def validate_control(control: dict[str, Any]) -> None:
    """Names and literals of the contract and of the method, and how many faults surely are on at once; all is checked again when the run opens."""
    from chaosreprise import checker  # noqa: PLC0415
    from chaosreprise.run import contract, method, preview  # noqa: PLC0415

    try:
        contract.read_raw(control["provider"].get("arguments", {}), checker.known())
        experiment = _experiment_around(control)
        method.check_raw(experiment.get("method"))
        preview.check_at_once(experiment)
    except RepriseError as error:
        raise InvalidActivity(str(error)) from error


def configure_control(event_registry: EventHandlerRegistry, **_: Any) -> None:
    """Listen to signals from here on, and hang the net that holds when a hook of this control is not called or fails."""
    from chaosreprise.run import current  # noqa: PLC0415

    current.closed(passed=False)
    interruption.install()
    event_registry.register(_Net())


def before_experiment_control(context: dict[str, Any], configuration: dict[str, Any], **arguments: Any) -> None:
    """Open the run. Refuses by InterruptExecution: the experiment ends with 1 and nothing was broken."""
    try:
        _open(context, configuration, arguments)
    except RepriseError as error:
        raise InterruptExecution(str(error)) from error
    except InterruptExecution:
        raise
    except OSError as error:
        log.debug("the run could not be opened", exc_info=True)
        where = error.filename or "a file or a connection"
        raise InterruptExecution(f"the run could not be opened: {where}: {error.strerror or error}") from error
    except Exception as error:
        log.error("the run could not be opened", exc_info=True)
        raise InterruptExecution(f"the run could not be opened: {error!r}") from error


def before_hypothesis_control(context: dict[str, Any], **_: Any) -> None:
    """A signal that got lost on its way is raised again here, and in the hooks below."""
    del context
    interruption.check()


def after_hypothesis_control(context: dict[str, Any], **_: Any) -> None:
    del context
    interruption.check()


def before_method_control(context: dict[str, Any], **_: Any) -> None:
    del context
    interruption.check()


def after_method_control(context: dict[str, Any], **_: Any) -> None:
    del context
    interruption.check()


def before_activity_control(context: dict[str, Any], **_: Any) -> None:
    del context
    interruption.check()


def after_activity_control(context: dict[str, Any], state: dict[str, Any], **_: Any) -> None:
    """On Python 3.11 Chaos Toolkit takes an InterruptExecution in an activity, anybody's, for a failure of the activity."""
    del context
    interruption.check()
    if sys.exception() is None and any("InterruptExecution" in line for line in (state or {}).get("exception") or []):
        raise InterruptExecution("interrupted in an activity")


def after_experiment_control(context: dict[str, Any], state: dict[str, Any], **_: Any) -> None:
    """Judge, write, print. Whatever goes wrong in here leaves `deviated` set."""
    del context
    _finish(state)


def _experiment_around(control: dict[str, Any]) -> dict[str, Any]:
    """The experiment that is being validated. Chaos Toolkit shows a control itself alone, and an activity's
    values to nobody: whoever called us holds the experiment. Where nobody does, the run says it when it opens."""
    frame = sys._getframe(1)
    while (caller := frame.f_back) is not None:
        experiment = caller.f_locals.get("experiment")
        if isinstance(experiment, dict) and control in (experiment.get("controls") or []):
            return experiment
        frame = caller
    return {}


class _Net(RunEventHandler):  # type: ignore[misc]
    """Called even if the control was taken out of hooks by `scope` or `automatic`, or if one of anybody's has raised."""

    def running(self, experiment: Any, journal: dict[str, Any], *_: Any) -> None:
        del experiment
        interruption.journal = journal

    def finish(self, journal: dict[str, Any]) -> None:
        interruption.held = True
        from chaosreprise.run import current  # noqa: PLC0415

        try:
            if current.current() is not None:
                _finish(journal)
        finally:
            interruption.restore()
        if not current.passed():
            journal["deviated"] = True
            if isinstance(error := sys.exception(), SystemExit) and not error.code:
                raise SystemExit(1)  # a control of somebody else that leaves with 0 leaves without a true verdict


def _open(experiment: dict[str, Any], configuration: dict[str, Any], arguments: dict[str, Any]) -> None:
    from chaoslib import substitute  # noqa: PLC0415

    from chaosreprise import checker  # noqa: PLC0415
    from chaosreprise.run import contract, current, method, observing  # noqa: PLC0415
    from chaosreprise.run.run import Run  # noqa: PLC0415
    from chaosreprise.run.seed import read_seed  # noqa: PLC0415

    if not interruption.installed:
        raise BadInput("the control chaosreprise.controls was not configured: give it a `name` in the experiment")
    if current.current() is not None:
        raise BadInput("the control chaosreprise.controls stands twice in the experiment or its settings: leave one")
    _refuse_dry(experiment)
    stated = contract.read(arguments, checker.known())
    steps = substitute(experiment.get("method"), configuration, {})
    faults, batches = method.faults_of(steps), method.batches_of(steps)
    where = contract.platform(configuration)
    seed = read_seed(stated.workload.seed)
    run = Run(stated, faults, where, seed, observe=observing.asked(), batches=batches, method=steps)
    try:
        run.open()
    except BaseException:
        if interruption.by is not None:
            with contextlib.suppress(RepriseError):  # when nothing was recorded yet
                _show(run, run.conclude())
        raise
    current.opened(run)
    interruption.held = False
    interruption.check()


def _finish(journal: dict[str, Any]) -> None:
    from chaosreprise.run import current  # noqa: PLC0415

    interruption.held = True
    before, journal["deviated"] = bool(journal.get("deviated")), True
    run = current.current()
    current.closed(passed=False)
    if run is None:
        if journal.get("status") != "interrupted":  # else the reason has been said
            log.error("no run was open: no verdict, so this experiment does not pass")
        return
    try:
        verdict = run.finish(journal)
        _show(run, verdict)
    except Exception as error:
        log.error(
            f"the run could not be judged, so this experiment does not pass: {error if isinstance(error, RepriseError) else repr(error)}",
            exc_info=not isinstance(error, RepriseError),
        )
        return
    passed = verdict.value == "true" and not before
    current.closed(passed=passed)
    journal["deviated"] = not passed
    if interruption.by is not None and not passed:
        journal["status"] = "interrupted"
        journal.setdefault(
            "interruption", {"kind": "signal", "name": interruption.by, "reason": f"received {interruption.by}"}
        )


def _show(run: "Run", verdict: "Verdict") -> None:
    """On the terminal, if there still is one: where the output is gone, nobody is told again when Python ends either."""
    from chaosreprise import report  # noqa: PLC0415

    try:
        print(report.console(verdict, run.directory.shown), flush=True)
    except OSError as error:
        log.error(f"the verdict can't be printed ({error.strerror}): it stands in {run.directory.shown}/verdict.json")
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse_dry(experiment: dict[str, Any]) -> None:
    """`--dry probes` and `--dry pause` would really inject; `--dry actions` would judge a run in which nothing happened."""
    if dry := experiment.get("dry"):
        raise BadInput(
            f"--dry {getattr(dry, 'value', dry)}: a dry run proves nothing: see what would happen with `chaos reprise plan EXPERIMENT`"
        )
