"""verdict.json, junit.xml, report.html, report.md: whole, safe, and readable by machines."""

import html.parser
import json
import pathlib
import re
import xml.etree.ElementTree as ET

import pytest
from histories import Made, complete

from chaosreprise import checker, recovery, report
from chaosreprise.errors import RunBroken
from chaosreprise.history import Coverage, Effect
from chaosreprise.report.markdown import LOGS

NASTY = "<script>alert('x')</script>&\"\x00\x1b]]>"
VOID = {"meta", "br", "hr", "img", "link", "input"}


def judged(made: Made) -> checker.Verdict:
    history = made.history()
    return recovery.add(checker.judge(history, "end"), history)


def failed() -> Made:
    made = complete()
    made.effect("wake", "s-a2-hib0", 8.9)
    return made


def nasty() -> Made:
    """Everything that a platform may say is hostile."""
    made = failed()
    made.contract.experiment = made.contract.platform = NASTY
    made.owner["s-a2-hib0"] = NASTY
    for event in made.events:
        for name in ("owner", "error", "why", "state"):
            if isinstance(getattr(event, name, None), str) and name != "state":
                setattr(event, name, NASTY)
        if getattr(event, "session", None) == "s-a2-hib0":
            event.session = NASTY
        if getattr(event, "object", None) == "s-a2-hib0":
            event.object = NASTY
        if getattr(event, "about", None) == "command":
            event.state = NASTY
    return made


