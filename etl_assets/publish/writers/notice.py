"""Names the sources beside a document whose standard has no room for it.

`<file>.license` is where https://reuse.software looks. What a standard can say its writer says.
"""

from __future__ import annotations

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.sink import sink

SUFFIX = ".license"


def write_notice(document: Document, candidate: Candidate) -> list[PublishedFile]:
    """The file that names the sources of `document.file`; none where nobody is to be named."""
    if not candidate.attributions:
        return []
    name = document.file + SUFFIX
    lines = [f"{document.title}, made of:", *attribution_texts(candidate.attributions)]
    with sink(candidate.directory / name) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return [file.written(document.file, name, 0)]
