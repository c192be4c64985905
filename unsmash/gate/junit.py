"""A suite as JUnit XML: the form that Jenkins, GitLab and GitHub's reporters read.

One `testsuites` with one `testsuite`, properties before cases, at most one of `failure`, `error` and `skipped` in a
case, and counts that add up: what the Ant and Jenkins schemas ask for.
"""

from __future__ import annotations

import datetime
import re
from xml.etree import ElementTree as ET

from unsmash.gate.cases import Case, Suite

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is written"""


def render(suite: Suite) -> str:
    """The document, with its declaration and a line's end."""
    counts = {
        "name": f"unsmash {suite.name}",
        "tests": str(len(suite.cases)),
        "failures": str(suite.count("failure")),
        "errors": str(suite.count("error")),
        "skipped": str(suite.count("skipped")),
        "time": f"{suite.seconds:.3f}",
    }
    root = ET.Element("testsuites", _fit(counts))
    named = {
        "name": f"unsmash {suite.name}: {suite.about}",
        "timestamp": _local(suite.started),
        "hostname": "localhost",
    }
    inner = ET.SubElement(root, "testsuite", _fit(counts | named))
    held = ET.SubElement(inner, "properties")
    for name, value in suite.properties:
        ET.SubElement(held, "property", _fit({"name": name, "value": value}))
    for case in suite.cases:
        _case(inner, suite, case)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ['<?xml version="1.0" encoding="UTF-8"?>\n', "\n"]
    )


def _case(suite_element: ET.Element, suite: Suite, case: Case) -> None:
    named = {"name": case.name, "classname": f"unsmash.{suite.name}", "time": f"{case.seconds:.3f}"}
    element = ET.SubElement(suite_element, "testcase", _fit(named))
    text = NOT_XML.sub("\ufffd", case.text)
    if case.outcome == "passed":
        if text:
            ET.SubElement(element, "system-out").text = text
    elif case.outcome == "skipped":
        ET.SubElement(element, "skipped", _fit({"message": case.message}))
    else:
        ET.SubElement(element, case.outcome, _fit({"message": case.message, "type": case.kind})).text = text


def _fit(attributes: dict[str, str]) -> dict[str, str]:
    return {name: NOT_XML.sub("\ufffd", value) for name, value in attributes.items()}


def _local(started: str) -> str:
    """The time as the schema has it, without a zone; it is UTC. Where it is not known, now."""
    when = datetime.datetime.fromisoformat(started) if started else datetime.datetime.now(datetime.UTC)
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
