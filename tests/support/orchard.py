"""A domain so small that a run takes a second: invented trees, their harvests and notes.

Its declarations and models are in `orchard_domain/`, and the shared SQL files are those of the
project, so that tests run the real pipeline. `Files` is what its three remotes serve.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.declarations import codegen
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.defs.context import DomainSession
from etl_assets.defs.launch import open_project
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain
from etl_assets.settings import Settings

DOMAIN = "orchard"
HOST = "orchard.example"
DOMAIN_FILES = Path(__file__).parent / "orchard_domain"
SHARED_SQL = (
    "dbt_project.yml",
    "profiles.yml",
    "models/shared/build.yml",
    "macros/shared/history.sql",
)
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)

Rows = list[dict[str, Any]]


@dataclass
class Files:
    """The content of the three remotes, which `render` writes in their formats."""

    trees: dict[str, str] = field(default_factory=dict)
    harvests: dict[tuple[str, int], int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, count: int = 30) -> Files:
        ids = [f"T-{number}" for number in range(1, count + 1)]
        return cls(
            trees={tree: ("pear", "apple", "quince")[n % 3] for n, tree in enumerate(ids)},
            harvests={
                (tree, year): 10 + n for n, tree in enumerate(ids) for year in (2024, 2025) if n % 4
            },
            notes={tree: f"stands by gate {n}" for n, tree in enumerate(ids) if n % 5 == 0},
        )

    def render(self) -> dict[str, bytes]:
        """Return the bytes of each file by its name on the host."""
        trees = json.dumps(
            {
                "trees": [
                    {"tree_id": tree, "kind": kind, "planted_on": "1999-04-01"}
                    for tree, kind in self.trees.items()
                ]
            }
        ).encode()
        lines = [f"{tree},{year},{weight}" for (tree, year), weight in self.harvests.items()]
        return {
            "trees.json.gz": gzip.compress(trees, mtime=0),
            "trees.meta": b"sha256:" + hashlib.sha256(trees).hexdigest().encode() + b"\n",
            "harvests.csv": "\n".join(["tree_id,year,kilograms", *lines, ""]).encode(),
            "notes.json": json.dumps(
                {t: {"note": text} for t, text in self.notes.items()}
            ).encode(),
        }


class Orchard:
    """A home of the domain that fetches from a mirror directory, or from a server."""

    def __init__(self, folder: Path, *, project: Path, mirror_url: str | None = None) -> None:
        self.folder, self.project = folder, project
        self.mirror = folder / "mirror"
        self.home = Home(folder / "home")
        self.settings = Settings.load(
            home=self.home.root,
            dagster_home=self.home.dagster,
            domains_dir=project / "domains",
            dbt_dir=project / "dbt_project",
        ).model_copy(update={"mirror": mirror_url or str(self.mirror)})
        self.domain: Domain = load(self.settings.domains_dir)[DOMAIN]

    def write_env_file(self, **further: str | None) -> None:
        """Write the settings to the `.env` of the home, for commands that run in it."""
        variables = {
            "ETL_MIRROR": self.settings.mirror,
            "ETL_DOMAINS_DIR": self.settings.domains_dir,
            "ETL_DBT_DIR": self.settings.dbt_dir,
            **further,
        }
        lines = [f"{name}={value}\n" for name, value in variables.items() if value is not None]
        self.home.root.mkdir(parents=True, exist_ok=True)
        (self.home.root / ".env").write_text("".join(lines), encoding="utf-8")

    def serve(self, files: Files) -> None:
        """Write the files to the mirror directory."""
        for name, data in files.render().items():
            path = self.mirror / HOST / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def run(
        self, options: RunOptions | None = None, *, echo: Callable[[str], None] = lambda _: None
    ) -> RunManifest:
        with self.session(echo=echo) as session:
            return run_domain(session, options or RunOptions())

    @contextmanager
    def session(self, *, echo: Callable[[str], None] = lambda _: None) -> Iterator[DomainSession]:
        name = self.domain.name
        with open_project(self.settings, {name: self.domain}, echo=echo) as session:
            yield session.for_domain(name)

    @property
    def latest(self) -> Path:
        return self.home.latest(DOMAIN).resolve()

    def rows(self, mart: str) -> Rows:
        rows: Rows = pq.read_table(self.latest / "marts" / f"{mart}.parquet").to_pylist()
        return rows


def list_faults(home: Home) -> list[str]:
    """Return the files that are incomplete, which none may be at any moment, even after a crash."""
    return [
        *(f"latest: {fault}" for fault in _faults_of_published(home.latest(DOMAIN))),
        *(f"raw {path.name}" for path in _files(home.raw) if _sha256(path) != path.name),
        *(f"quarantine {path.name}" for path in _files(_quarantine(home)) if not _has_reason(path)),
        *(f"table {path}" for path in _files(home.tables(DOMAIN)) if not _is_table(path)),
        *(f"rejects {path}" for path in _files(_rejects(home)) if not _is_table(path)),
        *(f"ledger {path.name}" for path in _files(home.manifests) if not _is_record(path)),
        *(
            str(path)
            for path in home.outputs(DOMAIN).glob("2*/manifest.json")
            if not _is_json(path)
        ),
    ]


def list_temporary_files(home: Home) -> list[str]:
    """Return the files below the home that have a temporary name."""
    patterns = (".*.tmp", "*.part", ".latest.*")
    paths = [path for pattern in patterns for path in home.root.rglob(pattern)]
    return sorted(home.relative(path) for path in paths)


def digest_content(home: Home) -> dict[str, str]:
    """Return the digest of every file that depends only on the inputs of the run."""
    published = home.latest(DOMAIN).resolve()
    trees = [home.raw, home.tables(DOMAIN), _rejects(home), _quarantine(home), published / "marts"]
    files = [path for tree in trees for path in _files(tree) if path.suffix != ".json"]
    digests = {home.relative(p).replace(published.name, "latest"): _sha256(p) for p in files}
    return digests | {"trees.json": _sha256(published / "trees.json")}


def _quarantine(home: Home) -> Path:
    return home.root / "data" / "quarantine"


def _rejects(home: Home) -> Path:
    return home.root / "data" / "rejects"


def _files(tree: Path) -> list[Path]:
    """Return the files of the tree that have no temporary name."""
    files = (path for path in tree.rglob("*") if path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def _faults_of_published(latest: Path) -> list[str]:
    """Return the files that differ from SHA256SUMS, are missing in it, or are required by it."""
    if not latest.is_symlink():
        return ["not a link"] if latest.exists() else []
    directory = latest.resolve()
    if not (directory / "SHA256SUMS").is_file():
        return ["no sums"]
    lines = (directory / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    stated = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    actual = {path.relative_to(directory).as_posix(): _sha256(path) for path in files}
    required = {"manifest.json", "trees.json", "marts/mart_trees.parquet"}
    return sorted(
        {name for name in stated | actual if stated.get(name) != actual.get(name)}
        | (required - set(stated))
    )


def _has_reason(path: Path) -> bool:
    """True if a quarantined file has its digest as name and a reason; a reason may come first."""
    if path.suffix == ".json":
        return _is_json(path)
    return _sha256(path) == path.name and path.with_name(f"{path.name}.json").is_file()


def _is_table(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _is_record(path: Path) -> bool:
    """True if a file of the ledger, or its copy of the history, can be read."""
    return _is_table(path) if path.suffix == ".parquet" else _is_json(path)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def create_project(target: Path) -> Path:
    """Write a project with only this domain below `target`: declarations and SQL."""
    shared = Settings.load(home=target).dbt_dir
    shutil.copytree(DOMAIN_FILES / "domains", target / "domains")
    for name in SHARED_SQL:
        (target / "dbt_project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / name, target / "dbt_project" / name)
    shutil.copytree(DOMAIN_FILES / "models", target / "dbt_project" / "models", dirs_exist_ok=True)
    for empty in ("seeds", "tests"):
        (target / "dbt_project" / empty).mkdir()
    codegen.write_dbt_properties(target / "domains", target / "dbt_project")
    return target


def declare_address(project: Path, url: str, *names: str) -> None:
    """Declare that the sources are fetched from a server of this machine, and from no mirror."""
    for name in names:
        file = project / "domains" / DOMAIN / f"{name}.yaml"
        text = file.read_text(encoding="utf-8").replace(f"https://{HOST}", url)
        file.write_text(text.replace("location:\n", "location:\n  private: true\n"), "utf-8")


def change_limits(project: Path, source: str, limits: Mapping[str, str]) -> None:
    """Declare other values of the limits that the source declares."""
    file = project / "domains" / DOMAIN / f"{source}.yaml"
    text = file.read_text(encoding="utf-8")
    for name, value in limits.items():
        text, count = re.subn(rf"\b{name}: \S+", f"{name}: {value}", text)
        assert count == 1, name
    file.write_text(text, encoding="utf-8")


def add_domain(project: Path, name: str) -> Path:
    """Copy the domain under another name, with the same remotes; return its declarations."""
    for tree in (project / "domains", project / "dbt_project" / "models"):
        for file in sorted((tree / DOMAIN).rglob("*.*")):
            text = file.read_text(encoding="utf-8").replace(DOMAIN, name)
            copy = tree / file.relative_to(tree).as_posix().replace(DOMAIN, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text.replace(f"{name}.example", HOST), encoding="utf-8")
    return project / "domains" / name
