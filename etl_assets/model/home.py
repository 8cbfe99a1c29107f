"""The paths under ETL_HOME; nothing is created, read or written here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etl_assets.model.file_names import limit_name

HEAD_SUFFIX = "_published.json"


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of all data and output; paths in records are relative to its `root`."""

    root: Path
    scratch_root: Path | None = None
    """A folder on a disk of this machine, for what other hosts neither read nor need."""

    @property
    def local(self) -> Path:
        """The folder of files that this machine alone uses; in the home by default."""
        return self.scratch_root or self.root

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def partial(self) -> Path:
        """Unfinished downloads."""
        # On the file system of `raw`, as a finished file is moved there by a rename.
        return self.root / "data" / "partial"

    def raw_file(self, sha256: str) -> Path:
        return self.raw / sha256[:2] / sha256

    def answers(self, domain: str, source: str) -> Path:
        """Answers to the requests of single rows, by the digest of the request."""
        return self.root / "data" / "answers" / domain / source

    def quarantine(self, domain: str, source: str) -> Path:
        return self.root / "data" / "quarantine" / domain / source

    def tables(self, domain: str) -> Path:
        return self.root / "data" / "tables" / domain

    def table_file(self, domain: str, table: str, partition: str | None) -> Path:
        return self.tables(domain) / table / limit_name(partition or table, ".parquet")

    def rejects_file(self, domain: str, table: str, partition: str | None) -> Path:
        return (
            self.root
            / "data"
            / "rejects"
            / domain
            / table
            / limit_name(partition or table, ".parquet")
        )

    def warehouse(self, domain: str) -> Path:
        return self.local / "data" / "warehouse" / f"{domain}.duckdb"

    def complete_marker(self, domain: str) -> Path:
        """A file that exists while the last build of the warehouse is complete."""
        # A build removes it first, so that one that is killed leaves none.
        return self.warehouse(domain).with_suffix(".whole")

    def build_inputs(self, domain: str) -> Path:
        """The inputs of a build besides tables: logical time, source health and history."""
        return self.local / "data" / "warehouse" / domain / "inputs"

    def dbt_target(self, domain: str) -> Path:
        return self.local / "data" / "warehouse" / domain / "target"

    @property
    def scratch(self) -> Path:
        """Temporary builds that are not published."""
        return self.local / "data" / "scratch"

    def outputs(self, domain: str) -> Path:
        return self.root / "outputs" / domain

    def latest(self, domain: str) -> Path:
        return self.outputs(domain) / "latest"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    def published_head(self, domain: str) -> Path:
        """The newest link of the chain of published sets."""
        return self.manifests / f"{domain}{HEAD_SUFFIX}"

    def history_copy(self, domain: str) -> Path:
        """A copy of the newest published history."""
        return self.manifests / f"{domain}_history.parquet"

    def notifications(self, domain: str) -> Path:
        """What each target of notifications was last sent."""
        return self.manifests / f"{domain}_notifications.json"

    @property
    def dagster(self) -> Path:
        return self.root / ".dagster"

    def signatures(self, domain: str) -> Path:
        """A cache of the digests of files that did not change since they were hashed."""
        return self.local / "data" / f"{domain}.signatures.json"

    def event_log_cache(self, domain: str) -> Path:
        """A cache of what the event log says, for verbs that only look; its loss costs time."""
        return self.local / "data" / f"{domain}.event_log_cache.json"

    @property
    def identity(self) -> Path:
        """What tells this home from others, if a database on another machine has its event log."""
        return self.root / "data" / "home.json"

    def lock(self, domain: str) -> Path:
        return self.root / "data" / f"{domain}.lock"

    def relative(self, path: Path) -> str:
        """The path as records and messages name it; a file of this machine alone is absolute."""
        is_local = self.scratch_root is not None and path.is_relative_to(self.scratch_root)
        return str(path) if is_local else path.relative_to(self.root).as_posix()
