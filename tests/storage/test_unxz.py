"""An xz file is unpacked from pieces of any size, within limits."""

from __future__ import annotations

import lzma
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.model.errors import ContentError
from etl_assets.storage.archives import Unxz


def unpacked(packed: bytes, size: int, limit: int = 1 << 30) -> bytes:
    unxz = Unxz(limit)
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    blocks = [block for data in pieces for block in unxz.feed(data)]
    unxz.finish()
    assert max(map(len, blocks), default=0) <= 1 << 17
    return b"".join(blocks)


@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    padding=st.sampled_from([b"", b"\0" * 4, b"\0" * 8]),
    size=st.integers(1, 400),
)
def test_xz_is_unpacked_from_pieces_of_any_size(
    contents: list[bytes], padding: bytes, size: int
) -> None:
    packed = padding.join(lzma.compress(content) for content in contents) + padding

    assert unpacked(packed, size) == b"".join(contents)


@given(cut=st.integers(1, 60), size=st.integers(1, 60))
def test_a_cut_xz_is_never_taken_for_a_whole_one(cut: int, size: int) -> None:
    packed = lzma.compress(b"some text that is packed, and some more")

    with pytest.raises(ContentError, match="expected a whole xz file"):
        unpacked(packed[:-cut], size)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="empty"),
        pytest.param(lzma.compress(b"text") + b"more", id="bytes after the end"),
        pytest.param(b"\xfd7zXZ\x00" + b"x" * 100, id="broken header"),
        pytest.param(lzma.compress(b"text", format=lzma.FORMAT_ALONE), id="another format"),
    ],
)
def test_what_is_no_xz_file_is_refused(packed: bytes) -> None:
    with pytest.raises(ContentError, match="expected a whole xz file"):
        unpacked(packed, 1 << 16)


@pytest.mark.fault("zip-bomb")
def test_a_bomb_is_refused_within_the_limit() -> None:
    packed = lzma.compress(b"\0" * (64 << 20))

    with pytest.raises(ContentError, match="expected at most 1,000,000 unpacked bytes, found more"):
        unpacked(packed, 1 << 16, limit=1_000_000)


@pytest.mark.fault("zip-bomb")
def test_a_file_whose_decoder_needs_much_memory_is_refused() -> None:
    packed = bytearray(lzma.compress(b"text"))
    header = slice(12, 12 + (packed[12] + 1) * 4 - 4)  # of the first block; a checksum follows
    packed[16] = 38  # the dictionary has 2 GiB
    packed[header.stop : header.stop + 4] = zlib.crc32(packed[header]).to_bytes(4, "little")

    with pytest.raises(ContentError, match=r"found broken data .*[Mm]emory"):
        unpacked(bytes(packed), 1 << 16)
