"""Builds a mirror of the upstreams of a domain from the files under `samples/<domain>/`.

The samples are small and readable: a folder named `*.zip` or `*.gz` is packed into that archive, a
sample with `{partition}` in its name is used for every partition without one of its own, and
digests are computed. A sample may have its own dbt seeds. Nothing is fetched here.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import read_declaration
from etl_assets.declarations.source import Files, PublishedDigest, Source, Years
from etl_assets.demo.script import DEMO_FILE, Demo, Edit
from etl_assets.fetch.file_set import list_files
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import DeclarationError, Problem, UsageError
from etl_assets.settings import Settings
from etl_assets.storage.atomic_write import atomic_file

SEEDS = "seeds"
PARTITION = "{partition}"
# The earliest date that a zip can have; a fixed one makes equal content equal bytes.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def pack(samples: Path, mirror: Path, domain: Domain, *, at: datetime) -> list[Path]:
    """Writes the mirror of all sources of a domain; returns the files that changed.

    The modification time of a changed file becomes `at`; unchanged files are not written. Yearly
    partitions end with the year of `at`. Raises UsageError with every source without a sample.
    """
    changed, missing = [], []
    for source in domain.sources.values():
        files = _mirror_files(samples, mirror, source, at.year)
        if not files:
            location = source.location.url or source.location.path
            missing.append(f"{source.full_name}: expected {location} below {samples}, found none")
        for path, data in files.items():
            if path.is_file() and path.read_bytes() == data:
                continue
            with atomic_file(path) as temporary:
                temporary.write_bytes(data)
                # Before the rename, so that a server never shows the new file with another time.
                os.utime(temporary, (at.timestamp(), at.timestamp()))
            changed.append(path)
    if missing:
        raise UsageError("\n".join(missing))
    return changed


def read_demo(samples: Path) -> Demo:
    """Returns the demo of a domain; raises UsageError if there is none or it is invalid."""
    path = samples / DEMO_FILE
    if not path.is_file():
        raise UsageError(f"{path}: expected a demo, found no file")
    demo, problems = read_declaration(Demo, path)
    if demo is None or problems:
        raise DeclarationError(problems)
    return demo


def apply_edit(edit: Edit, samples: Path) -> None:
    """Changes one file of a copy of the samples; raises DeclarationError if it does not apply."""
    path = samples / edit.file
    if edit.copy_from is not None:
        data = _read_sample(samples / edit.copy_from)
    elif edit.content is not None:
        data = edit.content.encode()
    elif edit.append is not None:
        data = _read_sample(path) + edit.append.encode()
    else:
        old, new = (edit.old or "").encode(), (edit.new or "").encode()
        before = _read_sample(path)
        if (count := before.count(old)) != 1:
            raise DeclarationError([Problem(str(path), f"{edit.old!r} once", f"it {count} times")])
        data = before.replace(old, new)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def overlay_seeds(samples: Path, dbt_dir: Path, domain: str, copy: Path) -> Path:
    """Returns the dbt project to run the samples with.

    If the samples have seeds of their own, it is a copy of `dbt_dir` in which they replace the
    domain's.
    """
    seeds = samples / SEEDS
    if not seeds.is_dir():
        return dbt_dir
    if not copy.exists():
        shutil.copytree(dbt_dir, copy, ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copytree(seeds, copy / SEEDS / domain, dirs_exist_ok=True)
    return copy


def sample_settings(settings: Settings, *, home: Path, mirror: str, dbt_dir: Path) -> Settings:
    """Returns settings for a run of the samples in a temporary home, without notifications."""
    return settings.model_copy(
        update={
            "home": home,
            "dagster_home": home / ".dagster",
            "event_log": None,
            "launcher": "local",
            "scratch": None,
            "mirror": mirror,
            "notify": None,
            "dbt_dir": dbt_dir,
        }
    )


def _read_sample(path: Path) -> bytes:
    if not path.is_file():
        raise DeclarationError([Problem(str(path), "a file of the samples", "none")])
    return path.read_bytes()


def _mirror_files(samples: Path, mirror: Path, source: Source, last_year: int) -> dict[Path, bytes]:
    """Returns the content of all files that the mirror needs for a source, by path."""
    if source.for_each is not None:
        return _answer_files(samples, mirror, source)
    files: dict[Path, bytes] = {}
    resolver = LocationResolver(home=mirror, mirror=str(mirror))
    for partition in _partitions(samples, source, last_year):
        location = resolver.resolve(source.location, partition)
        path = location.file.path
        sample = _find_sample(samples, mirror, source, path, partition) if path else None
        if path is None or sample is None:
            continue
        content = _read_content(sample, partition)
        files[path] = data = _pack_content(sample, content)
        if source.location.digest and location.digest and location.digest.path:
            digest_path = location.digest.path
            digest_sample = samples / digest_path.relative_to(mirror)
            if digest_sample.is_file():
                files[digest_path] = digest_sample.read_bytes()
            else:
                files[digest_path] = _digest_file(source.location.digest, content, data)
    return files


def _answer_files(samples: Path, mirror: Path, source: Source) -> dict[Path, bytes]:
    """Returns every answer in the samples of the source's host; a row without one has no result."""
    folder = samples / (urlsplit(source.location.url or "").hostname or "")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {mirror / path.relative_to(samples): path.read_bytes() for path in paths}


