"""A generated dump of star systems of any length, in the form of the real ones.

The dump is one gzip member: a JSON array with one object per line, as its producer serves it. Each
object has the fields of the real `systems` dump, and those that the `galaxy` dumps have before
bodies and stations, which are not read: some 320 bytes a system, so that three million are about a
gigabyte. The shares below were counted in 60 systems of the real files. All values are invented;
the same seed writes the same bytes, and a shorter dump is the beginning of a longer one.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLACE = Path("downloads.spansh.co.uk") / "systems_1day.json.gz"
SEED = 20_250_615
SYSTEMS_AT_ONCE = 50_000
GZIP_LEVEL = 1  # fast; the real dumps are a little smaller

# Of 60 systems: without a scanned main star, without a state, and with inhabitants.
OF = 60
WITHOUT_MAIN_STAR = 2
WITHOUT_STATE = 2
INHABITED = 1
MAIN_STARS = {
    "O (Blue-White) Star": 17,
    "Black Hole": 10,
    "Wolf-Rayet O Star": 8,
    "Wolf-Rayet C Star": 5,
    "Herbig Ae/Be Star": 5,
    "Wolf-Rayet N Star": 5,
    "T Tauri Star": 4,
    "Wolf-Rayet NC Star": 2,
    "B (Blue-White super giant) Star": 1,
    "G (White-Yellow) Star": 1,
}
BODY_COUNTS = [1] * 13 + [2] * 12 + [3] * 8 + [5] * 8 + [11] * 10 + [30] * 6
EMPTY = (
    ',"allegiance":null,"government":"None","primaryEconomy":"None","secondaryEconomy":"None"'
    ',"security":"Anarchy","population":0,"bodyCount":'
)
PEOPLED = (
    ',"allegiance":"Independent","government":"Patronage","primaryEconomy":"Extraction"'
    ',"secondaryEconomy":"Industrial","security":"Low","controllingFaction":{"name":"The Ninth'
    ' Ledger","government":"Patronage","allegiance":"Independent"},"population":98765,"bodyCount":'
)
SYLLABLES = ["Vael", "Orth", "Quin", "Bryo", "Cleth", "Dussk", "Eal", "Phroo", "Gria", "Hype"]
LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
ID_STRIDE = 18_014_398  # three million of them reach the largest real ids, about 2**55
REPORTED_FROM, REPORTED_SECONDS = 1_745_000_000, 5_000_000

Texts: TypeAlias = pa.Array
Random: TypeAlias = np.random.Generator


def write(path: Path, systems: int, *, seed: int = SEED) -> int:
    """Write the dump; returns its unpacked size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0) as packed,
    ):
        size += packed.write(b"[\n")
        for first in range(0, systems, SYSTEMS_AT_ONCE):
            lines = _lines(first, np.random.default_rng([seed, first]))[: systems - first]
            size += packed.write(",\n".join(lines.to_pylist()).encode())
            is_last = first + SYSTEMS_AT_ONCE >= systems
            size += packed.write(b"\n]\n" if is_last else b",\n")
    return size


def _lines(first: int, random: Random) -> Texts:
    """The next systems, one text each."""
    ids = (np.arange(SYSTEMS_AT_ONCE) + first + 1) * ID_STRIDE
    ids += random.integers(ID_STRIDE, size=SYSTEMS_AT_ONCE)
    at = _times(random)
    parts = [
        '    {"id64":', pa.array(ids).cast(pa.string()),
        ',"name":"', _names(random),
        '","coords":{"x":', _light_years(random, 40_000, 0),
        ',"y":', _light_years(random, 1_500, 0),
        ',"z":', _light_years(random, 40_000, 25_000),
        "}", _state(random),
        ',"date":"', at,
        '"', _main_star(random),
        ',"updateTime":"', at, '"}',
    ]  # fmt: skip
    return pc.binary_join_element_wise(*parts, "")


def _names(random: Random) -> Texts:
    """Names of a sector and a position in it, as in the real galaxy."""
    first, second = _one_of(SYLLABLES, random), pc.utf8_lower(_one_of(SYLLABLES, random))
    letters = [_one_of(LETTERS, random) for _ in range(3)]
    mass = pc.utf8_lower(_one_of(LETTERS[:8], random))
    number = _whole(random, 400)
    return pc.binary_join_element_wise(
        first, second, " ", letters[0], letters[1], "-", letters[2], " ", mass, number, ""
    )


def _state(random: Random) -> Texts:
    bodies = _one_of([str(count) for count in BODY_COUNTS], random)
    lots = random.integers(OF, size=SYSTEMS_AT_ONCE)
    states = pc.if_else(pa.array(lots < INHABITED), PEOPLED, EMPTY)
    states = pc.binary_join_element_wise(states, bodies, "")
    return pc.if_else(pa.array(lots >= OF - WITHOUT_STATE), "", states)


def _main_star(random: Random) -> Texts:
    kinds = [kind for kind, count in MAIN_STARS.items() for _ in range(count)]
    fields = [f',"mainStar":"{kind}"' for kind in kinds] + [""] * WITHOUT_MAIN_STAR
    return _one_of(fields, random)


def _times(random: Random) -> Texts:
    seconds = REPORTED_FROM + random.integers(REPORTED_SECONDS, size=SYSTEMS_AT_ONCE)
    times = pa.array(seconds).cast(pa.timestamp("s"))
    return pc.strftime(times, format="%Y-%m-%d %H:%M:%S+00")


def _light_years(random: Random, reach: int, middle: int) -> Texts:
    """Multiples of a 32nd, as all real coordinates are."""
    steps = random.integers(-reach * 32, reach * 32, size=SYSTEMS_AT_ONCE)
    return pa.array(steps / 32 + middle).cast(pa.string())


def _whole(random: Random, below: int) -> Texts:
    return pa.array(random.integers(below, size=SYSTEMS_AT_ONCE)).cast(pa.string())


def _one_of(texts: list[str], random: Random) -> Texts:
    chosen = random.integers(len(texts), size=SYSTEMS_AT_ONCE)
    return pa.array(texts, pa.string()).take(pa.array(chosen))
