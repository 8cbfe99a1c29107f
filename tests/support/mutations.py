"""Damaged versions of real files, for tests that a reader never crashes.

`limit_resources` bounds the time and memory of a reader; tests check what it returns or raises.
"""

from __future__ import annotations

import gzip
import io
import resource
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

MAX_CPU_SECONDS = 2.0
MAX_MEGABYTES = 150
RSS_BYTES = 1 if sys.platform == "darwin" else 1024
PIECES = (
    b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"-", b"\\", b"\0", b"\xff", b"\n", b"\t",
    b"null", b"true", b"1e999", b"NaN", b"-0", b"[]", b"{}", b"\\ud800", b"\xef\xbb\xbf", b"&a ",
    b"*a", b"!!python/name:os.system", b"<<: ", b"9" * 400, b"[" * 2000, b"{\"a\":" * 2000,
)  # fmt: skip

Edit = tuple[float, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 12) | st.integers(0, 4000),
        st.sampled_from(PIECES) | st.binary(max_size=4),
    ),
    min_size=1,
    max_size=4,
)


def apply_edits(data: bytes, edits: list[Edit]) -> bytes:
    """Return the bytes after cutting and inserting pieces; a position is a share of the length."""
    for position, cut, piece in edits:
        start = int(position * len(data))
        data = data[:start] + piece + data[start + cut :]
    return data


def change_content(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Apply a change to the bytes, or to the compressed content of gzip and zip files."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.compress(change(gzip.decompress(data)), mtime=0)
    if not data.startswith(b"PK"):
        return change(data)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, change(old.read(entry)))
    return packed.getvalue()


@contextmanager
def limit_resources() -> Iterator[None]:
    """Fail if the block takes more time or memory than small input may take."""
    began, before = time.process_time(), _peak_megabytes()
    yield
    assert time.process_time() - began < MAX_CPU_SECONDS
    assert _peak_megabytes() - before < MAX_MEGABYTES


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_BYTES / 1e6
