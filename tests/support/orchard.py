"""A domain so small that a run takes a second: invented trees, their harvests and notes.

Its declarations and models lie in `orchard_domain/`, beside them come the real project's shared SQL
files, so that all machinery is the product's. `Files` is what its three remotes serve.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.declarations import codegen
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.defs.launch import open_project
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain
from etl_assets.settings import Settings

DOMAIN = "orchard"
HOST = "orchard.example"
DECLARED = Path(__file__).parent / "orchard_domain"
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
    """What the remotes serve: three tables of invented facts, each rendered as its own format."""

    trees: dict[str, str] = field(default_factory=dict)
    harvests: dict[tuple[str, int], int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def planted(cls, count: int = 30) -> Files:
        ids = [f"T-{number}" for number in range(1, count + 1)]
        return cls(
            trees={tree: ("pear", "apple", "quince")[n % 3] for n, tree in enumerate(ids)},
            harvests={
                (tree, year): 10 + n for n, tree in enumerate(ids) for year in (2024, 2025) if n % 4
            },
            notes={tree: f"stands by gate {n}" for n, tree in enumerate(ids) if n % 5 == 0},
        )

    def rendered(self) -> dict[str, bytes]:
        """Each file by its name on the host."""
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
    """A home of the domain; what it fetches from is a directory beside it, or a server."""

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

    def describe_itself(self) -> None:
        """Let the home's `.env` say what the settings here say, for commands that run in it."""
        self.home.root.mkdir(parents=True, exist_ok=True)
        (self.home.root / ".env").write_text(
            f"ETL_MIRROR={self.settings.mirror}\n"
            f"ETL_DOMAINS_DIR={self.settings.domains_dir}\n"
            f"ETL_DBT_DIR={self.settings.dbt_dir}\n",
            encoding="utf-8",
        )

    def serve(self, files: Files) -> None:
        """Put the files into the directory that is fetched from."""
        for name, data in files.rendered().items():
            path = self.mirror / HOST / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def run(self, options: RunOptions | None = None) -> RunManifest:
        with open_project(self.settings, {DOMAIN: self.domain}, echo=lambda _: None) as session:
            return run_domain(session.for_domain(DOMAIN), options or RunOptions())

    @property
    def latest(self) -> Path:
        return self.home.latest(DOMAIN).resolve()

    def rows(self, mart: str) -> Rows:
        found: Rows = pq.read_table(self.latest / "marts" / f"{mart}.parquet").to_pylist()
        return found


def offenders_of(home: Home) -> list[str]:
    """What is not as it must be at any moment, whatever was killed: read by plain means."""
    return [
        *(f"latest: {fault}" for fault in _faults_of_published(home.latest(DOMAIN))),
        *(f"raw {path.name}" for path in _files(home.raw) if _sha256(path) != path.name),
        *(f"quarantine {path.name}" for path in _files(_quarantine(home)) if not _is_told(path)),
        *(f"table {path}" for path in _files(home.tables(DOMAIN)) if not _is_table(path)),
        *(f"rejects {path}" for path in _files(_rejects(home)) if not _is_table(path)),
        *(f"ledger {path.name}" for path in _files(home.manifests) if not _is_json(path)),
        *(
            str(path)
            for path in home.outputs(DOMAIN).glob("2*/manifest.json")
            if not _is_json(path)
        ),
    ]


def leftovers_of(home: Home) -> list[str]:
    """Files by temporary name, wherever they lie below the home."""
    found = [*home.root.rglob(".*.tmp"), *home.root.rglob("*.part"), *home.root.rglob(".latest.*")]
    return sorted(home.relative(path) for path in found)


def content_of(home: Home) -> dict[str, str]:
    """The digests of all that the inputs decide: raw files, tables, rejects, marts, documents."""
    published = home.latest(DOMAIN).resolve()
    trees = [home.raw, home.tables(DOMAIN), _rejects(home), _quarantine(home), published / "marts"]
    files = [path for tree in trees for path in _files(tree) if path.suffix != ".json"]
    named = {home.relative(p).replace(published.name, "latest"): _sha256(p) for p in files}
    return named | {"trees.json": _sha256(published / "trees.json")}


def _quarantine(home: Home) -> Path:
    return home.root / "data" / "quarantine"


def _rejects(home: Home) -> Path:
    return home.root / "data" / "rejects"


def _files(tree: Path) -> list[Path]:
    """The files that a reader takes for such: not those by temporary name."""
    found = (path for path in tree.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def _faults_of_published(latest: Path) -> list[str]:
    """Where `sha256sum --check` would complain, and files that no sum is known of."""
    if not latest.is_symlink():
        return ["not a link"] if latest.exists() else []
    directory = latest.resolve()
    if not (directory / "SHA256SUMS").is_file():
        return ["no sums"]
    lines = (directory / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    stated = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = [path for path in directory.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    found = {path.relative_to(directory).as_posix(): _sha256(path) for path in there}
    wanted = {"manifest.json", "trees.json", "marts/mart_trees.parquet"}
    return sorted(
        {name for name in stated | found if stated.get(name) != found.get(name)}
        | (wanted - set(stated))
    )


def _is_told(path: Path) -> bool:
    """A file in quarantine is the one that its reason names; a reason may wait for its file."""
    if path.suffix == ".json":
        return _is_json(path)
    return _sha256(path) == path.name and path.with_name(f"{path.name}.json").is_file()


def _is_table(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assemble(target: Path) -> Path:
    """The domain as a project of its own below `target`: declarations, and SQL with what is shared.

    Retention is off unless a test wants it.
    """
    shared = Settings.load(home=target).dbt_dir
    shutil.copytree(DECLARED / "domains", target / "domains")
    for name in SHARED_SQL:
        (target / "dbt_project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / name, target / "dbt_project" / name)
    shutil.copytree(DECLARED / "models", target / "dbt_project" / "models", dirs_exist_ok=True)
    for empty in ("seeds", "tests"):
        (target / "dbt_project" / empty).mkdir()
    codegen.write_dbt_sources(target / "domains", target / "dbt_project")
    return target
