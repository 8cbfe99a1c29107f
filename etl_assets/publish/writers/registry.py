"""Which module writes which format, and what every writer offers.

A writer knows its standard and nothing of a domain; it is imported by its name when it is needed.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from pydantic import ValidationError

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Attribution, Document
from etl_assets.model.errors import BuildError, DeclarationError, Problem
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.rows import Rows

INFRASTRUCTURE = frozenset(
    {
        "csaf_structure",
        "lines",
        "notice",
        "package_url",
        "products",
        "registry",
        "revision",
        "rows",
        "sink",
    }
)


class NotOfTheStandard(BuildError, ValueError):
    """A structure that the standard refuses; a ValueError, so that decoders say where it stands."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where documents are written, for which moment, made of whose data, and what they follow."""

    directory: Path
    as_of: datetime
    previous: Path | None = None
    attributions: tuple[Attribution, ...] = ()


class Writer(Protocol):
    """What a module of `etl_assets.publish.writers` that bears a format's name offers."""

    Options: type[Declaration]

    def write(self, rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
        """Write the document's files below the candidate's directory; returns each of them."""

    def held(self, document: Document, directory: Path) -> int:
        """Read the files back by their structure; returns how many rows of the model they carry."""


def find_writer(document: Document) -> Writer:
    """The writer of the document's format; raises DeclarationError where there is none."""
    if found := find_problems([document]):
        raise DeclarationError(found)
    return _module(document.format)


def find_problems(documents: Iterable[Document]) -> list[Problem]:
    """What is wrong with the formats and options that documents declare, all of it."""
    found = []
    for document in documents:
        if document.format not in list_formats():
            expected = f"one of the formats {', '.join(list_formats())}"
            found.append(Problem(f"documents: {document.file}: format", expected, document.format))
        else:
            found.extend(_wrong_options(document))
    return found


def list_formats() -> list[str]:
    """The formats that can be written, by name."""
    package = import_module("etl_assets.publish.writers")
    names = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return sorted(names - INFRASTRUCTURE)


def _wrong_options(document: Document) -> list[Problem]:
    try:
        _module(document.format).Options.model_validate(document.options)
    except ValidationError as error:
        return [
            Problem(
                f"documents: {document.file}: options.{'.'.join(map(str, problem['loc']))}",
                problem["msg"],
                repr(problem["input"]),
            )
            for problem in error.errors()
        ]
    return []


def _module(name: str) -> Writer:
    return cast(Writer, import_module(f"etl_assets.publish.writers.{name}"))
