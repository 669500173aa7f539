"""A real Prometheus and a real node_exporter with its textfile collector, as plain processes of a test."""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from toystack import free_port

EXPORTER = "prometheus-node-exporter"  # as Debian names it
PATIENCE_S = 60
CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def need(*programs: str) -> None:
    """Skip the test where one is not here."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on the PATH: install Debian's prometheus and {EXPORTER}")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        body: bytes = answer.read()
        return body


def backfill(data: pathlib.Path, night: float, text: str) -> None:
    """What a scrape at that time would have found in metrics.prom, as a block of Prometheus' database, read by its parser of OpenMetrics."""
    stamped = re.sub(r"^(reprise_.*)$", rf"\1 {night}", text, flags=re.MULTILINE)
    file = data.with_name("night.om")
    file.write_text(stamped)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expr: str) -> list[dict[str, Any]]:
        return self._ask("query", query=expr)

    def over(self, expr: str, since: float, step_s: int = 120) -> list[dict[str, Any]]:
        """A range until now."""
        return self._ask("query_range", query=expr, start=since, end=time.time(), step=step_s)

    def until(self, expr: str) -> list[dict[str, Any]]:
        """Wait until there is something."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError, OSError):
                if found := self.query(expr):
                    return found
            time.sleep(0.1)
        raise AssertionError(f"{expr} has no data")

    def _ask(self, what: str, **parameters: Any) -> list[dict[str, Any]]:
        body = json.loads(get(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"))
        found: list[dict[str, Any]] = body["data"]["result"]
        return found


@contextlib.contextmanager
def exporter(texts: pathlib.Path) -> Iterator[int]:
    """node_exporter of a folder of *.prom, nothing else; its port."""
    port = free_port()
    with process(
        EXPORTER,
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={texts}",
        f"--web.listen-address=127.0.0.1:{port}",
        log=texts.with_name("exporter.log"),
    ):
        yield port


@contextlib.contextmanager
def prometheus(data: pathlib.Path, target: int) -> Iterator[Prometheus]:
    config, port = data.with_name("prometheus.yml"), free_port()
    config.write_text(CONFIG.format(port=target))
    with process(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=60d",
        f"--web.listen-address=127.0.0.1:{port}",
        log=data.with_name("prometheus.log"),
    ):
        yield Prometheus(port)


@contextlib.contextmanager
def process(*command: str, log: pathlib.Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as started:
        try:
            yield
        finally:
            started.kill()
