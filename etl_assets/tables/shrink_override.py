"""Whether a table may have fewer rows than the last one: by a pin, or by a person's word.

The word holds for the file that was refused, or that was given it before, and never for another.
Counting rows, and refusing, are `etl_assets.tables.tabulate`.
"""

from __future__ import annotations

from etl_assets.declarations.source import Source
from etl_assets.model.records import FetchResult, OperatorDecision, RawFile, Table, TableResult

ANOTHER = (
    "\nthis is not the file {refused} that was refused before and looked at; "
    "look at this one and say --accept-changes again"
)


class ShrinkOverride:
    """What is known of one file on its way to be a table, and a word on it given now, if any."""

    def __init__(
        self,
        source: Source,
        fetch: FetchResult | None,
        last: TableResult | None,
        file: RawFile,
        *,
        word: OperatorDecision | None,
    ) -> None:
        refused = last.refused_sha256 if last else None
        self._limits, self._file = source.limits, file
        self._known = last.accepted if last else []
        self._is_pinned = fetch is not None and fetch.pin is not None
        self._word = word if refused in {None, file.sha256} else None
        self.advice = (
            ANOTHER.format(refused=refused[:12]) if refused and word and not self._word else ""
        )
        self.previous: Table | None = (last.baseline or last.table) if last else None

    @property
    def may_shrink(self) -> bool:
        return self._is_pinned or self._word is not None or self._is_known

    def noted(self, record: TableResult) -> TableResult:
        """The record with every word given so far, and with what the next one is compared with.

        A pin is a detour: while it lasts, the table that stood before it remains the measure.
        """
        return record.model_copy(
            update={
                "accepted": [*self._known, *self._new_word(record)],
                "baseline": self.previous if self._is_pinned else None,
            }
        )

    @property
    def _is_known(self) -> bool:
        return any(ruling.sha256 == self._file.sha256 for ruling in self._known)

    def _new_word(self, record: TableResult) -> list[OperatorDecision]:
        """The word given now, where the table would have been refused without it."""
        if self._word is None or self._is_pinned or self._is_known or record.fault:
            return []
        before = self.previous.rows if self.previous else 0
        return [self._word] if self._limits.is_shrunk(before, record.table.rows) else []
