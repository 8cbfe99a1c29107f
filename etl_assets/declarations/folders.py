"""The folders of the domains, and the files in them; a command looks for names here first.

What the files contain is read in `load`, which imports the models of declarations.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from etl_assets.model.display_text import did_you_mean, list_some
from etl_assets.model.errors import DeclarationError, HomeError, Problem, UsageError

DOMAIN_FILE = "_domain.yaml"


def list_domain_folders(root: Path) -> list[Path]:
    """Returns the folders of the domains in order.

    A link that leads to nothing counts as one, so that its domain is not missed in silence. Raises
    DeclarationError if there is no domain at all, HomeError if `root` cannot be read.
    """
    try:
        folders = [
            entry
            for entry in list_entries(root)
            if entry.is_dir() or (entry.is_symlink() and not entry.exists())
        ]
    except FileNotFoundError as error:
        problem = document_problem(root, "a folder of declarations", "no such folder")
        raise DeclarationError([problem]) from error
    except OSError as error:
        raise HomeError(f"{root}: expected a readable folder, found {error.strerror}") from error
    if not folders:
        raise DeclarationError([document_problem(root, "a folder for each domain", "none")])
    return folders


def list_entries(folder: Path) -> list[Path]:
    """Returns the entries of a folder in order, without hidden files and caches."""
    entries = sorted(folder.iterdir())
    return [entry for entry in entries if entry.name[0] not in "._" or entry.name == DOMAIN_FILE]


def unknown_domain(name: str, declared: Iterable[str]) -> UsageError:
    """Returns the error for a name that no domain has."""
    names = sorted(declared)
    hint = did_you_mean(name, names)
    return UsageError(f"no domain {name!r}{hint}; declared are: {list_some(names) or 'none'}")


def document_problem(path: Path, expected: str, actual: str) -> Problem:
    """Returns a problem of a file or folder as a whole."""
    return Problem(f"{path}:1: document", expected, actual)
