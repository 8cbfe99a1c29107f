"""Records and texts above the declared size: refused by name in little memory, in every format."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.json_files import KINDS, JsonKind

from etl_assets.declarations.contract import Contract
from etl_assets.model.records import Reject
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry

pytestmark = pytest.mark.fault("json-large")

LIMIT = 4_000_000
TIMES = 6  # that a large value is above the limit
GIANT = '"' + "x" * (LIMIT * TIMES) + '"'
# Reads a small file and then a large one; prints by how many bytes the second one raises the peak.
# The kernel's `ru_maxrss` begins with the peak of the process that started this one.
CHILD = """
import re, sys
from pathlib import Path
from support.json_files import KINDS
from etl_assets.tables.readers import registry

kind, peaks = KINDS[sys.argv[1]], []
for path in map(Path, sys.argv[2:4]):
    for batch in registry.read(path, kind.form, kind.contract, int(sys.argv[4])):
        pass
    status = Path("/proc/self/status").read_text()
    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024)
print(peaks[1] - peaks[0])
"""
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc"
)

Members = Callable[[JsonKind], str]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> JsonKind:
    return KINDS[request.param]


def read(path: Path, kind: JsonKind, limit: int) -> tuple[list[str], list[Reject]]:
    """The ids of the valid rows, and the rejects."""
    ids, rejects = list[str](), list[Reject]()
    checker = ContractChecker(kind.contract)
    for batch in registry.read(path, kind.form, kind.contract, limit):
        checked = checker.check(batch)
        ids += checked.rows.column(kind.id_column).to_pylist()
        rejects += checked.rejects
    return ids, rejects


def records(kind: JsonKind, *members: str) -> bytes:
    return kind.write([kind.record(str(n), text) for n, text in enumerate(members, start=1)])


def added_peak(tmp_path: Path, name: str, large: Path, limit: int = LIMIT) -> int:
    """The bytes by which reading a large file raises the peak of a process above a small one."""
    small = tmp_path / "small"
    small.write_bytes(records(KINDS[name], KINDS[name].read))
    command = [sys.executable, "-c", CHILD, name, str(small), str(large), str(limit)]
    folder = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(run.stdout)


@needs_proc
def test_a_record_that_is_read_raises_the_peak(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(records(KINDS["array"], f'"z": {GIANT}'))

    assert added_peak(tmp_path, "array", path, LIMIT * TIMES * 2) > 2.5 * LIMIT


@pytest.mark.long
@pytest.mark.ci
@needs_proc
@pytest.mark.parametrize(
    "members",
    [
        pytest.param(lambda kind: f"{kind.read.split(':')[0]}: {GIANT}", id="text of a column"),
        pytest.param(lambda kind: f'"z": {GIANT}', id="text without a column"),
        pytest.param(lambda kind: '"z": [' + "1," * (LIMIT * TIMES // 2) + "1]", id="numbers"),
        pytest.param(
            lambda kind: '"z": [' + '{"a":""},' * (LIMIT * TIMES // 9) + "0]", id="objects"
        ),
        pytest.param(lambda kind: f'{kind.read}, {GIANT}: "x"', id="key"),
        pytest.param(
            lambda kind: '"z": ' + "[" * (LIMIT * TIMES // 2) + "]" * (LIMIT * TIMES // 2),
            id="depth",
        ),
    ],
)
def test_a_record_above_the_limit_is_rejected_in_little_memory_and_costs_no_other(
    tmp_path: Path, kind: JsonKind, members: Members
) -> None:
    path = tmp_path / "large"
    path.write_bytes(records(kind, kind.read, members(kind), kind.read))
    (name,) = [name for name in KINDS if KINDS[name] is kind]

    ids, (reject,) = read(path, kind, LIMIT)

    assert ids == ["1", "3"]
    assert "at most 4,000,000 bytes (limits.max_record_bytes)" in reject.expected
    assert int(reject.actual.removesuffix(" bytes").replace(",", "")) > LIMIT * TIMES
    assert reject.where
    assert added_peak(tmp_path, name, path) <= 2.5 * LIMIT


@pytest.mark.fault("json-depth")
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'], ids=["lists", "objects", "both"])
def test_a_record_nested_too_deeply_is_rejected_and_costs_no_other(
    tmp_path: Path, kind: JsonKind, opening: str
) -> None:
    closing = "".join({"[": "]", "{": "}"}.get(mark, "") for mark in reversed(opening))
    deep = f'"z": {opening * 50_000}1{closing * 50_000}'
    path = tmp_path / "deep"
    path.write_bytes(records(kind, kind.read, deep, kind.read))

    ids, rejects = read(path, kind, LIMIT)

    assert ids == ["1", "3"]
    assert len(rejects) == 1


@needs_proc
@pytest.mark.parametrize("name", ["list in a document", "geojson"])
def test_a_text_outside_of_all_records_is_refused_by_name_too(tmp_path: Path, name: str) -> None:
    kind, path = KINDS[name], tmp_path / "large"
    text = records(kind, kind.read, kind.read).decode()
    path.write_text(f'{{"note": {GIANT}, {text[1:]}', encoding="utf-8")

    ids, (reject,) = read(path, kind, LIMIT)

    assert (ids, reject.where) == (["1", "2"], "note")
    assert added_peak(tmp_path, name, path) <= 2.5 * LIMIT


@pytest.mark.long
@pytest.mark.ci
@needs_proc
@pytest.mark.parametrize("name", ["map", "list in a document", "geojson"])
def test_a_key_above_the_limit_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    kind, path = KINDS[name], tmp_path / "large"
    text = records(kind, kind.read, kind.read).decode()
    path.write_text(f'{{\n{GIANT}: {{"x": 1}}, {text[1:]}', encoding="utf-8")

    ids, (reject,) = read(path, kind, LIMIT)

    assert (ids, reject.where) == (["1", "2"], "line 2, a key")
    assert added_peak(tmp_path, name, path) <= 2.5 * LIMIT


@pytest.mark.parametrize("name", KINDS)
def test_a_size_up_to_the_limit_is_read(tmp_path: Path, name: str) -> None:
    kind, path = KINDS[name], tmp_path / "file"
    # The record of an array is its element.
    around = len('{"crate": 1, "fruits": []}') if name == "array of lists" else 0
    size = len(kind.record("2", '"z": ""')) + around
    largest = f'"z": "{"x" * (20_000 - size)}"'
    path.write_bytes(records(kind, kind.read, largest, largest[:-1] + 'x"', kind.read))

    ids, rejects = read(path, kind, 20_000)

    assert ids == ["1", "2", "4"]
    assert [reject.actual for reject in rejects] == ["20,001 bytes"]


def test_many_records_may_be_larger_than_one(tmp_path: Path, kind: JsonKind) -> None:
    path = tmp_path / "large"
    path.write_bytes(records(kind, *[f'"z": "{"x" * 900}"'] * 5_000))

    ids, rejects = read(path, kind, 10_000)

    assert (ids, rejects) == ([str(number) for number in range(1, 5_001)], [])


BRANCHES = ", ".join(
    f'"b{number}": {{"id": "{number}", "z": "{"x" * 80}"}}' for number in range(50)
)


def test_an_entry_of_many_records_is_led_into(tmp_path: Path) -> None:
    kind, path = KINDS["map"], tmp_path / "large"
    large = '"giant": {"id": "9", "z": "' + "x" * 1_000 + '"}'
    path.write_text(
        f'{{"t": {{{BRANCHES}, {large}}}, "u": {{"b": {{"id": "z"}}}}}}', encoding="utf-8"
    )

    ids, rejects = read(path, kind, 1_000)

    assert ids == [*map(str, range(50)), "z"]
    assert [reject.where for reject in rejects] == ["t.giant"]


def test_an_entry_that_a_column_is_from_is_a_record_itself(tmp_path: Path) -> None:
    contract = Contract.model_validate(
        {
            "columns": [
                {"name": "id", "type": "string", "description": "the id"},
                {"name": "tree", "type": "string", "description": "it", "from": "trees[].name"},
            ],
            "key": ["id"],
        }
    )
    form = KINDS["list in a document"].form.model_copy(update={"rows": "trees[].branches[]"})
    branches = [{"id": str(number)} for number in range(200)]
    trees = [{"branches": branches, "name": "oak"}, {"branches": branches[:2], "name": "elm"}]
    path = tmp_path / "large"
    path.write_text(json.dumps({"trees": trees}), encoding="utf-8")

    batches = list(registry.read(path, form, contract, 1_000))

    assert [value for batch in batches for value in batch.columns["tree"]] == ["elm", "elm"]
    assert [reject.where for batch in batches for reject in batch.rejects] == ["[1]"]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        pytest.param('"t": [1]', "an object", id="list for a map"),
        pytest.param('"t": {"b": 5}', "an object", id="number for a record"),
        pytest.param(f'"t": [{", ".join(["[]"] * 800)}]', "at most", id="large list for a map"),
    ],
)
def test_another_value_in_a_large_document_is_a_reject(
    tmp_path: Path, rest: str, expected: str
) -> None:
    path = tmp_path / "large"
    path.write_text(f'{{"a": {{{BRANCHES}}}, {rest}}}', encoding="utf-8")

    ids, (reject,) = read(path, KINDS["map"], 1_000)

    assert len(ids) == 50
    assert expected in reject.expected
