"""What came of a replay: which files came out as they were, and which did not.

Replaying is `etl_assets.operations.replay`.
"""

from __future__ import annotations

from pydantic import Field

from etl_assets.model.records import Record


class Replayed(Record):
    """A run made again, beside the original."""

    domain: str
    run: str = Field(description="name of the original run's directory")
    directory: str = Field(description="where the replay lies")
    equal: list[str] = Field(description="files with the original's bytes")
    different: list[str] = []

    @property
    def is_equal(self) -> bool:
        return not self.different

    def lines(self) -> list[str]:
        count = len(self.equal) + len(self.different)
        word = "byte for byte" if self.is_equal else "not byte for byte"
        told = f"{len(self.equal)} of {count} files are equal, in {self.directory}"
        return [
            f"{self.domain}: {self.run} replayed {word}: {told}",
            *(f"  differs: {file}" for file in self.different),
        ]
