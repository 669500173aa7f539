"""The dashboard over a real Prometheus, which has earlier nights in its database and scrapes the newest from a real node_exporter."""

import json
import pathlib
import re
import time
from collections.abc import Iterator
from typing import Any

import prometheuses
import pytest
from histories import complete
from prometheuses import Prometheus

from chaosreprise import checker, report
from chaosreprise.history import Effect, Fault
from chaosreprise.history.statements import Objective

DASHBOARD = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "grafana" / "reprise.json").read_text())
NIGHTS = 4
DAY = 86400


def write(folder: pathlib.Path, lost: bool = False) -> str:
    """metrics.prom of a judged run, and its text."""
    stated = Objective(name="noticed in time", recovery="noticed_s", max=10.0)
    made = complete(seconds_of_steps=7.9, optional=["objective"], objectives=[stated], platform="lab-1a2b3c@vm")
    if lost:
        made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > made.find(Fault)[-1].lo)
    history = made.history()
    report.write(folder, checker.judge(history, "end"), history)
    return (folder / "metrics.prom").read_text()


def exprs(found: Any) -> Iterator[str]:
    """Every query of a dashboard, with its variables filled in as Grafana does for `All`."""
    if isinstance(found, dict):
        if isinstance(expr := found.get("expr"), str):
            yield re.sub(r"\$(experiment|platform)\b", ".*", expr)
        for value in found.values():
            yield from exprs(value)
    elif isinstance(found, list):
        for value in found:
            yield from exprs(value)


QUERIES = sorted(set(exprs(DASHBOARD)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    prometheuses.need("prometheus", "promtool", prometheuses.EXPORTER)
    folder = tmp_path_factory.mktemp("nights")
    data, texts = folder / "data", folder / "texts"
    texts.mkdir()
    night = write(folder)
    for ago in range(NIGHTS, 0, -1):
        prometheuses.backfill(data, time.time() - ago * DAY, night)
    write(folder, lost=True)
    (folder / "metrics.prom").rename(texts / "agent-failover.prom")
    with prometheuses.exporter(texts) as port, prometheuses.prometheus(data, port) as found:
        found.until('reprise_run_verdict{job="node"}')
        yield found


def test_the_dashboard_has_queries_of_panels_and_annotations_and_each_knows_its_variables():
    assert len(QUERIES) >= 12
    assert len(list(exprs(DASHBOARD["annotations"]))) == 2
    assert all('experiment=~".*",platform=~".*"' in query for query in QUERIES)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_returns_data_now_and_over_the_nights(server: Prometheus, query: str):
    assert server.query(query)
    found = server.over(query, time.time() - (NIGHTS + 0.5) * DAY)
    days = {round((time.time() - stamp) / DAY) for series in found for stamp, _ in series["values"]}
    assert days >= set(range(1, NIGHTS + 1))


def test_every_variable_has_values(server: Prometheus):
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["definition"]).groups()
            values = json.loads(prometheuses.get(f"{server.url}/api/v1/label/{label}/values?match[]={metric}"))["data"]
            assert values == [{"experiment": "agent-failover", "platform": "embedded"}[label]]


def test_a_night_that_failed_is_told_apart_from_those_before(server: Prometheus):
    (verdicts,) = [query for query in QUERIES if "reprise_run_verdict" in query]
    (series,) = server.over(verdicts, time.time() - (NIGHTS + 0.5) * DAY)
    assert {value for stamp, value in series["values"] if stamp < time.time() - DAY / 2} == {"0"}
    assert [found["value"][1] for found in server.query(verdicts)] == ["2"]
    lost = server.query('reprise_check_violations{check="lost",bound="sure"}')
    assert [found["value"][1] for found in lost] == ["1"]


def test_an_annotation_stands_where_the_fault_was(server: Prometheus):
    (proven,) = [query for query in QUERIES if "proven" in query and "* 1000" in query]
    (found,) = server.query(proven)
    assert float(found["value"][1]) == pytest.approx(1_800_000_005_020)
    assert found["metric"]["component"] == "agents/a2"


def test_the_collector_took_the_file_without_an_error(server: Prometheus):
    assert [found["value"][1] for found in server.query("node_textfile_scrape_error")] == ["0"]
