"""The orchard with a file for each year, or with a set of files, beside its single files."""

from __future__ import annotations

import re
from pathlib import Path

from support.living import YEARLY, add_yearly_source
from support.orchard import DOMAIN, HOST, Files, Orchard, create_project

from etl_assets.declarations import codegen

FILES = "picks"
YEARS = range(2024, 2027)
DAYS = ("240901", "240902", "240903")


class PartitionedOrchard(Orchard):
    """A home whose mirror directory has the files of the years, the days and the orchard."""

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        with_files: bool = False,
        required_years: bool = False,
        **settings: object,
    ) -> PartitionedOrchard:
        project = create_project(folder / "project")
        if with_files:
            add_file_set(project)
        else:
            add_yearly_source(project, YEARS.start)
        if required_years:
            file = project / "domains" / DOMAIN / f"{YEARLY}.yaml"
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace("required: false", "required: true"), encoding="utf-8")
        orchard = cls(folder, project=project)
        orchard.settings = orchard.settings.model_copy(update=settings)
        orchard.serve(Files.create())
        for year in YEARS:
            orchard.publish_year(year)
        for day in DAYS:
            orchard.publish_day(day)
        return orchard

    def publish_year(self, year: int, kilograms: int = 1) -> None:
        self._write(f"{HOST}/{YEARLY}_{year}.csv", year, kilograms)

    def publish_day(self, day: str, kilograms: int = 1) -> None:
        self._write(f"{FILES}/pick_{day}.csv", 2024, kilograms)

    def _write(self, name: str, year: int, kilograms: int) -> None:
        path = self.mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"tree_id,year,kilograms\nT-1,{year},{kilograms}\n", encoding="utf-8")

    def sets(self) -> list[str]:
        """Return the directories of runs that published, in order."""
        directories = sorted(self.home.outputs(DOMAIN).glob("2*"))
        return [path.name for path in directories if '"published":true' in _compact(path)]


def add_file_set(project: Path) -> None:
    """Declare one more source with a file for each day, in the format of the harvests."""
    folder = project / "domains" / DOMAIN
    text = (folder / "harvests.yaml").read_text(encoding="utf-8").replace("Harvests", "Picks")
    text = text.replace(
        f"url: https://{HOST}/harvests.csv", f"path: {FILES}/pick_{{partition}}.csv"
    )
    partitions = "partitions:\n  by: file\n  names: '[0-9]{6}'\nrequired: false"
    text = re.sub(r"^required: true$", partitions, text, flags=re.MULTILINE)
    (folder / f"{FILES}.yaml").write_text(text, encoding="utf-8")
    codegen.write_dbt_properties(project / "domains", project / "dbt_project")


def _compact(directory: Path) -> str:
    file = directory / "manifest.json"
    return file.read_text(encoding="utf-8").replace(" ", "") if file.exists() else ""
