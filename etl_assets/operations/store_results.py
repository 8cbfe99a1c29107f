"""What is found, made again or taken away in the store: frozen records for those verbs' answers.

Looking, hashing and removing are done in `io` and `stages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from etl_assets.model.records import Record


class Fault(StrEnum):
    """What may be wrong with a stored raw file."""

    MISSING = "missing"
    ALTERED = "altered"
    ORPHANED = "orphaned"


class StoreFault(Record):
    """One raw file that is not as its records say, or of which no record speaks."""

    path: str = Field(description="relative to ETL_HOME")
    fault: Fault
    named_by: list[str] = Field(default=[], description="manifests that name it")

    def __str__(self) -> str:
        named = ", ".join(self.named_by[:3])
        rest = f" and {len(self.named_by) - 3} more" if len(self.named_by) > 3 else ""
        return f"{self.fault:8} {self.path}" + (f", named by {named}{rest}" if named else "")


class Verification(Record):
    """What a look at every raw file has found."""

    files: int = Field(ge=0, description="named by a manifest, and hashed")
    size_bytes: int = Field(ge=0)
    faults: list[StoreFault]

    def lines(self) -> list[str]:
        number = len(self.faults)
        word = f"{number} fault{'s' * (number > 1)}" if number else "all as recorded"
        told = [f"{self.files} raw files, {self.size_bytes:,} bytes: {word}"]
        return [*told, *map(str, self.faults), *self._advice()]

    def _advice(self) -> Iterator[str]:
        found = {each.fault for each in self.faults}
        if found & {Fault.MISSING, Fault.ALTERED}:
            yield "the next run fetches again what it needs of these, where a remote still has it"
        if Fault.ORPHANED in found:
            yield "what is orphaned goes with `etl prune`, once it is old"


class Restored(Record):
    """What was rebuilt of a domain's event log."""

    domain: str
    files: list[str] = Field(description="parts whose raw file is known again")
    tables: list[str] = Field(description="parts whose table stands")
    made: list[str] = Field(description="parts whose table was made again")
    unheard: list[str] = Field(description="what could not be restored, each with the reason")

    def lines(self) -> list[str]:
        counted = (
            f"{self.domain}: {len(self.files)} raw files and {len(self.tables)} tables "
            f"known again, {len(self.made)} tables made again"
        )
        return [counted, *(f"  {line}" for line in self.unheard)]


class Removed(Record):
    """One file or directory that goes, with the bytes that are free then."""

    path: str = Field(description="relative to ETL_HOME")
    why: str
    size_bytes: int = Field(ge=0, description="0 where other names hold the same bytes")

    def __str__(self) -> str:
        return f"{self.path}: {self.why}, {self.size_bytes:,} bytes"
