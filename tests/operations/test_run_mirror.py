"""A run that reads a mirror says so in whatever it leaves, and names no path of its machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.misbehaving_server import run_misbehaving_server
from support.orchard import DOMAIN, HOST, Files, Orchard, create_project, declare_address

from etl_assets.defs.launch import open_project
from etl_assets.fetch.locations import SAMPLES_FILE
from etl_assets.model.run_manifest import MADE_FROM_SAMPLES, READ_FROM_MIRROR
from etl_assets.operations.status import domain_status
from etl_assets.publish import run_directory

NOTES = {"mirror": READ_FROM_MIRROR, "samples": MADE_FROM_SAMPLES, None: ""}


def make_orchard(folder: Path, url: str, kind: str) -> Orchard:
    """Return a home whose sources are at a server, in a mirror, or samples in a mirror."""
    files, project = Files.create(), create_project(folder / "project")
    if kind == "remotes":
        declare_address(project, f"{url}/{HOST}", "trees", "harvests", "notes")
    mirror_url = url if kind == "mirror by URL" else None
    orchard = Orchard(folder / "live", project=project, mirror_url=mirror_url)
    orchard.serve(files)
    if kind == "samples":
        (orchard.mirror / SAMPLES_FILE).write_text("samples", encoding="utf-8")
    if kind == "remotes":
        orchard.settings = orchard.settings.model_copy(update={"mirror": None})
    return orchard


def status_line(orchard: Orchard) -> str:
    with open_project(orchard.settings, {DOMAIN: orchard.domain}, echo=lambda _: None) as session:
        return domain_status(session.for_domain(DOMAIN)).lines(datetime.now(UTC))[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("remotes", None), ("mirror", "mirror"), ("mirror by URL", "mirror"),
        ("samples", "samples"),
    ],
)  # fmt: skip
def test_a_run_records_that_it_read_a_mirror(
    tmp_path: Path, kind: str, expected: str | None
) -> None:
    with run_misbehaving_server() as server:
        for name, content in Files.create().render().items():
            server.publish(f"/{HOST}/{name}", content)
        orchard = make_orchard(tmp_path, server.url, kind)
        manifests = [orchard.run(), orchard.run()]

    assert [manifest.is_unchanged for manifest in manifests] == [False, True]
    for manifest in manifests:
        directory = orchard.home.outputs(DOMAIN) / manifest.directory
        assert run_directory.read_manifest(directory).mirror == expected
        assert_named(directory, NOTES[expected])
        assert not mentions(directory, str(orchard.mirror))
    assert status_line(orchard).endswith(f", {NOTES[expected]}") == bool(expected)


def assert_named(directory: Path, note: str) -> None:
    names = ("run_report.html", "run_report.md", "run_report.collect.txt")
    texts = {name: (directory / name).read_text(encoding="utf-8") for name in names}
    assert {name for name, text in texts.items() if "mirror" in text or "samples" in text} == (
        set(names) if note else set()
    )
    assert all(note in text for text in texts.values())


def mentions(directory: Path, text: str) -> list[Path]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]
