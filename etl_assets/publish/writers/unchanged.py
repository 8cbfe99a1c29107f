"""Which rows of a document's mart are those of the published document, and its parts for them.

A part of a document depends on the rows of one group alone: an element of a list, a record of an
archive, a file of a folder. So the parts of unchanged groups are taken over as they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, TypeVar

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers.json_stream import read_list
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.rows import Rows
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_name, quote_text

Group = tuple[Any, ...]
Item = TypeVar("Item")


@dataclass(frozen=True)
class RowGroups:
    """The groups of a mart's rows in the order of the file, and which of them are unchanged."""

    rows: Rows
    columns: Sequence[str]
    """A group has equal values in these columns, and its rows are consecutive."""
    published: PublishedDocument | None

    @cached_property
    def groups(self) -> list[tuple[Group, int]]:
        """Each group with its number of rows."""
        return _read_groups(self.rows, self.columns)

    @cached_property
    def published_groups(self) -> list[Group]:
        """The groups of the mart from which the published document was written."""
        if self.published is None:
            return []
        return [group for group, _ in _read_groups(Rows(self.published.mart), self.columns)]

    @cached_property
    def unchanged(self) -> frozenset[Group]:
        """The groups of which the published mart has the same rows."""
        published = self.published
        if published is None or Rows(published.mart).columns != self.rows.columns:
            return frozenset()
        new, old = quote_text(str(self.rows.path)), quote_text(str(published.mart))
        by = ", ".join(
            f"coalesce(new.{name}, old.{name})" for name in map(quote_name, self.columns)
        )
        same_key = " and ".join(
            f"new.{name} is not distinct from old.{name}" for name in map(quote_name, published.key)
        )
        with connect() as connection:
            changed = connection.execute(
                f"select distinct {by} from (select *, row as content from {new} as row) as new"  # noqa: S608 - quoted
                f" full outer join (select *, row as content from {old} as row) as old"
                f" on {same_key} where new.content is distinct from old.content"
            ).fetchall()
        return frozenset(self.published_groups) - set(changed)

    def changed_rows(self) -> Rows:
        """The rows of the groups that have to be written."""
        return self.rows_outside(self.unchanged)

    def rows_outside(self, taken_over: AbstractSet[Group]) -> Rows:
        """The rows of all groups but these."""
        numbers, start = list[int](), 0
        for group, count in self.groups:
            if group not in taken_over:
                numbers += range(start, start + count)
            start += count
        return self.rows.select(numbers)

    def merge(self, published: Iterable[Item], written: Iterable[Item]) -> Iterator[Item]:
        """Each group's part in order: of an unchanged group the published one, else a written one.

        `published` has the parts of all published groups, `written` those of the others, in order.
        Raises BuildError if the published document has not as many parts as its mart has groups.
        """
        old_parts = zip(self.published_groups, published, strict=True)
        new_parts = iter(written)
        try:
            for group, _ in self.groups:
                if group not in self.unchanged:
                    yield next(new_parts)
                    continue
                yield next(part for old_group, part in old_parts if old_group == group)
            for _ in old_parts:
                pass
        except (ValueError, StopIteration) as error:
            where = self.published.directory if self.published else self.rows.path
            raise BuildError(
                f"{where}: expected a part for each of {len(self.published_groups)} groups of"
                f" {self.rows.path.name}, found another number; `etl run DOMAIN --full` writes the"
                " document whole, please report this"
            ) from error


def merge_elements(
    rows: Rows,
    document: Document,
    context: DocumentContext,
    list_name: str,
    encode: Callable[[Rows], Iterable[bytes]],
) -> Iterator[bytes]:
    """The encoded elements of a list with one element per row; see `write_object`."""
    published = context.published
    if published is None:
        yield from encode(rows)
        return
    groups = RowGroups(rows, published.key, published)
    elements = read_list(published.directory / document.file, list_name)
    yield from groups.merge(elements, encode(groups.changed_rows()))


def _read_groups(rows: Rows, columns: Sequence[str]) -> list[tuple[Group, int]]:
    groups = groupby(rows.values(columns))
    return [(group, sum(1 for _ in members)) for group, members in groups]