class Page(html.parser.HTMLParser):
    """Every tag closed, and what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [found[name] for name in ("href", "src") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_all_are_written_and_verdict_json_last(tmp_path: pathlib.Path):
    made = complete()
    verdict = checker.judge(made.history(), "end")
    report.write(tmp_path, verdict, made.history())
    written = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in written] == ["report.html", "report.md", "junit.xml", "metrics.prom", "verdict.json"]
    found = json.loads((tmp_path / "verdict.json").read_text())
    assert found["verdict"] == "true"
    assert found["recovery"][0]["noticed"] == [0.04, 0.06]


def test_a_folder_that_can_not_be_written_is_one_sentence(tmp_path: pathlib.Path):
    made = complete()
    with pytest.raises(RunBroken, match=r"report\.html: can't be written"):
        report.write(tmp_path / "absent", checker.judge(made.history(), "end"), made.history())


@pytest.mark.parametrize("make", [complete, failed, nasty, Made])
def test_the_page_is_well_formed_and_refers_to_nothing_outside(make):
    made = make()
    text = report.page(judged(made), made.history())
    page = Page(text)
    assert "script" not in page.tags
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_escapes_what_the_platform_says():
    made = nasty()
    text = report.page(judged(made), made.history())
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_page_draws_lanes_phases_the_fault_and_links_each_witness():
    made = failed()
    text = report.page(judged(made), made.history())
    for part in (
        "control plane",
        ">a1<",
        ">a2<",
        ">a3<",
        ">baseline<",
        ">drain<",
        "agents.take_away",
        'href="#w-duplicate-0"',
        'id="w-duplicate-0"',
    ):
        assert part in text
    assert text.count("<h2>") == 7


def test_a_page_of_a_history_without_contract_or_commands_has_no_timeline():
    made = Made()
    made.contract = None
    text = report.page(judged(made), made.history())
    assert "<figure>" not in text
    assert "UNKNOWN" in text


def test_a_large_run_keeps_its_page_small():
    made = complete(n=300, seconds_of_steps=300)
    text = report.page(judged(made), made.history())
    assert len(text) < 3_000_000


def suite(made: Made) -> ET.Element:
    return ET.fromstring(report.suite(judged(made)))


def cases(root: ET.Element) -> dict[str, list[str]]:
    return {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}


def test_junit_has_a_case_for_each_check_the_exposure_and_the_evidence():
    root = suite(complete())
    assert cases(root) == {"lost": [], "duplicate": [], "exposure": [], "evidence": []}
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "0", "0")


def test_junit_calls_a_violation_a_failure_with_its_witness():
    root = suite(failed())
    assert cases(root)["duplicate"] == ["failure"]
    assert root.get("failures") == "1"
    text = root.find(".//failure").text
    assert "took effect at 8.350 s" in text
    assert "effect again (not legal)" in text


def test_junit_calls_unknown_an_error_so_that_nobody_takes_it_for_a_pass():
    made = complete()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    assert cases(suite(made)) == {"lost": ["error"], "duplicate": ["error"], "exposure": [], "evidence": ["error"]}
    made = complete(exposure={"stop": 11})
    assert cases(suite(made))["exposure"] == ["error"]
    made = Made()
    made.contract = None
    assert int(suite(made).get("errors")) >= 1


def test_junit_skips_what_is_optional_and_unknown_and_tells_what_is_not_promised():
    made = complete(require=["lost"], optional=["duplicate"])
    made.gap("slots", 6.0, 6.1)
    assert cases(suite(made))["duplicate"] == ["skipped"]
    made = complete(promises={"at_most_once": True}, require=["duplicate"], optional=["lost"])
    made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > 1005 * 10**9)
    root = suite(made)
    assert cases(root)["lost"] == ["system-out"]
    assert root.get("failures") == "0"


@pytest.mark.parametrize("value", ["true", "false", "unknown"])
def test_junit_agrees_with_the_verdict(value):
    made = {"true": complete, "false": failed, "unknown": lambda: complete(settle_ns=10**11)}[value]()
    assert judged(made).value == value
    root = suite(made)
    assert (root.get("failures") == root.get("errors") == "0") == (value == "true")


def test_junit_holds_no_character_that_xml_can_not():
    made = nasty()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    assert suite(made).tag == "testsuites"


def test_the_markdown_has_the_verdict_each_check_the_fault_the_times_and_the_evidence():
    verdict = judged(failed())
    text = report.markdown(verdict)
    assert text.startswith("# FAIL: agent\\-failover" if "\\-" in text else "# FAIL: agent-failover")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "verdict" not in line]
    assert [row.split(" ")[1] for row in rows] == list(verdict.checks)
    assert verdict.checks["duplicate"].witnesses[0].cmd in text
    for part in ("- broken: agents/a2", "- recovery: agents/a2: noticed", "- evidence: ", "- commands: ", "- seed: 7"):
        assert part in text


@pytest.mark.parametrize("make", [complete, failed, nasty, Made])
def test_the_markdown_escapes_what_the_platform_says(make, tmp_path: pathlib.Path):
    (tmp_path / LOGS).mkdir(parents=True)
    (tmp_path / LOGS / "agents-a1.log").write_text("```\n</details><script>x</script>\n# no heading\n````\x1b[1m\n")
    text = report.markdown(judged(make()), tmp_path)
    prose, _, logs = text.partition("## Logs of the platform")
    assert not re.search(r"<(?!details|/details|summary|/summary)", prose)
    assert {line.count("|") - line.count("\\|") for line in prose.splitlines() if line.startswith("|")} <= {5}
    assert logs.count("`````") == 2, "its fence is longer than any in the log"
    assert "\x1b" not in text


def test_the_ends_of_the_platforms_logs_stand_in_the_markdown_and_without_any_it_says_so(tmp_path: pathlib.Path):
    verdict = judged(complete())
    assert "None were collected" in report.markdown(verdict, tmp_path)
    (tmp_path / LOGS).mkdir(parents=True)
    (tmp_path / LOGS / "control-plane.log").write_text("".join(f"line {n}\n" for n in range(40)))
    text = report.markdown(verdict, tmp_path)
    assert "control-plane.log, the last 15 lines" in text.replace("\\", "")
    assert ("line 39" in text, "line 24\n" in text) == (True, False)
