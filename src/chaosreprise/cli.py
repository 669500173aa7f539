"""`chaos reprise ...`: a thin door, loaded by every `chaos` command, so it imports only click until a command runs.

Exit codes: `verdict`, `recheck` and `check` end with 0 true, 1 false, 2 unknown; whatever can't be done ends with 3.
"""

import contextlib
import errno
import functools
import json
import logging
import pathlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NoReturn

import click

EXIT = {"true": 0, "false": 1, "unknown": 2}
FAILED = 3
CANT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def _be_plain() -> None:
    """One sentence where Chaos Toolkit can't write its log or its journal, which it opens and writes without a net.

    A line that its log can't take any more goes to the terminal all the same; Python would print a stack for each.
    """
    logging.raiseExceptions = False
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, OSError) or error.errno not in CANT_WRITE:
            before(kind, error, trace)
            return
        where = error.filename or "a file of Chaos Toolkit"
        with contextlib.suppress(OSError):
            sys.stderr.write(
                f"{where}: can't be opened or written ({error.strerror}): make room, go to a folder that you may write, "
                "or name other files (chaos --no-log-file, chaos run --journal-path FILE)\n"
            )
        raise SystemExit(FAILED if "reprise" in sys.argv[1:] else 1)  # of `chaos reprise`, 1 would be a verdict

    sys.excepthook = hook


_be_plain()  # imported by the `chaos` command, as its plugin, before that opens any file


def _errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors raised on purpose become one line and exit code 3."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from chaosreprise.errors import RepriseError  # noqa: PLC0415

        try:
            command(*args, **kwargs)
        except RepriseError as error:
            _fail(str(error))

    return wrapped


class Group(click.Group):
    """Whatever goes wrong ends with 3, whoever is to blame: 1 and 2 are verdicts."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(info_name, args, *more, **extra)
        except click.UsageError as error:
            _misused(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _misused(error)
        except click.exceptions.Exit:
            raise
        except KeyboardInterrupt:
            _fail("interrupted")
        except OSError as error:
            _fail(f"{error.filename or 'the output'}: {error.strerror}")
        except Exception:  # noqa: BLE001 a bug of ours is no verdict on a platform
            _fail(traceback.format_exc())


@click.group(cls=Group)
def reprise() -> None:
    """Prove what a platform does when a part of it dies."""


@reprise.command()
@click.argument("directory", default="runs/latest")
@_errors
def verdict(directory: str) -> None:
    """Print the verdict of a run; exit 0 true, 1 false, 2 unknown."""
    from chaosreprise.errors import BadInput  # noqa: PLC0415

    path = pathlib.Path(directory, "verdict.json")
    try:
        found = json.loads(path.read_text())["verdict"]
        code = EXIT[found]
    except OSError as error:
        raise BadInput(
            f"{path}: can't be read ({error.strerror}): did the run end? `chaos reprise recheck {directory}` judges what it recorded"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: not a verdict: `chaos reprise recheck {directory}` makes it again") from error
    _echo(found)
    sys.exit(code)


@reprise.command()
@click.argument("directory", default="runs/latest")
@_errors
def recheck(directory: str) -> None:
    """Judge a run again, from its history alone; exit 0 true, 1 false, 2 unknown."""
    from chaosreprise.errors import BadInput  # noqa: PLC0415

    history = pathlib.Path(directory, "history")
    if not history.is_dir():
        raise BadInput(f"{directory}: no run there (expected {history}/*.jsonl): give a directory such as runs/latest")
    _judge([history], directory)


@reprise.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="the verdict for machines, as in verdict.json")
@_errors
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Judge anyone's history, without a platform: its segments or its folder; exit 0 true, 1 false, 2 unknown."""
    _judge([pathlib.Path(file) for file in files], None, as_json=as_json)


@reprise.command()
def schema() -> None:
    """Print the JSON Schema of a line of a history; docs/history.md says what the lines mean."""
    from chaosreprise import history  # noqa: PLC0415

    _echo(json.dumps(history.schema(), indent=2))


