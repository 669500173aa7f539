"""Planted defects of the sandbox: each breaks one of its promises, behind a seam, as those of the other lab do.

$REPRISE_LAB_DEFECT names one for all three processes; the one that has its seam has it. `check` says what it breaks, by the name
of the check that looks for that.

    control   rows, ids and doors        data   routes and attempts        agent   what runs where, and what is answered
    standstill   what a plane takes for gone when it stood still
"""

import os

from chaosreprise.lab.defects import VARIABLE
from chaosreprise.lab.defects import named as _named
from chaosreprise.lab.defects.defect import Defect

__all__ = ["DEFECTS", "chosen", "named"]


def _defect(
    name: str, check: str, why: str, parts: dict[str, str], experiment: str = "", also: tuple[str, ...] = ()
) -> Defect:
    """Without an experiment it is seen by the lab's own tests only."""
    return Defect(name, check, experiment, why, parts, also=also, package=__name__)


ALL = (
    _defect(
        "step-run-twice", "duplicate",
        "each attempt at a step has a number of its own: when an answer is lost on the way its code runs again",
        {"AgentClient": "data.NumbersAttempts"},
        "sandbox-agent-freeze",
    ),
    _defect(
        "step-dropped", "lost",
        "now and then a step is answered as accepted and never run",
        {"Hosted": "agent.DropsSteps"},
        "sandbox-latency",
    ),
    _defect(
        "answer-of-another-step", "isolation",
        "now and then a step is answered with what the step before it has printed",
        {"Hosted": "agent.AnswersBefore"},
        "sandbox-latency",
    ),
    _defect(
        "wrong-session", "isolation",
        "now and then a step runs in the interpreter of another session",
        {"Hosts": "agent.MixesSessions"},
        "sandbox-latency", ("state-loss",),
    ),
    _defect(
        "silent-restart", "state-loss",
        "an interpreter that has died is replaced by a new one without a word: the step is accepted, the variables are gone",
        {"Hosted": "agent.StartsAgain"},
        "sandbox-interpreter-crash",
    ),
    _defect(
        "recycles", "state-loss",
        "an interpreter that has run five steps is replaced by a new one, which needs less memory, and has lost the variables",
        {"Hosted": "agent.Recycles"},
        "sandbox-latency",
    ),
    _defect(
        "registers-anew", "state-loss",
        "a session that the agent has lost is made known to it again without a word, by the data plane: its variables are gone",
        {"AgentClient": "data.RegistersAnew"},
        "sandbox-agent-crash", ("duplicate",),
    ),
    _defect(
        "registry-lost-begun-anew", "state-loss",
        "a session that a registry file has lost is begun anew in the data plane, without a word: its variables are gone",
        {"Runner": "data.BeginsAnew"},
        "sandbox-registry-cut",
    ),
    _defect(
        "restores-workspaces", "state-loss",
        "a data plane that is started again restores each workspace from its copy: files of the right size, with other bytes in them",
        {"Runner": "data.RestoresWorkspaces"},
        "sandbox-data-plane-crash",
    ),
    _defect(
        "runs-for-who-has-gone", "duplicate",
        "a step whose client has gone before its answer was there runs once more, for when that client asks again",
        {"Api": "control.RunsAgain"},
        "sandbox-answer-lost",
    ),
    _defect(
        "asks-again-when-it-wakes", "duplicate",
        "a control plane that stood still takes what was answered meanwhile for lost, and has those steps run again",
        {"Sessions": "standstill.AsksAgain"},
        "sandbox-control-plane-freeze",
    ),
    _defect(
        "begins-anew-when-it-wakes", "state-loss",
        "a data plane that stood still takes its sessions for expired, and begins each anew without a word: its variables are gone",
        {"Runner": "standstill.BeginsAllAnew"},
        "sandbox-data-plane-freeze",
    ),
    _defect(
        "no-step-row", "unrecorded",
        "a step whose row can't be written is accepted all the same",
        {"Rows": "control.NoStepRows"},
        "sandbox-database-refuses",
    ),
    _defect(
        "silence-is-yes", "unrecorded",
        "a database that does not answer within a second is taken to have stored the step, which is accepted",
        {"Rows": "control.TakesSilenceForYes"},
        "sandbox-database-hangs",
    ),
    _defect(
        "no-session-row", "unrecorded",
        "a session whose row can't be written is created all the same",
        {"Rows": "control.NoSessionRows"},
        "sandbox-database-refuses",
    ),
    _defect(
        "shares-its-output", "isolation",
        "the standard output of a step is the channel of its interpreter: a line that it writes past `print` is taken for its answer",
        {"Interpreter": "agent.SharesItsOutput"},
        "sandbox-latency",
    ),
    _defect(
        "shared-id", "isolation",
        "two creates within one second are given the same session",
        {"Sessions": "control.SharesIds"},
    ),
    _defect(
        "runs-after-terminate", "residue",
        "a terminated session keeps its route and its interpreter, and runs what it is given",
        {"Runner": "data.OnlySaysSo"},
    ),
    _defect(
        "registry-forgets", "denied",
        "the registry has room for four routes: with the next one the oldest is gone, while its session lives",
        {"Registry": "data.RoomForFour"},
    ),
    _defect(
        "open-door", "refusal",
        "authentication is on, and everybody is let in",
        {"Guard": "control.LetsEverybodyIn"},
    ),
    _defect(
        "any-signature", "refusal",
        "authentication is on, and whoever shows a token is let in, by whomever it is signed",
        {"Guard": "control.ReadsNoSignature"},
    ),
    _defect(
        "any-owner", "refusal",
        "authentication is on, and whoever has a token reaches everybody's sessions",
        {"Sessions": "control.AnyOwner"},
    ),
    _defect(
        "open-after-restart", "objective",
        "a session agent that is started again, and finds workspaces, asks nobody for a token",
        {"Tokens": "agent.OpenAfterARestart"},
    ),
    _defect(
        "slow-to-return", "objective",
        "a session agent that is started again reads for six and a half seconds what is in its workspaces before it answers anybody",
        {"Hosts": "agent.ReadsBeforeItAnswers"},
        "sandbox-agent-crash",
    ),
    _defect(
        "agent-any-token", "refusal",
        "the session agent asks for a token, and takes any",
        {"Tokens": "agent.AnyToken"},
    ),
)  # fmt: skip
DEFECTS = {defect.name: defect for defect in ALL}


def chosen() -> Defect:
    """What $REPRISE_LAB_DEFECT names, for the processes of a sandbox."""
    return named(os.environ.get(VARIABLE))


def named(name: str | None) -> Defect:
    """The defect of this name, none for no name; BadInput for one that is not known."""
    return _named(name, DEFECTS, "chaos reprise lab defects --platform sandbox")
