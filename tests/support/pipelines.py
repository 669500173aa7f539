"""The scripts of a CI pipeline, taken out of its file and run as its system would: step after step, with what they hand on."""

import os
import pathlib
import re
import subprocess
import textwrap
from typing import Any, NamedTuple

import yaml
from runs import CLEAN

EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
SH = re.compile(r"sh\(label: '([^']*)', returnStatus: true, script: '''\n(.*?)'''\)", re.DOTALL)
WITHIN_S = 100.0


class Done(NamedTuple):
    """What became of a step: None where it was left out."""

    code: int | None
    said: str


class Job:
    """A job of a workflow of GitHub Actions. `context` gives the values of expressions; one that it does not name is a KeyError."""

    def __init__(self, path: pathlib.Path, name: str, context: dict[str, str]) -> None:
        job = yaml.safe_load(path.read_text())["jobs"][name]
        self._steps: list[dict[str, Any]] = [step for step in job["steps"] if "run" in step]
        self._context = context
        self.env = self._filled(job.get("env", {}))
        self.failed = False

    def run(self, folder: pathlib.Path, without: str = "", within_s: float = WITHIN_S, **env: str) -> dict[str, Done]:
        """Its steps that run scripts, by their names, `without` one; what they leave in the files that GitHub gives them stands in `folder`."""
        files = {name: folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV")}
        for file in files.values():
            file.write_text("")
        (folder / "temp").mkdir(exist_ok=True)
        given = {**CLEAN, **self.env, **{name: str(file) for name, file in files.items()}, **env}
        found = {}
        for step in self._steps:
            if step["name"] == without or not self._is_due(step.get("if", "")):
                found[step["name"]] = Done(None, "")
                continue
            more = dict(line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines())
            mine = {**given, "RUNNER_TEMP": str(folder / "temp"), **more, **self._filled(step.get("env", {}))}
            done = _run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], folder, mine, within_s)
            found[step["name"]] = done
            self.failed |= done.code != 0 and not step.get("continue-on-error", False)
        return found

    def _is_due(self, condition: str) -> bool:
        return {"": not self.failed, "${{ !cancelled() }}": True, "${{ failure() }}": self.failed}[condition]

    def _filled(self, env: dict[str, Any]) -> dict[str, str]:
        return {name: EXPRESSION.sub(lambda match: self._context[match[1]], str(value)) for name, value in env.items()}


def shell_steps(jenkinsfile: pathlib.Path) -> dict[str, str]:
    """The scripts of a Jenkinsfile whose exit codes it asks for, by their labels."""
    return {label: textwrap.dedent(script) for label, script in SH.findall(jenkinsfile.read_text())}


def run_shell(script: str, folder: pathlib.Path, within_s: float = WITHIN_S, **env: str) -> Done:
    """As the step `sh` of Jenkins does."""
    return _run(["sh", "-xe", "-c", script], folder, {**CLEAN, **env}, within_s)


def _run(command: list[str], folder: pathlib.Path, env: dict[str, str], within_s: float) -> Done:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**env, "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
    )
    return Done(done.returncode, done.stdout)
