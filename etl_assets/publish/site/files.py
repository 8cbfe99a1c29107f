"""The files of a site as they appear in its folder, and their records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.run_directory import link_file
from etl_assets.publish.site import names
from etl_assets.publish.writers.output import PublishedDocument


@dataclass
class SiteFiles:
    """The files of a site, as they are written or linked."""

    folder: Path
    document: str
    published: PublishedDocument | None
    written: list[PublishedFile] = field(default_factory=list)

    def write(self, name: str, content: str | bytes, rows: int = 0) -> None:
        """Write a file, or link the published one if it has the same bytes."""
        data = content if isinstance(content, bytes) else content.encode()
        file = PublishedFile(
            document=self.document,
            file=self._path(name),
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            rows=rows,
        )
        if self._find_published(name) == file:
            self.link(name)
            return
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.written.append(file)

    def link(self, name: str) -> None:
        """Link a published file."""
        file = self._find_published(name)
        if self.published is None or file is None:
            raise KeyError(name)
        link_file(self.published.directory / file.file, self.folder / name)
        self.written.append(file)

    def read_published(self, name: str, max_bytes: int = -1) -> bytes:
        """The content of a published file, or its start."""
        if self.published is None:
            raise KeyError(name)
        with (self.published.directory / self._path(name)).open("rb") as file:
            return file.read(max_bytes)

    def published_parts(self, folder: str, name: str) -> list[str]:
        """The published files about a name, in order."""
        parts: list[str] = []
        for number in count(1):
            file = f"{folder}/{names.file_name(name, number)}"
            if self._find_published(file) is None:
                break
            parts.append(file)
        return parts

    def _find_published(self, name: str) -> PublishedFile | None:
        return self.published.files.get(self._path(name)) if self.published else None

    def _path(self, name: str) -> str:
        return f"{self.document}/{name}"
