"""A small domain that changes in every run, with a yearly source of which one year moves at most.

`bench.living` runs it hundreds of times; tests run it often enough to see what retention does.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from support.misbehaving_server import MisbehavingServer
from support.orchard import DOMAIN, HOST, Files, Orchard, create_project

from etl_assets.declarations import codegen
from etl_assets.declarations.load import load
from etl_assets.model.run_manifest import RunManifest

YEARLY = "storms"
FIRST_YEAR = 2012
KINDS = ("pear", "apple", "quince", "medlar")


class LivingOrchard(Orchard):
    """The domain of `orchard`, with files on a server that another edit changes before each run."""

    def __init__(
        self, folder: Path, server: MisbehavingServer, *, first_year: int = FIRST_YEAR
    ) -> None:
        project = folder / "project"
        if not project.exists():
            create_project(project)
            add_yearly_source(project, first_year)
        super().__init__(folder, project=project, mirror_url=server.url)
        self._server = server
        self._edits = 0
        self._trees = Files.create(40)
        for year in range(first_year, datetime.now(UTC).year + 1):
            self.publish_year(year, 1)

    def declare_retention(self, **bounds: int) -> None:
        """Declare bounds of retention in place of those that were declared before."""
        file = self.project / "domains" / DOMAIN / "_domain.yaml"
        text = file.read_text(encoding="utf-8").partition("retention:\n")[0]
        lines = [f"  {name}: {value}\n" for name, value in bounds.items()]
        file.write_text("".join([text, "retention:\n", *lines]), encoding="utf-8")
        self.domain = load(self.settings.domains_dir)[DOMAIN]

    def publish_year(self, year: int, kilograms: int) -> None:
        """Serve the file of one year."""
        text = f"tree_id,year,kilograms\nT-1,{year},{kilograms}\n"
        self._server.publish(f"/{HOST}/{YEARLY}_{year}.csv", text.encode())

    def edit(self) -> None:
        """Serve the trees with another kind for one of them; the other remotes stay as they are."""
        tree = f"T-{1 + self._edits % 20}"
        kind = KINDS[(KINDS.index(self._trees.trees[tree]) + 1) % len(KINDS)]
        self._trees.trees[tree] = kind
        self._edits += 1
        self.serve_again()

    def serve_again(self) -> None:
        """Serve the files as this home last edited them; homes may share a server."""
        for name, data in self._trees.render().items():
            self._server.publish(f"/{HOST}/{name}", data)

    def run_changed(self) -> RunManifest:
        """Change a tree and run."""
        self.edit()
        manifest = self.run()
        assert manifest.published, manifest.note
        return manifest


def add_yearly_source(project: Path, first_year: int) -> None:
    """Declare one more source with a file for each year, in the format of the harvests."""
    folder = project / "domains" / DOMAIN
    text = (folder / "harvests.yaml").read_text(encoding="utf-8")
    text = text.replace("harvests.csv", f"{YEARLY}_{{partition}}.csv").replace("Harvests", "Storms")
    partitions = f"partitions:\n  by: year\n  start: {first_year}\nrequired: false"
    text = re.sub(r"^required: true$", partitions, text, flags=re.MULTILINE)
    (folder / f"{YEARLY}.yaml").write_text(text, encoding="utf-8")
    codegen.write_dbt_properties(project / "domains", project / "dbt_project")
    assert YEARLY in load(project / "domains")[DOMAIN].sources
