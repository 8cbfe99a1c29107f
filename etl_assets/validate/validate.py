"""Judge a stored file: whether it is, from first byte to last, what its source declares.

The verdict, and setting a bad file aside, belong here. The rules themselves are `validate.content`;
rows are judged when they are tabulated.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import Part, QuarantinedFile, Verdict
from etl_assets.validate.content import examine
from etl_assets.validate.quarantine_store import set_aside

CODE_VERSION = "1"


def validate(source: Source, part: Part, path: Path, *, sha256: str) -> Verdict:
    """The word on one file: whether it may be read, and what was found where it may not."""
    expected = expected_of(source)
    try:
        content = examine(source, path)
    except ContentError as error:
        problem = error.problem or Problem("", expected, str(error))
        return Verdict(
            part=part,
            sha256=sha256,
            ok=False,
            where=problem.where,
            expected=problem.expected,
            found=problem.found,
            code_version=CODE_VERSION,
        )
    return Verdict(
        part=part,
        sha256=sha256,
        ok=True,
        expected=expected,
        found=content.kind,
        unpacked_bytes=content.unpacked_bytes,
        code_version=CODE_VERSION,
    )


def expected_of(source: Source) -> str:
    """What the declaration asks of the file, in words."""
    packed = source.expect.compression
    return source.format.name if packed == "none" else f"{source.format.name} in {packed}"


def quarantine(
    home: Home,
    source: Source,
    part: Part,
    path: Path,
    verdict: Verdict,
    now: datetime,
    *,
    url: str,
    keep_original: bool = False,
) -> QuarantinedFile:
    """Set a refused file aside with its reason, so that the next run fetches it again.

    It stays in the raw store too where `keep_original` says that another source's record names it.
    """
    problem = Problem(verdict.where, verdict.expected, verdict.found)
    return set_aside(
        home, source, part, path, problem, url=url, at=now, keep_original=keep_original
    )
