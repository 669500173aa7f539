"""The pipelines for users' CI: linted, and their scripts run in a clean clone with a real lab; 0, 1, 2 and `could not run` stay apart."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import tree_sitter
import tree_sitter_groovy
import yaml
from pipelines import Done, Job, run_shell, shell_steps
from runs import EXPERIMENT, SHORTEST, start_lab

from chaosreprise import checker, history, report
from chaosreprise.history.statements import Objective

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKFLOW, JENKINSFILE = ROOT / "docs" / "ci" / "github-actions.yml", ROOT / "docs" / "ci" / "Jenkinsfile"
CONTEXT = {"inputs.experiment || 'experiments/agent-failover.json'": "experiment.json"}
NEVER = Objective(name="steps are answered at once", latency="answer", op="step", quantile=0.5, max=1e-6)
SAID = {"true": None, "false": "::error title=FAIL::", "unknown": "::warning title=UNKNOWN::"}
CODES = {"true": 0, "false": 1, "unknown": 2}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ci") / "clone"
    subprocess.run([sys.executable, ROOT / "scripts" / "export.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def lab() -> Iterator[str]:
    stack = start_lab()
    try:
        yield str(stack.platform_file)
    finally:
        stack.end()


def begin(clone: pathlib.Path, **changes: Any) -> dict[str, str]:
    """Put an experiment there, as short as can pass, and what its run is told."""
    text = EXPERIMENT.read_text()
    for name, value in SHORTEST.items():
        text = text.replace(f'"${{{name}}}"', json.dumps(value))
    found = json.loads(text)
    arguments = found["controls"][0]["provider"]["arguments"]
    arguments["workload"]["reserve"] = 1
    arguments.update(changes)
    (clone / "experiment.json").write_text(json.dumps(found))
    return {"REPRISE_VENV": sys.prefix}


def look(verdict: str, job: Job, done: dict[str, Done], clone: pathlib.Path) -> None:
    """Each way in which the job tells its verdict."""
    code = CODES[verdict]
    assert (done["Verdict"].code, done["Compare with earlier nights"].code) == (code, code), done
    assert job.failed == (verdict != "true")
    assert (clone / "github_output").read_text() == f"verdict={verdict}\n"
    assert re.findall("::(?:error|warning) title=.*?::", done["Verdict"].said) == [SAID[verdict]] * (code > 0)
    summary = (clone / "github_step_summary").read_text()
    assert f"# {['PASS', 'FAIL', 'UNKNOWN'][code]}: agent-failover" in summary.replace("\\", "")
    assert "1 run to compare" in summary


@pytest.fixture(scope="module")
def passed(clone: pathlib.Path, lab: str) -> tuple[Job, dict[str, Done]]:
    """The whole job on a platform that keeps its promises."""
    job = Job(WORKFLOW, "embedded", CONTEXT)
    return job, job.run(clone, REPRISE_PLATFORM=lab, **begin(clone))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_steps_pass_where_the_platform_does_and_those_of_jenkins_compare_the_night(
    passed: tuple[Job, dict[str, Done]], clone: pathlib.Path
):
    look("true", *passed, clone)
    (run,) = (clone / "runs").glob("*/*/junit.xml")
    assert (clone / "nights" / run.parent.name / "verdict.json").exists()
    env = {"REPRISE_VENV": sys.prefix, "REPRISE_RUNS": "runs", "NIGHTS": "of-jenkins"}
    done = run_shell(shell_steps(JENKINSFILE)["Compare"], clone, **env)
    assert (done.code, "1 run to compare" in done.said) == (0, True), done


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("verdict", "changes"), [("false", {"objectives": [NEVER]}), ("unknown", {"settle_ns": 10**12})]
)
def test_the_steps_tell_a_violation_from_what_is_unknown(
    verdict: str, changes: dict[str, Any], passed: tuple[Job, dict[str, Done]], clone: pathlib.Path
):
    """What was recorded, judged by a contract that the run could not keep."""
    env = {"REPRISE_VENV": sys.prefix, "REPRISE_RUNS": f"runs-{verdict}", "NIGHTS": f"nights-{verdict}"}
    shutil.copytree(clone / "runs", clone / env["REPRISE_RUNS"], symlinks=True)
    run = (clone / env["REPRISE_RUNS"] / "latest").resolve()
    recorded = history.load(run / "history")
    recorded = recorded._replace(contract=msgspec.structs.replace(recorded.contract, **changes))
    report.write(run, checker.judge(recorded, "end"), recorded)
    job = Job(WORKFLOW, "embedded", CONTEXT)
    look(verdict, job, job.run(clone, without="Run", **env), clone)
    assert run_shell(shell_steps(JENKINSFILE)["Verdict"], clone, **env).code == CODES[verdict]


@pytest.mark.thorough
@pytest.mark.timeout(300)
@pytest.mark.parametrize("verdict", ["false", "unknown"])
def test_the_steps_tell_whole_runs_apart(verdict: str, clone: pathlib.Path, lab: str):
    changes = {"objectives": [msgspec.to_builtins(NEVER)]} if verdict == "false" else {"exposure": {"stop": 500}}
    env = {**begin(clone, **changes), "REPRISE_RUNS": f"real-{verdict}", "NIGHTS": f"nights-real-{verdict}"}
    job = Job(WORKFLOW, "embedded", CONTEXT)
    look(verdict, job, job.run(clone, REPRISE_PLATFORM=lab, **env), clone)


def test_a_run_that_could_not_be_opened_is_told_apart_from_each_verdict(clone: pathlib.Path):
    env = {"REPRISE_VENV": sys.prefix, "REPRISE_RUNS": "runs-absent", "NIGHTS": "nights-absent"}
    job = Job(WORKFLOW, "embedded", {**CONTEXT, **dict.fromkeys(CONTEXT, "absent.json")})
    done = job.run(clone, **env)
    assert job.failed
    assert done["Run"].code != 0
    assert done["Verdict"].code == 3
    assert "::error title=NOT RUN::" in done["Verdict"].said
    assert (clone / "github_output").read_text() == "verdict=not judged\n"
    assert done["Summary"].code == 0
    assert run_shell(shell_steps(JENKINSFILE)["Verdict"], clone, **env).code == 3


def test_a_linter_of_workflows_finds_nothing():
    zizmor = str(pathlib.Path(sys.executable).with_name("zizmor"))
    done = subprocess.run(
        [zizmor, "--offline", "--persona", "pedantic", "--no-progress", WORKFLOW], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing():
    if shutil.which("actionlint") is None:
        pytest.skip("actionlint is not on the PATH: go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7")
    done = subprocess.run(["actionlint", WORKFLOW], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_find_a_script_that_takes_what_strangers_write(tmp_path: pathlib.Path):
    spoiled = tmp_path / "spoiled.yml"
    spoiled.write_text(WORKFLOW.read_text().replace('run "$EXPERIMENT"', "run ${{ inputs.experiment }}"))
    assert spoiled.read_text() != WORKFLOW.read_text()
    zizmor = str(pathlib.Path(sys.executable).with_name("zizmor"))
    done = subprocess.run([zizmor, "--offline", "--no-progress", spoiled], capture_output=True, text=True)
    assert done.returncode > 10
    assert "template-injection" in done.stdout


def faults_of_groovy(text: str) -> list[str]:
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_groovy.language())).parse(text.encode())
    nodes, found = [tree.root_node], []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.type == "ERROR" or node.is_missing:
            found.append(f"line {node.start_point[0] + 1}: {node.text.decode()[:80]}")
    return found


def test_the_jenkinsfile_is_groovy_and_one_that_is_spoiled_is_none():
    text = JENKINSFILE.read_text()
    assert faults_of_groovy(text) == []
    assert faults_of_groovy(text.replace("pipeline {", "pipeline {(", 1))
    assert faults_of_groovy(text.replace("''')", "'''", 1))


def test_both_wait_as_long_and_ask_the_cluster_for_the_same():
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["cluster"]
    github = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    jenkins = shell_steps(JENKINSFILE)
    for label in ("Wait until the platform is ready", "Run the job", "Logs"):
        assert set(re.findall(r"kubectl --namespace \S+ (\w+)", github[label])) == set(
            re.findall(r"kubectl --namespace \S+ (\w+)", jenkins[label])
        )
        for script in (github[label], jenkins[label]):
            assert ("--timeout=300s" in script, "LIMIT_S:-600" in script) == {
                "Wait until the platform is ready": (True, False),
                "Run the job": (False, True),
                "Logs": (False, False),
            }[label]


def test_the_jenkinsfile_tells_the_codes_apart():
    concluded = JENKINSFILE.read_text().partition("void conclude")[2]
    told = re.findall(r"code (==|!=) (\d).*?(FAILURE|unstable|NOT_BUILT)", concluded, re.DOTALL)
    assert told == [("==", "1", "FAILURE"), ("==", "2", "unstable"), ("!=", "0", "NOT_BUILT")]


@pytest.mark.parametrize("label", sorted(shell_steps(JENKINSFILE)))
def test_each_script_of_the_jenkinsfile_is_plain_sh(label: str):
    done = subprocess.run(["sh", "-n"], input=shell_steps(JENKINSFILE)[label], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
