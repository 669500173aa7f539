"""junit.xml: one test case a check, one for the exposure, one for the evidence of the run as a whole.

A violation is a failure; unknown is an error, so that no CI takes it for a pass; what is optional and unknown is skipped.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime

from chaosreprise.checker import Doubt, Finding, Verdict
from chaosreprise.report import words

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def suite(verdict: Verdict) -> str:
    """The XML text."""
    name = words.name_of(verdict)
    root = ET.Element("testsuites", {"name": "reprise"})
    element = ET.SubElement(root, "testsuite", {"name": _clean(name)})
    if verdict.started is not None:
        element.set("timestamp", datetime.fromtimestamp(verdict.started, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    properties = ET.SubElement(element, "properties")
    for key in ("value", "run", "platform", "seed"):
        shown = "verdict" if key == "value" else key
        ET.SubElement(properties, "property", {"name": shown, "value": _clean(str(getattr(verdict, key)))})
    for check, found in verdict.checks.items():
        _check(_case(element, name, check), check, found)
    exposed = _case(element, name, "exposure")
    if verdict.exposed != "true":
        _error(exposed, "what was broken was not exposed to enough", _of_exposure(verdict))
    rest = [doubt for doubt in verdict.doubts if doubt not in _of_exposure(verdict)]
    evidence = _case(element, name, "evidence")
    if rest or (verdict.value == "unknown" and not verdict.checks):
        _error(evidence, "the run as a whole is unknown", rest)
    for totals in (root, element):
        _total(totals)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(parent: ET.Element, suite_name: str, name: str) -> ET.Element:
    return ET.SubElement(parent, "testcase", {"classname": _clean(f"reprise.{suite_name}"), "name": _clean(name)})


def _check(case: ET.Element, name: str, found: Finding) -> None:
    if found.besides is not None:
        if found.besides == "unknown" and found.required:
            _error(case, f"{name} is unknown besides what is known", found.scope)
        told = ET.SubElement(case, "system-out")
        told.text = _clean("known:\n" + "\n\n".join(_witness_text(found)))
    elif found.value == "false" and found.promised:
        title = f"{name} {words.count(found)}" + (f": {words.labels(found)}" if found.labels else "")
        element = ET.SubElement(case, "failure", {"message": _clean(title), "type": name})
        element.text = _clean("\n\n".join(_witness_text(found)))
    elif found.value == "unknown" and not found.required:
        ET.SubElement(case, "skipped", {"message": _clean("; ".join(doubt.why for doubt in found.scope) or "unknown")})
    elif found.value == "unknown":
        _error(case, f"{name} is unknown", found.scope)
    elif found.value == "false" and found.required:
        _error(case, f"{name} {words.count(found)}, and the platform does not promise otherwise", found.scope)
    elif found.value == "false":
        told = ET.SubElement(case, "system-out")
        told.text = _clean("not promised, only told:\n" + "\n\n".join(_witness_text(found)))


def _witness_text(found: Finding) -> list[str]:
    return [
        "\n".join(
            [
                witness.say,
                *(f"  {words.moment(moment)} s  {moment.what}" for moment in witness.moments),
                *([f"  {said}"] if (said := words.own_row(witness)) else []),
            ]
        )
        for witness in found.witnesses
    ]


def _error(case: ET.Element, title: str, doubts: Sequence[Doubt]) -> None:
    element = ET.SubElement(case, "error", {"message": _clean(title), "type": "unknown"})
    element.text = _clean("\n".join(f"{doubt.what}: {doubt.why}\n  -> {doubt.do}" for doubt in doubts))


def _of_exposure(verdict: Verdict) -> list[Doubt]:
    kinds = {"exposure", *verdict.exposure}
    return [doubt for doubt in verdict.doubts if doubt.what in kinds]


def _total(element: ET.Element) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(len(element.findall(f".//{tag}"))))


def _clean(text: str) -> str:
    """Without the characters that XML can't hold."""
    return NOT_XML.sub("\ufffd", text)
