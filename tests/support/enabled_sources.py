"""A copy of the project's declarations and SQL in which sources are enabled that are off."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from etl_assets.declarations import codegen


@dataclass(frozen=True, slots=True)
class ProjectCopy:
    """The folders of declarations and SQL of one domain."""

    domains: Path
    dbt: Path


def enable_sources(repo_root: Path, folder: Path, domain: str, *sources: str) -> ProjectCopy:
    """Copy the domain below `folder`, enable the sources there and generate what follows."""
    copy = ProjectCopy(folder / "domains", folder / "dbt_project")
    if copy.dbt.exists():
        return copy
    shutil.copytree(repo_root / "etl_assets" / "domains" / domain, copy.domains / domain)
    ignored = shutil.ignore_patterns("target", "logs", "dbt_packages")
    shutil.copytree(repo_root / "dbt_project", copy.dbt, ignore=ignored)
    for source in sources:
        file = copy.domains / domain / f"{source}.yaml"
        text = file.read_text(encoding="utf-8")
        assert "\nenabled: false\n" in text
        file.write_text(text.replace("\nenabled: false\n", "\n"), encoding="utf-8")
    codegen.write_dbt_properties(copy.domains, copy.dbt)
    return copy
