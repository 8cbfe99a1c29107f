"""A static site for people: a page for each subject, lists of all ids, and a search.

It needs no server and no network: links are relative, and the search loads scripts. The pages of
unchanged subjects are links to the published ones, so they show nothing that other rows decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.file_names import DIGEST_MARK
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.site.build import build_site
from etl_assets.publish.site.entry_pages import read_anchors
from etl_assets.publish.site.files import SiteFiles
from etl_assets.publish.site.names import SUFFIX
from etl_assets.publish.site.rows import Change, Rule, State
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.registry import find_group_files
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import RowGroups
from etl_assets.storage.atomic_write import atomic_directory

LINKS_FILES = True
MARTS: Mapping[str, type] = {"changes": Change, "rules": Rule, "states": State}

NOUN = r"^[a-z]+$"
# Names of other files and folders of the site.
RESERVED = frozenset({"changes", "index", "rules", "search", "site"})
END = b"</html>\n"
NUMBERED = re.compile(rf"(?:{DIGEST_MARK}([0-9]{{1,7}}))?{re.escape(SUFFIX)}$")


class Options(Declaration):
    """The texts of the start page, and the nouns, which name folders too."""

    title: str = Field(min_length=1)
    lead: str = Field(default="", description="below the title of the start page")
    page: str = Field(pattern=NOUN, description="what a page is about, such as package")
    pages: str = Field(pattern=NOUN, description="its plural")
    entry: str = Field(pattern=NOUN, description="what an id is of, such as vulnerability")
    entries: str = Field(pattern=NOUN, description="its plural")

    @model_validator(mode="after")
    def _folders_differ(self) -> Self:
        folders = {self.pages, self.entries}
        if len(folders) < 2 or folders & RESERVED:
            raise ValueError(
                f"expected two different nouns other than {', '.join(sorted(RESERVED))},"
                f" found {self.pages} and {self.entries}"
            )
        return self


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write the site into the directory `document.file`.

    Raises BuildError if the rows are not in the order of pages.
    """
    options = Options.model_validate(document.options)
    groups = RowGroups(rows, ("page",), context.published)
    pages = [page for ((page,), _) in groups.groups]
    for before, after in pairwise(pages):
        # A second group of a page would overwrite the first's files.
        if after <= before:
            raise BuildError(f"{rows.path}: expected rows in the order of pages, found {after}")
    group_files = {
        other.format.upper(): find_group_files(other, files, pages)
        for other, files in context.files_before
    }
    with atomic_directory(context.directory / document.file) as temporary:
        files = SiteFiles(temporary, document.file, context.published)
        build_site(groups, options.model_dump(), files, context, group_files)
    return files.written


def count_rows(document: Document, directory: Path) -> int:
    """The number of entries of all pages; raises BuildError if a page is invalid."""
    return _count_entries(document, directory, {})


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; pages all of whose files are published ones are not read again."""
    linked = {}
    for name, file in published.files.items():
        path = directory / name
        if file.rows and path.exists() and path.samefile(published.directory / name):
            linked[path.name] = file.rows
    return _count_entries(document, directory, linked)


def _count_entries(document: Document, directory: Path, linked: Mapping[str, int]) -> int:
    """`linked` has the numbers of entries of files that were counted before, by name."""
    options = Options.model_validate(document.options)
    folder = directory / document.file / options.pages
    parts: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        stem = NUMBERED.sub("", path.name)
        number = int(match[1] or 1) if (match := NUMBERED.search(path.name)) else 1
        parts.setdefault(stem, {})[number] = path
    count = 0
    for stem, files in parts.items():
        if sorted(files) != list(range(1, len(files) + 1)):
            raise BuildError(
                f"{folder / stem}{SUFFIX}: expected all parts of the page, found {sorted(files)}"
            )
        if all(path.name in linked for path in files.values()):
            count += sum(linked[path.name] for path in files.values())
        else:
            count += _count_entries_of_page(files.values())
    return count


def _count_entries_of_page(files: Iterable[Path]) -> int:
    """The number of entries in all parts of a page, each of which it must have once."""
    anchors = set[str]()
    for path in files:
        content = path.read_bytes()
        if not content.endswith(END):
            raise BuildError(f"{path}: expected a complete page, found no end")
        for anchor in read_anchors(content):
            if anchor in anchors:
                raise BuildError(f"{path}: expected each entry once on its page, found {anchor}")
            anchors.add(anchor)
    return len(anchors)
