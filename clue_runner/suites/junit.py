"""The table as JUnit XML, which every CI system shows as tests: one case per item, one per gate.

In: ``Collected``. Out: bytes in UTF-8. A missing item is an error: an unfinished suite has not passed.
Knows nothing about run folders.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from clue_runner.suites.collected import Collected, Row
from clue_runner.suites.words import gate_words, number, row_words

# What XML 1.0 cannot hold, not even as a reference.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(table: Collected) -> bytes:
    """Return the XML document."""
    suites = ElementTree.Element("testsuites", name=_text(table.suite))
    items = ElementTree.SubElement(suites, "testsuite", name=_text(f"{table.suite}.items"))
    for row in table.rows:
        _item(items, row)
    _count(items, [row.seconds or 0.0 for row in table.rows])
    if table.gates:
        gates = ElementTree.SubElement(suites, "testsuite", name=_text(f"{table.suite}.gates"))
        for gate in table.gates:
            case = ElementTree.SubElement(
                gates, "testcase", classname=_text(gate.task), name=_text(gate_words(gate))
            )
            if not gate.passed:
                ElementTree.SubElement(case, "failure", message=_text(gate_words(gate)))
        _count(gates, [])
    for name in ("tests", "failures", "errors"):
        suites.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _item(parent: ElementTree.Element, row: Row) -> None:
    """Add one item's case."""
    case = ElementTree.SubElement(
        parent,
        "testcase",
        classname=_text(f"{row.task}.{row.model}"),
        name=_text(f"{row_words(row)} ({row.stage})"),
        time=f"{row.seconds or 0.0:.3f}",
    )
    if row.state == "ok":
        out = ElementTree.SubElement(case, "system-out")
        out.text = _text(f"{row.metric} {number(row.score)} on {row.split}; {row.folder}")
    elif row.state == "failed":
        reason = _text(row.reason or "")
        failure = ElementTree.SubElement(case, "failure", message=reason, type=f"exit {row.exit_code}")
        failure.text = reason
    elif row.state == "refused":
        ElementTree.SubElement(case, "skipped", message=_text(f"refused: {row.reason}"))
    else:
        ElementTree.SubElement(case, "error", message=_text(row.reason or "not run"))


def _count(suite: ElementTree.Element, seconds: list[float]) -> None:
    """Set the counts that readers look at first."""
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", f"{sum(seconds):.3f}")


def _text(text: str) -> str:
    """Return text that XML can hold."""
    return FORBIDDEN.sub("\ufffd", text)
