"""A domain's sample: readable files that are packed into a small mirror of its upstreams.

A folder whose name ends as an archive's becomes that archive; a sample whose name holds
`{partition}` stands for every partition that has none of its own; a declared digest is computed.
What is invented may need other seeds than the domain has: those in the sample's folder `seeds` lie
over them. Nothing is fetched here.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
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
from etl_assets.demo import workbooks
from etl_assets.demo.script import DEMO_FILE, Demo, Edit
from etl_assets.fetch.file_set import list_files
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import DeclarationError, Problem, UsageError
from etl_assets.storage.atomic_write import atomic_file

SEEDS = "seeds"
PARTITION = "{partition}"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
WORKBOOKS = {".xlsx": workbooks.xlsx, ".xlsb": workbooks.xlsb}


def pack(samples: Path, target: Path, domain: Domain, *, at: datetime) -> list[Path]:
    """Make the mirror of a domain's sources below `target`; returns the files that changed.

    A changed file's modification time is `at`, an unchanged one is left alone; the years of a
    yearly source end with that of `at`. UsageError names every source without a sample.
    """
    changed, missing = [], []
    for source in domain.sources.values():
        files = _files_of(samples, target, source, at.year)
        if not files:
            expected = f"{_shown(source)} below {samples}"
            missing.append(f"{source.full_name}: expected {expected}, found none")
        changed += [path for path, data in files.items() if _put(path, data, at)]
    if missing:
        raise UsageError("\n".join(missing))
    return changed


def read_demo(samples: Path) -> Demo:
    """The demo of a domain's sample; raises UsageError where there is none or it is wrong."""
    path = samples / DEMO_FILE
    if not path.is_file():
        raise UsageError(f"{path}: expected a demo, found no file")
    demo, problems = read_declaration(Demo, path)
    if demo is None or problems:
        raise DeclarationError(problems)
    return demo


def lay_seeds(samples: Path, dbt_dir: Path, domain: str, copy: Path) -> Path:
    """The dbt project of a sample: with seeds of its own a copy of `dbt_dir`, where they lie."""
    own = samples / SEEDS
    if not own.is_dir():
        return dbt_dir
    if not copy.exists():
        shutil.copytree(dbt_dir, copy, ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copytree(own, copy / SEEDS / domain, dirs_exist_ok=True)
    return copy


def apply(edit: Edit, samples: Path) -> None:
    """Change one file of a copy of the sample; raises DeclarationError where it cannot be done."""
    path = samples / edit.file
    text = _edited(edit, path) if edit.content is None else edit.content
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _edited(edit: Edit, path: Path) -> str:
    if not path.is_file():
        raise DeclarationError([Problem(str(path), "a file of the sample to edit", "none")])
    text = path.read_text(encoding="utf-8")
    if edit.append is not None:
        return text + edit.append
    old, new = edit.old or "", edit.new or ""
    if (times := text.count(old)) != 1:
        raise DeclarationError([Problem(str(path), f"once: {old!r}", f"it {times} times")])
    return text.replace(old, new)


def _files_of(samples: Path, target: Path, source: Source, last_year: int) -> Mapping[Path, bytes]:
    """The mirror's files of a source, with their content."""
    files: dict[Path, bytes] = {}
    if source.for_each is not None:
        return _answers_of(samples, target, source)
    resolver = LocationResolver(home=target, mirror=str(target))
    for partition in _partitions(samples, source, last_year):
        place = resolver.resolve(source.location, partition)
        sample = _sample(samples, target, source, place.file.path, partition)
        if sample is None or place.file.path is None:
            continue
        content = _unpacked(sample, partition)
        files[place.file.path] = data = _packed(sample, content)
        if source.location.digest and place.digest and place.digest.path:
            own = samples / place.digest.path.relative_to(target)
            stated = _digest_file(source.location.digest, content, data)
            files[place.digest.path] = own.read_bytes() if own.is_file() else stated
    return files


def _answers_of(samples: Path, target: Path, source: Source) -> Mapping[Path, bytes]:
    """Every answer that the sample has from the source's host; a row without one has no result."""
    folder = samples / (urlsplit(source.location.url or "").hostname or "")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {target / path.relative_to(samples): path.read_bytes() for path in found}


def _partitions(samples: Path, source: Source, last_year: int) -> Iterable[str | None]:
    match source.partitions:
        case None:
            return [None]
        case Years(start=start):
            return map(str, range(start, last_year + 1))
        case Files() as declared:
            return list_files(source, declared, LocationResolver(home=samples)).partitions


def _sample(
    samples: Path, target: Path, source: Source, path: Path | None, partition: str | None
) -> Path | None:
    """The file or folder that stands for the mirror's file; of a partition, its own goes first."""
    if path is None:
        return None
    own = samples / path.relative_to(target)
    common = (
        LocationResolver(home=target, mirror=str(target))
        .resolve(source.location, PARTITION)
        .file.path
    )
    choices = (
        [own] if partition is None or common is None else [own, _unquoted(samples, target, common)]
    )
    return next((choice for choice in choices if choice.exists()), None)


def _unquoted(samples: Path, target: Path, common: Path) -> Path:
    name = common.relative_to(target).as_posix().replace("%7Bpartition%7D", PARTITION)
    return samples / name


def _unpacked(sample: Path, partition: str | None) -> Mapping[str, bytes]:
    """The files below a sample by name, or the one file that it is."""
    paths = sorted(p for p in sample.rglob("*") if p.is_file()) if sample.is_dir() else [sample]
    content = {}
    for path in paths:
        name = path.relative_to(sample).as_posix() if sample.is_dir() else path.name
        if partition is None:
            content[name] = path.read_bytes()
        else:
            data = path.read_bytes().replace(PARTITION.encode(), partition.encode())
            content[name.replace(PARTITION, partition)] = data
    return content


def _packed(sample: Path, content: Mapping[str, bytes]) -> bytes:
    """The bytes that the mirror serves; the same for the same content on any day."""
    if not sample.is_dir():
        return next(iter(content.values()))
    if sample.suffix == ".zip":
        return _zip(content)
    if sample.suffix in WORKBOOKS:
        return WORKBOOKS[sample.suffix](_sheets(content))
    if sample.suffix == ".gz" and len(content) == 1:
        return gzip.compress(next(iter(content.values())), mtime=0)
    expected = "a folder named .zip, .xlsx, .xlsb, or one named .gz that holds one file"
    raise DeclarationError([Problem(str(sample), expected, f"{len(content)} files")])


def _sheets(content: Mapping[str, bytes]) -> dict[str, list[list[str]]]:
    """The sheets of a workbook, each from a file of delimited text that bears its name."""
    return {
        Path(name).stem: list(csv.reader(io.StringIO(data.decode(), newline="")))
        for name, data in content.items()
    }


def _zip(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _digest_file(digest: PublishedDigest, content: Mapping[str, bytes], packed: bytes) -> bytes:
    data = next(iter(content.values())) if digest.of == "unpacked" else packed
    return f"size:{len(data)}\n{digest.field}:{hashlib.sha256(data).hexdigest().upper()}\n".encode()


def _put(path: Path, data: bytes, at: datetime) -> bool:
    if path.is_file() and path.read_bytes() == data:
        return False
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
        os.utime(temporary, (at.timestamp(), at.timestamp()))
    return True


def _shown(source: Source) -> str:
    return source.location.url or source.location.path or ""
