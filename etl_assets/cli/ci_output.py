"""Results of checks in the forms that CI systems show.

JUnit's XML is read by nearly all of them; annotations are GitHub's workflow commands
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etl_assets.model.run_manifest import RunCheck

if TYPE_CHECKING:
    from etl_assets.model.errors import Problem

# Characters that XML 1.0 cannot contain, escaped or not (section 2.2).
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
PLACE = re.compile(r"^(?P<file>.+?):(?P<line>\d+): (?P<field>.*)$")


def write_junit(file: Path, checks_by_domain: Iterable[tuple[str, Sequence[RunCheck]]]) -> None:
    """Write a suite for each domain; a failed check of severity `warn` is a passed case with text.

    Raises OSError if the file cannot be written.
    """
    from junitparser import Failure, JUnitXml, TestCase, TestSuite

    report = JUnitXml()
    for domain, checks in checks_by_domain:
        suite = TestSuite(domain)
        for check in checks:
            case = TestCase(_xml_text(check.name), classname=_xml_text(check.asset))
            description = _xml_text(check.description)
            if not check.passed and check.severity == "error":
                first_line = description.partition("\n")[0] or "the check fails"
                failure = Failure(first_line, type_=check.severity)
                failure.text = description
                case.result = [failure]
            elif not check.passed:
                case.system_out = f"WARN: {description}"
            suite.add_testcase(case)
        report.add_testsuite(suite)
    report.update_statistics()  # type: ignore[no-untyped-call]  # it has no types
    file.parent.mkdir(parents=True, exist_ok=True)
    report.write(str(file), pretty=True)


def annotate_checks(checks: Iterable[RunCheck]) -> Iterator[str]:
    """Yield an annotation for each failed check."""
    for check in checks:
        if not check.passed:
            level = "error" if check.severity == "error" else "warning"
            yield _annotation(level, check.description, title=f"{check.asset}: {check.name}")


def annotate_problems(problems: Iterable[Problem], root: Path) -> Iterator[str]:
    """Yield an annotation for each fault of a declaration, at its line below `root`."""
    for problem in problems:
        message = f"expected {problem.expected}, found {problem.actual}"
        place = PLACE.match(problem.where)
        if place is None:
            yield _annotation("error", str(problem), title="declarations")
            continue
        file = Path(place["file"])
        shown = file.relative_to(root) if file.is_relative_to(root) else file
        yield _annotation(
            "error", message, file=str(shown), line=place["line"], title=place["field"]
        )


def _annotation(level: str, message: str, **properties: str) -> str:
    listed = ",".join(f"{name}={_escape(value, ':,')}" for name, value in properties.items())
    return f"::{level} {listed}::{_escape(message)}"


def _escape(text: str, further: str = "") -> str:
    for character in f"%\r\n{further}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _xml_text(text: str) -> str:
    return NOT_IN_XML.sub("\ufffd", text)
