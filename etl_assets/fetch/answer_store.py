"""The store of answers: one file for each request, named by the request's content hash.

An answer is written as soon as it is there and is never asked for again, whatever becomes of the
run. Which answers make up a source's file is `etl_assets.fetch.request_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path

from pydantic import ValidationError

from etl_assets.fetch.answers import Answer, Spent
from etl_assets.model.errors import HomeError
from etl_assets.storage.atomic_write import write_text


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one source, below a folder of its own."""

    folder: Path

    def find(self, request_sha256: str) -> Answer | None:
        """The request's answer; raises HomeError where its file cannot be read."""
        path = self._path(request_sha256)
        return _read(path) if path.exists() else None

    def keep(self, answer: Answer) -> None:
        write_text(self._path(answer.request_sha256), answer.model_dump_json(indent=1) + "\n")

    def spent_on(self, day: date) -> Spent:
        """What was asked on a day, UTC, over all answers that are kept."""
        asked = [
            asked
            for answer in self._all()
            for asked in answer.asked
            if asked.at.astimezone(UTC).date() == day
        ]
        return Spent(requests=len(asked), cost_usd=sum(one.cost_usd for one in asked))

    def _all(self) -> Iterator[Answer]:
        yield from map(_read, sorted(self.folder.glob("*/*.json")))

    def _path(self, request_sha256: str) -> Path:
        return self.folder / request_sha256[:2] / f"{request_sha256}.json"


def _read(path: Path) -> Answer:
    try:
        return Answer.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise HomeError(
            f"{path}: expected a kept answer, found what cannot be read ({error}); "
            "take the file away, and its request is made again"
        ) from error