def _partitions(samples: Path, source: Source, last_year: int) -> Iterable[str | None]:
    match source.partitions:
        case None:
            return [None]
        case Years(start=start):
            return map(str, range(start, last_year + 1))
        case Files() as declared:
            return list_files(source, declared, LocationResolver(home=samples)).partitions


def _find_sample(
    samples: Path, mirror: Path, source: Source, path: Path, partition: str | None
) -> Path | None:
    """Returns the sample for a path of the mirror: the partition's own, or the common one."""
    candidates = [samples / path.relative_to(mirror)]
    if partition is not None:
        resolver = LocationResolver(home=mirror, mirror=str(mirror))
        common = resolver.resolve(source.location, PARTITION).file.path
        if common is not None:
            # The resolver percent-encodes what it fills into a URL.
            name = common.relative_to(mirror).as_posix().replace("%7Bpartition%7D", PARTITION)
            candidates.append(samples / name)
    return next((path for path in candidates if path.exists()), None)


def _read_content(sample: Path, partition: str | None) -> Mapping[str, bytes]:
    """Returns the files of a sample by name, with `{partition}` filled in; one if it is a file."""
    if not sample.is_dir():
        files = {sample.name: sample}
    else:
        paths = sorted(path for path in sample.rglob("*") if path.is_file())
        files = {path.relative_to(sample).as_posix(): path for path in paths}
    content = {}
    for name, path in files.items():
        data = path.read_bytes()
        if partition is None:
            content[name] = data
        else:
            filled = data.replace(PARTITION.encode(), partition.encode())
            content[name.replace(PARTITION, partition)] = filled
    return content


def _pack_content(sample: Path, content: Mapping[str, bytes]) -> bytes:
    """Returns the bytes that the mirror serves; always the same for the same content."""
    if not sample.is_dir():
        return next(iter(content.values()))
    if sample.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in content.items():
                entry = zipfile.ZipInfo(name, ZIP_DATE)
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()
    if sample.suffix == ".gz" and len(content) == 1:
        # The header of gzip has a time too.
        return gzip.compress(next(iter(content.values())), mtime=0)
    if sample.suffix == ".xz" and len(content) == 1:
        return lzma.compress(next(iter(content.values())))
    expected = "a folder named .zip, or one named .gz or .xz that has one file"
    raise DeclarationError([Problem(str(sample), expected, f"{len(content)} files")])


def _digest_file(digest: PublishedDigest, content: Mapping[str, bytes], packed: bytes) -> bytes:
    data = next(iter(content.values())) if digest.of == "unpacked" else packed
    # In upper case, as producers publish it: the comparison must not depend on the case.
    sha256 = hashlib.sha256(data).hexdigest().upper()
    return f"size:{len(data)}\n{digest.field}:{sha256}\n".encode()
