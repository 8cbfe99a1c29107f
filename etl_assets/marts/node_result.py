"""The result of one node of a build, whether dbt ran it or its compiled SQL was run without dbt."""

from __future__ import annotations

from dataclasses import dataclass

from etl_assets.model.run_manifest import FailingRows

SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class NodeResult:
    """A model, a seed or a test of a build; the status is one of dbt's own."""

    unique_id: str
    kind: str
    status: str
    seconds: float
    failures: int | None
    message: str
    failing_rows: FailingRows | None = None
    """The first rows that a data test returned."""

    @property
    def is_ok(self) -> bool:
        return self.status in {"success", "pass", "warn"}
