"""A JUnit document read back and held against what the Ant and Jenkins schemas ask for."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

SUITES = {"name", "tests", "failures", "errors", "skipped", "time", "disabled"}
SUITE = SUITES | {"timestamp", "hostname", "id", "package"}
ORDER = ["properties", "testcase", "system-out", "system-err"]
OUTCOMES = ("failure", "error", "skipped")


def cases(document: str) -> dict[str, tuple[str, str, str]]:
    """Each case's outcome, type and message, by its name; what breaks the schema fails."""
    root = ET.fromstring(document)
    assert root.tag == "testsuites"
    assert set(root.attrib) <= SUITES
    (suite,) = root
    assert suite.tag == "testsuite"
    assert {"name", "tests", "failures", "errors", "time", "timestamp", "hostname"} <= set(suite.attrib) <= SUITE
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    places = [ORDER.index(child.tag) for child in suite]
    assert places == sorted(places)
    assert places.count(0) <= 1
    for held in suite.iter("property"):
        assert set(held.attrib) == {"name", "value"}
    found = {}
    for case in suite.iter("testcase"):
        assert {"name", "classname", "time"} <= set(case.attrib)
        assert float(case.attrib["time"]) >= 0
        said = [child for child in case if child.tag in OUTCOMES]
        assert len(said) <= 1
        assert {child.tag for child in case} <= {*OUTCOMES, "system-out", "system-err"}
        for child in said:
            assert set(child.attrib) <= ({"message"} if child.tag == "skipped" else {"message", "type"})
        assert case.attrib["name"] not in found
        outcome = said[0].tag if said else "passed"
        found[case.attrib["name"]] = (
            outcome,
            *((said[0].get("type", ""), said[0].get("message", "")) if said else ("", "")),
        )
    for level in (root, suite):
        assert int(level.attrib["tests"]) == len(found)
        for attribute, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(level.attrib[attribute]) == sum(one[0] == outcome for one in found.values())
        assert re.fullmatch(r"\d+\.\d+", level.attrib["time"])
    return found


def green(found: dict[str, tuple[str, str, str]]) -> bool:
    """What a reader of JUnit makes of it: good, unless something failed; what was skipped it passes over."""
    return not any(outcome in ("failure", "error") for outcome, *_ in found.values())
