"""A digest is taken from the cache only for a file that cannot have changed since."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from etl_assets.storage.signatures import RESOLUTION_NS, Signatures, open_signatures

OLD_NS = time.time_ns() - 10 * RESOLUTION_NS


def write(path: Path, content: bytes, *, modified_ns: int = OLD_NS) -> str:
    path.write_bytes(content)
    os.utime(path, ns=(modified_ns, modified_ns))
    return sha256(content).hexdigest()


def rot(path: Path, content: bytes) -> str:
    """Change bytes in place as a failing disk does: size and time stay."""
    return write(path, content, modified_ns=path.stat().st_mtime_ns)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "signatures.json"


def test_a_file_that_looks_the_same_is_not_read_again(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a"
    first = write(path, b"one")
    with open_signatures(cache) as signatures:
        assert signatures.digest(path) == first
    rot(path, b"two")

    assert Signatures.load(cache).digest(path) == first


@pytest.mark.parametrize(
    "modified_ns", [OLD_NS - 1, OLD_NS + 1, time.time_ns()], ids=["older", "newer", "now"]
)
def test_a_file_with_another_time_is_read(tmp_path: Path, cache: Path, modified_ns: int) -> None:
    path = tmp_path / "a"
    write(path, b"one")
    signatures = Signatures.load(cache)
    signatures.digest(path)

    assert signatures.digest(path) != write(path, b"two", modified_ns=modified_ns)
    assert signatures.digest(path) == sha256(b"two").hexdigest()


def test_another_size_or_another_file_under_the_name_is_read(tmp_path: Path, cache: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    write(path, b"one")
    signatures = Signatures.load(cache)
    signatures.digest(path)

    longer = rot(path, b"longer")
    assert signatures.digest(path) == longer
    replaced = write(other, b"newone")
    other.replace(path)
    assert signatures.digest(path) == replaced


def test_a_file_written_within_the_resolution_of_the_clock_proves_nothing(
    tmp_path: Path, cache: Path
) -> None:
    path = tmp_path / "a"
    write(path, b"one", modified_ns=time.time_ns())
    signatures = Signatures.load(cache)
    signatures.digest(path)

    assert rot(path, b"two") == signatures.digest(path)


def test_rot_is_found_by_hashing_the_oldest_within_the_budget(tmp_path: Path, cache: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    signatures = Signatures.load(cache)
    for path in paths:
        write(path, b"x" * 100)
        signatures.digest(path)
    real = [rot(path, b"y" * 100) for path in paths]

    assert signatures.hash_oldest(250) == 200
    assert [signatures.has_digest(p, sha) for p, sha in zip(paths, real, strict=True)] == [
        True,
        True,
        False,
    ]
    # The one that was left out is the oldest now.
    assert signatures.hash_oldest(100) == 100
    assert signatures.has_digest(paths[2], real[2])


def test_hard_links_share_a_signature_also_when_one_is_removed(tmp_path: Path, cache: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "b"
    first = write(path, b"one")
    with open_signatures(cache) as signatures:
        signatures.digest(path)
    link.hardlink_to(path)
    path.unlink()
    signatures = Signatures.load(cache)

    assert signatures.digest(link) == first
    assert signatures.hash_oldest(1_000) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"1:2": [1]}', b"\xff\xfe", b'{"a": 1}'])
def test_a_garbled_cache_costs_hashing_alone(tmp_path: Path, cache: Path, content: bytes) -> None:
    path = tmp_path / "a"
    first = write(path, b"one")
    cache.write_bytes(content)

    with open_signatures(cache) as signatures:
        assert signatures.digest(path) == first

    assert Signatures.load(cache).hash_oldest(1_000) == 3


def test_a_file_that_is_gone_or_a_directory_has_no_digest(tmp_path: Path, cache: Path) -> None:
    signatures = Signatures.load(cache)
    path = tmp_path / "a"
    first = write(path, b"one")
    signatures.digest(path)
    path.unlink()

    assert not signatures.has_digest(path, first)
    assert signatures.hash_oldest(1_000) == 0
    path.mkdir()
    assert not signatures.has_digest(path, first)
