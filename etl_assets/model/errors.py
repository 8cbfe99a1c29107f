"""The exception tree, branched by whose fault it is.

    EtlError
    ├── UsageError              the person's: a command, setting or declaration is wrong (exit 2)
    │   ├── DeclarationError        a YAML under domains/ does not say what a source must say
    │   └── SettingsError           an environment variable or option is missing or malformed
    ├── NotFound                what a person asked for is not there (exit 1)
    ├── SourceError             the remote's: what it serves cannot be had or trusted
    │   ├── Unreachable             no answer, a refused answer, or an answer that broke off
    │   ├── NotPublished            the remote says that there is no such file (404, 410)
    │   ├── Refused                 a limit or the address policy forbids going on
    │   └── ContentError            the bytes are not what was declared
    ├── HomeError               the machine's: a directory, lock, disk or stored file
    ├── BuildError              ours: a transformation failed
    │   └── Incomparable            two versions of a model have not the same columns
    ├── GateRefused             the candidate may not be published
    └── Interrupted             a signal ended a run between two steps or in one (exit 130, 143)

Whoever raises one says where, what was expected, what was found and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


class EtlError(Exception):
    """Base of every error that this project raises on purpose."""


class UsageError(EtlError):
    """The command, a setting or a declaration is wrong; nothing was started."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One offender: where it stands, what was expected there and what was found."""

    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}"


class DeclarationError(UsageError):
    """Declarations are wrong; `problems` names every one of them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class SettingsError(UsageError):
    """A setting is missing or malformed."""


class NotFound(EtlError):
    """What a person asked for by name is not there; the message names the nearest."""


class SourceError(EtlError):
    """What a remote serves cannot be had or trusted; the last good file stands in."""


class Unreachable(SourceError):
    """The remote did not answer, answered with an error, or broke off.

    `retry_after` is the wait in seconds that the remote asks for; a final error is not tried again.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        is_final: bool = False,
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        self.is_final = is_final
        super().__init__(message)


class NotPublished(SourceError):
    """The remote says that there is no such file (404 or 410)."""


class Refused(SourceError):
    """A declared limit or the address policy forbids the transfer."""


class ContentError(SourceError):
    """The bytes are not what was declared: magic, length, digest, structure, or an error page."""

    def __init__(self, message: str, *, problem: Problem | None = None) -> None:
        self.problem = problem
        super().__init__(message)

    @classmethod
    def of(cls, where: str, expected: str, found: str) -> Self:
        """The error that tells one problem and carries it."""
        problem = Problem(where, expected, found)
        text = str(problem) if where else f"expected {expected}, found {found}"
        return cls(text, problem=problem)


class HomeError(EtlError):
    """ETL_HOME cannot be used as it must: permission, space, a lock, or a damaged stored file."""


class BuildError(EtlError):
    """dbt, or a stage of ours, failed on data that had passed validation."""


class Incomparable(BuildError):
    """Two versions of a model cannot be compared: one lacks a column that the other has."""


class GateRefused(EtlError):
    """The candidate failed a blocking check; what is published stays."""


class Interrupted(EtlError):
    """A person or the system asked to stop; what is complete is kept."""
