"""Bad files, kept apart with the reason beside them.

Setting a file aside belongs here; judging it is `etl_assets.io.content` and the stages.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

from etl_assets.io.files import appear, refusals_told, write_text
from etl_assets.io.store import hash_file
from etl_assets.model.declaration import Source
from etl_assets.model.errors import Problem
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Quarantined

REASON_SUFFIX = ".json"


def set_aside(
    home: Home,
    source: Source,
    part: Part,
    path: Path,
    problem: Problem,
    *,
    url: str,
    at: datetime,
    keep_original: bool = False,
) -> Quarantined:
    """Move a bad file to quarantine and write why; the same bytes are kept there once.

    With `keep_original` the file stays where it is too: another source's record names it.
    """
    sha256 = hash_file(path)
    target = home.quarantine(source.domain, source.name) / sha256
    record = Quarantined(
        part=part,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        path=home.relative(target),
        url=url,
        where=problem.where,
        expected=problem.expected,
        found=problem.found,
        quarantined_at=at,
    )
    write_text(target.with_name(sha256 + REASON_SUFFIX), record.model_dump_json(indent=2) + "\n")
    if keep_original:
        with appear(target) as temporary:
            shutil.copyfile(path, temporary)
    else:
        with refusals_told(target):
            os.replace(path, target)
    return record