@reprise.command()
@click.argument("directory", default="runs/latest")
@click.option("--why", required=True, help="the reason why these violations are accepted")
@click.option("--expires", required=True, help="the last day on which they are, such as 2027-01-31")
@click.option(
    "--to", "into", default="known.toml", show_default=True, help="the file that the experiment names in `known`"
)
@_errors
def accept(directory: str, why: str, expires: str, into: str) -> None:
    """Accept the violations of a run for a time: write them into a file of known ones."""
    from chaosreprise.run import known  # noqa: PLC0415

    for line in known.accept(directory, why, expires, into):
        _echo(line)


@reprise.command()
@click.argument("experiment")
@_errors
def plan(experiment: str) -> None:
    """Say what an experiment would break and how that is undone; changes nothing of the platform."""
    from chaosreprise.run import preview  # noqa: PLC0415

    for line in preview.lines(experiment):
        _echo(line)


@reprise.command()
@click.argument("platform", metavar="FILE", envvar="REPRISE_PLATFORM", default="embedded")
@click.option("--json", "as_json", is_flag=True, help="the same for machines")
@_errors
def doctor(platform: str, as_json: bool) -> None:
    """Say what runs would meet on a platform, reading only; FILE is by default REPRISE_PLATFORM; exit 3 when none could begin."""
    from chaosreprise.run import doctor as examining  # noqa: PLC0415

    found = examining.examine(platform)
    _echo(json.dumps(found.data(), indent=2) if as_json else "\n".join(found.lines()))
    if not found.can_begin:
        sys.exit(FAILED)


@reprise.command()
@click.argument("kind")
@click.argument("file", required=False)
@_errors
def init(kind: str, file: str | None) -> None:
    """Write a platform file of a KIND with every setting explained, to be filled in; FILE is by default KIND.toml."""
    from chaosreprise.run import initial  # noqa: PLC0415

    _echo(initial.write(kind, file or f"{kind}.toml"))


@reprise.command()
@click.argument("platform", metavar="FILE", envvar="REPRISE_PLATFORM", default="embedded")
@click.option("--json", "as_json", is_flag=True, help="the same for machines")
@_errors
def conformance(platform: str, as_json: bool) -> None:
    """Try an adapter on its platform with a few sessions and no fault; exit 0 all holds, 1 something does not, 3 it could not be tried."""
    from chaosreprise.run import conformance as trying  # noqa: PLC0415

    found = trying.run(platform)
    _echo(json.dumps(found.data(), indent=2) if as_json else "\n".join(found.lines()))
    sys.exit(0 if found.holds else 1)


@reprise.command()
@click.argument("times", type=click.IntRange(min=1), metavar="N")
@click.argument("experiment")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="of the first run, the next one takes the next; else REPRISE_SEED, else drawn",
)
@click.option("--json", "as_json", is_flag=True, help="what is known at the end, for machines")
@click.option("--verbose", is_flag=True, help="show what the runs say, instead of keeping it in a file")
@_errors
def repeat(times: int, experiment: str, seed: int | None, as_json: bool, verbose: bool) -> None:
    """Run an experiment N times, and say how its recovery spreads; exit with the worst verdict: 0 true, 1 false, 2 unknown."""
    from chaosreprise.run.repeating import Repeating  # noqa: PLC0415

    repeating = Repeating(experiment, times, seed, verbose)
    worst = repeating.go(lambda line: _echo(line, err=as_json))
    for line in [json.dumps(repeating.data(), indent=2)] if as_json else repeating.lines():
        _echo(line)
    sys.exit(EXIT.get(worst, FAILED))


