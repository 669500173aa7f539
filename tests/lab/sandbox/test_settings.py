"""A setting that is wrong or missing ends a process with 1 and a line that names it."""

import os
import subprocess
import sys

import pytest

CONTROL = {
    "ENV": "dev",
    "DATA_PLANE_URL": "http://localhost:1",
    "DATABASE_DRIVER": "sqlite",
    "DATABASE_URL": "file:x.db?mode=rwc",
    "AUTHZ_BYPASS": "true",
}
DATA = {"ENV": "dev", "AUTHZ_BYPASS": "true"}
AGENT = {"ENV": "dev"}


@pytest.mark.parametrize(
    ("which", "good", "changes", "named"),
    [
        ("control-plane", CONTROL, {"ENV": ""}, "ENV is not set"),
        ("control-plane", CONTROL, {"PORT": "80x"}, 'PORT = "80x"'),
        ("control-plane", CONTROL, {"PORT": "0"}, 'PORT = "0"'),
        ("control-plane", CONTROL, {"DATA_PLANE_URL": ""}, "DATA_PLANE_URL is not set"),
        ("control-plane", CONTROL, {"DATA_PLANE_URL": "localhost:8081"}, "DATA_PLANE_URL"),
        ("control-plane", CONTROL, {"DATA_PLANE_URL": "http://h:99999"}, "DATA_PLANE_URL"),
        ("control-plane", CONTROL, {"DATABASE_DRIVER": "mysql"}, 'DATABASE_DRIVER = "mysql"'),
        ("control-plane", CONTROL, {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ("control-plane", CONTROL, {"DATABASE_URL": "file:/nowhere/x.db?mode=rwc"}, "DATABASE_URL"),
        ("control-plane", CONTROL, {"DATABASE_URL": "file:x.db?_pragma=drop"}, "_pragma"),
        ("control-plane", CONTROL, {"MCP_ADDR": "8090"}, "MCP_ADDR"),
        ("control-plane", CONTROL, {"AUTHZ_BYPASS": "false"}, "AUTH_JWT_SECRET is not set"),
        ("control-plane", CONTROL, {"AUTHZ_BYPASS": "yes"}, 'AUTHZ_BYPASS = "yes"'),
        ("control-plane", CONTROL, {"REPRISE_LAB_LIMIT_S": "-1"}, "REPRISE_LAB_LIMIT_S"),
        ("control-plane", CONTROL, {"REPRISE_LAB_LIMIT_S": "nan"}, "REPRISE_LAB_LIMIT_S"),
        ("control-plane", CONTROL, {"REPRISE_LAB_DEFECT": "step-run-twize"}, "did you mean step-run-twice?"),
        ("data-plane", DATA, {"ENV": ""}, "ENV is not set"),
        ("data-plane", DATA, {"SESSION_RUNTIME_BACKEND": "k8s"}, "this build has no Kubernetes"),
        ("data-plane", DATA, {"SESSION_RUNTIME_BACKEND": "docker"}, "SESSION_RUNTIME_BACKEND"),
        ("data-plane", DATA, {"SESSION_REGISTRY_BACKEND": "redis"}, "SESSION_REGISTRY_BACKEND"),
        ("data-plane", DATA, {"SESSION_REGISTRY_BACKEND": "file"}, "SESSION_REGISTRY_PATH is not set"),
        ("data-plane", DATA, {"SESSION_REGISTRY_BACKEND": "file", "SESSION_REGISTRY_PATH": "/nowhere/x"}, "/nowhere/x"),
        ("data-plane", DATA, {"SESSION_AGENT_AUTH_MODE": "maybe"}, "SESSION_AGENT_AUTH_MODE"),
        ("data-plane", DATA, {"SESSION_AGENT_ENDPOINT": "127.0.0.1:9000"}, "SESSION_AGENT_ENDPOINT"),
        ("data-plane", DATA, {"AUTHZ_BYPASS": ""}, "AUTH_JWT_SECRET is not set"),
        ("session-agent", AGENT, {"ENV": ""}, "ENV is not set"),
        ("session-agent", AGENT, {"SESSION_AGENT_ADDR": "9000"}, "SESSION_AGENT_ADDR"),
        ("session-agent", AGENT, {"SESSION_AGENT_ADDR": "256.1.1.1:9000"}, "256.1.1.1"),
        ("session-agent", AGENT, {"SESSION_AGENT_AUTH_BYPASS": "1"}, "SESSION_AGENT_AUTH_BYPASS"),
    ],
)
def test_a_wrong_setting_ends_the_process_with_a_line(which, good, changes, named, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "chaosreprise.lab.sandbox", which],
        env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": os.devnull} | good | changes,
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_ends_the_process_with_a_line(sandbox, tmp_path):
    taken = sandbox.made.session_agent.removeprefix("http://")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "chaosreprise.lab.sandbox", "session-agent"],
        env=os.environ | {"ENV": "dev", "SESSION_AGENT_ADDR": taken},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert taken.rpartition(":")[2] in done.stderr
