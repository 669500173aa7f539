"""docs/kubernetes.md, "A night", typed by somebody who has a StreamSpace, a cluster and kubectl: from its Secret to three nights compared."""

import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import spaceinpods
from clusters import Space
from inpods import IMAGE, K8S, needed, on_node, shown
from runs import EXPERIMENT, SHORTEST
from standin_space import PASSWORD, USERS

pytestmark = [pytest.mark.kubernetes, pytest.mark.thorough, pytest.mark.timeout(3600)]
OF_PODS = """settle = { backoff_s = 10, reconcile_s = 0, slowest_s = 0.3 }
bounds = { start_s = 120, stop_s = 60, hibernate_s = 60, wake_s = 120 }
offline_s = 35"""

OWN = """\
      - op: replace
        path: /spec/jobTemplate/spec/template/spec/containers/0/args/5
        value: /etc/reprise/platform/own.json
"""
RATES = {"steps_per_s": 2.0, "reads_per_s": 2.0, "lists_per_s": 0.5}  # a read is a connection to its database


class Newcomer:
    def __init__(self, folder: pathlib.Path, space: Space) -> None:
        self._folder, self._space = folder, space
        shutil.copytree(K8S, folder / "k8s")
        name, _, tag = os.environ[IMAGE].rpartition(":")
        nightly = folder / "k8s" / "overlays" / "nightly"
        for path, changes in {
            nightly / "kustomization.yaml": {
                "registry.example.org/reprise": name,
                "newTag: 0.1.0": f"newTag: {tag}",
                "files: [platform.toml]": "files: [platform.toml, own.json]",
                "        value: false\n": f"        value: false\n{OWN}",
            },
            nightly / "platform.toml": {
                'template = "python"': 'template = "firefox-browser"',
                'users = ["chaos"]': f"users = {[*USERS]}",
                'windows = ["Mon-Sun 01:30-04:00 UTC"]\n': "",
                "settle = { backoff_s = 1, reconcile_s = 10, slowest_s = 3 }": OF_PODS,
            },
        }.items():
            text = path.read_text().replace("namespace: streamspace", f"namespace: {space.name}")
            text = text.replace('namespace = "streamspace"', f'namespace = "{space.name}"')
            for stated, own in changes.items():
                assert stated in text, stated
                text = text.replace(stated, own)
            path.write_text(text)
        (nightly / "own.json").write_text(shorter(EXPERIMENT))
        (folder / "password").write_text(PASSWORD)
        (folder / "reader.dsn").write_text(spaceinpods.READER_DSN)

    def types(self, line: str, night: str = "first", code: int = 0) -> str:
        line = line.replace("--namespace streamspace", f"--namespace {self._space.name}")
        for before in ("reprise ", "job/", "job-name="):
            line = line.replace(f"{before}first", f"{before}{night}")
        done = subprocess.run(line, shell=True, cwd=self._folder, capture_output=True, text=True)
        assert done.returncode == code, (line, done.stdout, done.stderr)
        return done.stdout


def shorter(experiment: pathlib.Path) -> str:
    stated = json.loads(experiment.read_text())
    stated["configuration"] |= SHORTEST | RATES | {"hold_s": 3.0}
    return json.dumps(stated)


@pytest.fixture
def newcomer(space: Space, tmp_path: pathlib.Path) -> Iterator[Newcomer]:
    needed()
    on_node(space, "maker", "mkdir", "--mode=0777", f"/there/{space.name}")
    volume = {
        "metadata": {"name": space.name},
        "spec": {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": space.name, "name": "reprise-runs"},
            "hostPath": {"path": f"/var/tmp/{space.name}"},
        },
    }
    space.core.create_persistent_volume(volume)
    try:
        spaceinpods.deployed(space)
        yield Newcomer(tmp_path, space)
    finally:
        for one in space.apps.list_namespaced_deployment(space.name).items:
            space.apps.delete_namespaced_deployment(one.metadata.name, space.name)
        on_node(space, "cleaner", "rm", "-rf", f"/there/{space.name}")
        space.core.delete_persistent_volume(space.name)


def test_three_nights_as_the_page_shows_them(newcomer: Newcomer) -> None:
    secret, apply, *look, begin, wait, logs, again, ready, verdict, metrics, compare, away = shown("A night")
    newcomer.types(secret)
    newcomer.types(apply)
    said = [newcomer.types(line) for line in look]
    assert "not ok" not in said[2], said[2]
    for night in ("first", "second", "third"):
        newcomer.types(begin, night)
        newcomer.types(wait, night)
        [title] = re.findall(r"^  (PASS|FAIL|UNKNOWN)  agent-failover", newcomer.types(logs, night), re.MULTILINE)
        assert title != "FAIL"
    code = 0 if title == "PASS" else 2
    newcomer.types(again)
    newcomer.types(ready)
    value = newcomer.types(verdict, code=code).strip()
    assert value == ("true" if title == "PASS" else "unknown")
    assert f',verdict="{value}"}} 1\n' in newcomer.types(metrics)
    assert f"3 runs to compare; the newest is {title}" in newcomer.types(compare, code=code)
    newcomer.types(away)