@reprise.command()
@click.argument("store", required=False)
@click.option("--experiment", default="", help="the name of one; by default each that has runs there")
@click.option("--bad", default=2, show_default=True, type=click.IntRange(min=1), help="slower in so many...")
@click.option("--of", default=3, show_default=True, type=click.IntRange(min=1), help="...of the last so many runs")
@click.option("--earlier", default=20, show_default=True, type=click.IntRange(min=7), help="runs before those, at most")
@click.option("--json", "as_json", is_flag=True, help="the same for machines")
@click.option("--markdown", "as_markdown", is_flag=True, help="the same for a CI job's summary")
@_errors
def compare(
    store: str | None, experiment: str, bad: int, of: int, earlier: int, as_json: bool, as_markdown: bool
) -> None:
    """Compare the newest runs in a folder with earlier ones: slower, or broken; STORE is by default that of all runs.

    Exit with the worst: 0 true, 1 false or slower, 2 unknown, 3 the newest was not judged.
    """
    from chaosreprise.run import comparing  # noqa: PLC0415

    found = comparing.Comparing(store, experiment, bad=bad, of=of, earlier=earlier)
    for line in found.json() if as_json else found.lines(as_markdown):
        _echo(line)
    sys.exit(EXIT.get(found.worst, FAILED))


@reprise.command()
@click.argument("file")
@_errors
def flow(file: str) -> None:
    """Ask the sandbox of a platform FILE for its health and a whole session; exit 1 if an answer is wrong.

    BASE_URL, TENANT_ID, AGENT_ID, POLICY_ID and RUNTIME of the environment stand in for the file's.
    """
    from chaosreprise.run import flow as flows  # noqa: PLC0415

    well = True
    for line, good in flows.lines(file):
        _echo(line)
        well = well and good
    sys.exit(0 if well else 1)


@reprise.command()
@click.argument("platform", metavar="FILE", envvar="REPRISE_PLATFORM", default="embedded")
@_errors
def heal(platform: str) -> None:
    """Undo what an earlier run left broken, stop its sessions, remove what is left of stacks; exit 3 if something stays.

    In the cluster of a platform FILE, by default REPRISE_PLATFORM, also what others have left for longer than its lease.
    """
    from chaosreprise.run import healing  # noqa: PLC0415

    _say_all(healing.lines(platform))


@reprise.command()
@click.argument("platform", metavar="FILE", envvar="REPRISE_PLATFORM", default="embedded")
@_errors
def reaper(platform: str) -> None:
    """In the cluster of a platform FILE, by default REPRISE_PLATFORM, undo what outlives its lease, until this is ended."""
    from chaosreprise.errors import BadInput  # noqa: PLC0415
    from chaosreprise.kubernetes import reaper  # noqa: PLC0415
    from chaosreprise.platform.file import load  # noqa: PLC0415

    where = load(platform).cluster
    if where is None:
        raise BadInput(f"{platform}: [kubernetes] is missing: name the platform file of a platform in a cluster")
    reaper.run(where, _echo)


@reprise.command()
@click.option("--json", "as_json", is_flag=True, help="the same for machines")
@_errors
def faults(as_json: bool) -> None:
    """List every fault: what it does and hits, its arguments, how it is proven and undone, what it needs."""
    from chaosreprise.faults import reference  # noqa: PLC0415

    _echo(json.dumps(reference.data(), indent=2) if as_json else reference.text())


@reprise.command()
@click.option("--json", "as_json", is_flag=True, help="the same for machines, with drawn examples")
@_errors
def checks(as_json: bool) -> None:
    """List every check: what it finds, its definition, the promise and the evidence that it needs, its limits."""
    from chaosreprise.checker import reference  # noqa: PLC0415

    _echo(json.dumps(reference.data(), indent=2) if as_json else reference.text())


@reprise.command()
@click.option("--json", "as_json", is_flag=True, help="the same for machines")
@_errors
def criteria(as_json: bool) -> None:
    """List every criterion: what tests it, which checks prove it, and what is not tested yet, or never."""
    from chaosreprise.criteria import reference  # noqa: PLC0415

    _echo(json.dumps(reference.data(), indent=2) if as_json else reference.text())


@reprise.command()
@click.argument("which", required=False)
@_errors
def stop(which: str | None) -> None:
    """End a run from another shell, everything undone first: WHICH is a run or a platform, by default all; exit 3 if something stays broken."""
    from chaosreprise.run import stopping  # noqa: PLC0415

    _say_all(stopping.stop(which))


@reprise.group(cls=Group)
def lab() -> None:
    """The embedded platform, kept beyond one run."""


