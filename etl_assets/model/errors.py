"""The exceptions of this project, in one tree, by whose fault the error is.

    EtlError
    ├── UsageError                  the operator's: a wrong command, setting or declaration (exit 2)
    │   ├── DeclarationError        a YAML file under domains/ is wrong
    │   └── SettingsError           a setting is missing or malformed
    ├── NotFoundError               what the operator named does not exist (exit 1)
    ├── SourceError                 the remote's: a file cannot be fetched or trusted
    │   ├── UnreachableError        no answer, an error status, or a connection that broke off
    │   ├── NotPublishedError       the remote has no such file (404, 410)
    │   ├── TransferRefusedError    a declared limit or the address policy forbids the transfer
    │   ├── SecretError             a secret that the source needs is not set on this machine
    │   └── ContentError            the bytes are not what was declared
    ├── HomeError                   the machine's: a directory, lock, disk or stored file
    │   ├── EventLogError           the databases of the event log are damaged
    │   └── LockLostError           another process may have taken the lock of the domain
    ├── BuildError                  ours: a transformation failed
    │   └── ColumnMismatchError     two versions of a model have different columns
    ├── GateRefusedError            a blocking check refused to publish the candidate
    └── RunInterruptedError         a signal ended the run (exit 130, 143)

A message names where the error is, what was expected, what was found and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


class EtlError(Exception):
    """Base of the exceptions that this project raises."""


class UsageError(EtlError):
    """The command, a setting or a declaration is wrong; nothing was started."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it is, what was expected there and what was found."""

    where: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.actual}"


class DeclarationError(UsageError):
    """Declarations are wrong; `problems` has all of them, `advice` says what to do next."""

    def __init__(self, problems: Sequence[Problem], advice: str = "") -> None:
        self.problems = problems
        lines = [*map(str, problems), advice]
        super().__init__("\n".join(line for line in lines if line))


class SettingsError(UsageError):
    """A setting is missing or malformed."""


class NotFoundError(EtlError):
    """What the operator named does not exist; the message has the nearest name."""


class SourceError(EtlError):
    """A file cannot be fetched or trusted; the run uses the last good one."""


class UnreachableError(SourceError):
    """The remote did not answer, answered with an error, or the connection broke off.

    `retry_after` is the number of seconds in the remote's Retry-After. If `is_final`, another
    attempt would fail too.
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


class NotPublishedError(SourceError):
    """The remote has no such file (404 or 410)."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class TransferRefusedError(SourceError):
    """A declared limit or the address policy forbids the transfer."""


class SecretError(SourceError):
    """A secret that the source declares is missing or empty; other sources do not need it."""


class ContentError(SourceError):
    """The bytes are not what was declared: magic, length, digest, structure, or an error page."""

    def __init__(self, message: str, *, problem: Problem | None = None) -> None:
        self.problem = problem
        super().__init__(message)

    @classmethod
    def of(cls, where: str, expected: str, actual: str) -> Self:
        """Returns an error with one problem; `where` is empty if it concerns the whole file."""
        problem = Problem(where, expected, actual)
        text = str(problem) if where else f"expected {expected}, found {actual}"
        return cls(text, problem=problem)


class HomeError(EtlError):
    """ETL_HOME cannot be used: permissions, disk space, a lock, or a damaged stored file."""


class EventLogError(HomeError):
    """The databases of the event log are damaged."""


class LockLostError(HomeError):
    """This process had the lock of a domain, and another one may have it now; it may not write."""


class BuildError(EtlError):
    """dbt or a stage of this project failed on data that had passed validation."""


class ColumnMismatchError(BuildError):
    """Two versions of a model cannot be compared: one lacks a column of the other."""


class GateRefusedError(EtlError):
    """The candidate failed a blocking check; the published set is unchanged."""


class RunInterruptedError(EtlError):
    """The operator or the system stopped the run; finished work is kept."""
