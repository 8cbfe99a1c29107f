"""How a run differs from the set that was published before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from etl_assets.model.check_names import present_names
from etl_assets.model.display_text import format_count, list_some
from etl_assets.model.records import Record

if TYPE_CHECKING:
    from etl_assets.model.run_manifest import RunCheck, RunManifest, RunSource


class CountChange(Record):
    """The rows of a source or a mart before and after a change of its content."""

    name: str
    before: int | None = Field(description="null if it did not exist")
    after: int

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} (new, {self.after:,} rows)"
        if self.before == self.after:
            return f"{self.name} ({self.after:,} rows)"
        return f"{self.name} ({self.before:,} -> {self.after:,} rows)"


class RunChanges(Record):
    """How a run differs from the set that was published before it."""

    since: str = Field(description="the directory of that set")
    sources: list[CountChange] = Field(description="sources with other files")
    marts: list[CountChange] = Field(description="marts with other rows")
    documents: list[str] = Field(description="documents with other content")
    failed_checks: list[str] = Field(
        description="checks that fail, and passed, warned or did not exist then"
    )
    passed_checks: list[str] = Field(description="checks that failed then")

    def lines(self) -> list[str]:
        """Return one line for each kind of change that there is."""
        named = {
            "source": [str(change) for change in self.sources],
            "mart": [str(change) for change in self.marts],
            "document": self.documents,
            "newly failed check": self.failed_checks,
            "newly passed check": self.passed_checks,
        }
        return [
            f"{format_count(len(names), noun)}: {list_some(names)}"
            for noun, names in named.items()
            if names
        ]


def compare_manifests(before: RunManifest, after: RunManifest, since: str) -> RunChanges:
    """Returns how a run differs from an earlier one, in the directory `since`."""
    failed, failed_before = _failures(after.checks), _failures(before.checks)
    for check in before.checks:
        for asset, name in present_names(check.asset, check.name, before.domain):
            failed_before.setdefault(f"{asset}: {name}", failed_before[_full_name(check)])
    marts_before = {mart.model: mart for mart in before.marts}
    marts = []
    for mart in after.marts:
        last = marts_before.get(mart.model)
        if last is None or last.sha256 != mart.sha256:
            marts.append(
                CountChange(name=mart.model, before=last.rows if last else None, after=mart.rows)
            )
    documents_before = {document.document: document.sha256 for document in before.documents}
    return RunChanges(
        since=since,
        sources=list(_changed_sources(before.sources, after.sources)),
        marts=marts,
        documents=[
            document.document
            for document in after.documents
            if documents_before.get(document.document) != document.sha256
        ],
        failed_checks=sorted(name for name in failed if failed[name] > failed_before.get(name, 0)),
        passed_checks=sorted(
            name for name, degree in failed.items() if not degree and failed_before.get(name)
        ),
    )


def _failures(checks: Iterable[RunCheck]) -> dict[str, int]:
    """Returns 0, 1 or 2 for each check: passed, a warning, an error."""
    degrees = {"warn": 1, "error": 2}
    return {_full_name(check): 0 if check.passed else degrees[check.severity] for check in checks}


def _full_name(check: RunCheck) -> str:
    return f"{check.asset}: {check.name}"


def _changed_sources(
    before: Sequence[RunSource], after: Sequence[RunSource]
) -> Iterator[CountChange]:
    """Yields each source of which a file differs, with the rows of all its files."""
    files_before = {source.part: source for source in before}
    changed = dict.fromkeys(
        source.source
        for source in after
        if source.part not in files_before or files_before[source.part].sha256 != source.sha256
    )
    for name in changed:
        rows_before = [source.rows or 0 for source in before if source.source == name]
        rows = sum(source.rows or 0 for source in after if source.source == name)
        yield CountChange(
            name=str(name), before=sum(rows_before) if rows_before else None, after=rows
        )