@lab.command()
@click.option(
    "--serves",
    default="streamspace",
    show_default=True,
    type=click.Choice(["streamspace", "sandbox"]),
    help="what it is",
)
@click.option("--agents", default=3, show_default=True, type=click.IntRange(1, 64))
@click.option("--control-planes", default=1, show_default=True, type=click.IntRange(1, 8))
@click.option("--regions", default=1, show_default=True, type=click.IntRange(1, 8))
@click.option("--disk-mib", default=0, type=click.IntRange(0, 65536), help="of a small file system for the database")
@click.option(
    "--registry",
    default="memory",
    show_default=True,
    type=click.Choice(["memory", "file"]),
    help="of a sandbox's data plane",
)
@click.option("--witness", is_flag=True, help="sessions speak for themselves, and only that and rows are seen")
@click.option("--users", default=12, show_default=True, type=click.IntRange(1, 1000))
@click.option("--heartbeat-s", default=1.0, show_default=True, type=click.FloatRange(0.05, 60))
@click.option("--reconcile-s", default=0.5, show_default=True, type=click.FloatRange(0.02, 60))
@_errors
def up(**options: Any) -> None:
    """Start one, and print how to attach to it. Attaching is never implicit."""
    from chaosreprise.stack import starter  # noqa: PLC0415

    stack = starter.start(**options, owned=False)
    _echo(f"export REPRISE_PLATFORM={stack.platform_file}")


@lab.command()
@_errors
def status() -> None:
    """List the labs that run, with the state of each of their parts."""
    from chaosreprise.run import labs  # noqa: PLC0415

    for line in labs.describe():
        _echo(line)


@lab.command()
@click.argument("ids", nargs=-1)
@_errors
def down(ids: tuple[str, ...]) -> None:
    """End labs by their ids; without any, the only one that runs."""
    from chaosreprise.run import labs  # noqa: PLC0415

    ended = labs.end(list(ids))
    for name in ended:
        _echo(f"lab {name} ended")
    if not ended:
        _echo("no lab is running")


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="all that is known of each, for machines")
@click.option("--names", is_flag=True, help="the names alone")
@click.option(
    "--platform", type=click.Choice(["streamspace", "sandbox"]), default="streamspace", help="which kind of lab"
)
def defects(as_json: bool, names: bool, platform: str) -> None:
    """List the planted defects: REPRISE_LAB_DEFECT=NAME makes a lab with that one."""
    command = [
        sys.executable,
        "-m",
        "chaosreprise.lab",
        "defects",
        "--platform",
        platform,
        *(["--json"] if as_json else []),
        *(["--names"] if names else []),
    ]
    sys.exit(subprocess.run(command).returncode)


def _judge(places: list[pathlib.Path], where: str | None, *, as_json: bool = False) -> NoReturn:
    """Print the verdict on a history and end with its code; what of it was torn is said beside it."""
    from chaosreprise import checker, history, recovery, report  # noqa: PLC0415

    recorded = history.load(*places)
    for name in recorded.torn:
        _echo(
            f"reprise: {name}: it ends within a line, or has none, and that end was dropped: its writer died in it, or the "
            "copy is not whole; what it had to say there is missing, and the verdict says what is unknown for that",
            err=True,
        )
    judged = recovery.add(checker.judge(recorded, "end"), recorded)
    _echo(report.verdict_json(judged) if as_json else report.console(judged, where), nl=not as_json)
    sys.exit(EXIT[judged.value])


def _misused(error: click.UsageError) -> NoReturn:
    say = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "chaos reprise"
    _fail(f"no command given\n{say}." if "\n" in say else f"{say}: see {command} --help")


def _echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    from chaosreprise import hidden  # noqa: PLC0415

    click.echo(hidden.without(text), err=err, nl=nl)


def _say_all(lines: Iterable[tuple[str, bool]]) -> None:
    """Each line when it is known; exit 3 unless all was well."""
    well = True
    for line, good in lines:
        _echo(line)
        well = well and good
    if not well:
        sys.exit(FAILED)


def _fail(say: str) -> NoReturn:
    with contextlib.suppress(OSError):
        _echo(f"reprise: {say}", err=True)
    sys.exit(FAILED)
