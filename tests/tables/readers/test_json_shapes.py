"""Structs that grow with the fields of a text, and count them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.tables.readers import json_shapes
from etl_assets.tables.readers.json_shapes import ShapeDecoder, path_shape, struct_shape

NAMES = st.sampled_from(["a", "b", "c", "", "é", '"', "x1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


class Core(msgspec.Struct):
    """A part of a record."""

    hard: bool | None = None


class Fruit(msgspec.Struct, rename="camel"):
    """A record of which not all fields are declared."""

    fruit_id: str
    cores: list[Core] | Core | None = None


def fruits(*records: dict[str, Any]) -> bytes:
    return json.dumps(records).encode()


def test_a_shape_is_learned_once() -> None:
    decoder = ShapeDecoder()
    text = fruits({"a": 1, "b": {"c": ["x", {"d": None}]}})

    assert decoder.decode_list(text) is None
    assert decoder.learn(text)
    assert decoder.decode_list(text) is not None
    assert not decoder.learn(text)


def test_declared_fields_have_their_attributes_and_others_are_decoded_too() -> None:
    decoder = ShapeDecoder(struct_shape(Fruit))
    text = json.dumps({"fruitId": "pear", "cores": [{"hard": True, "x": 1}, {}], "y": {"z": 2}})

    items = decoder.decode_or_learn(text.encode())

    assert items is not None
    (pear,) = items
    assert pear.fruit_id == "pear"
    assert [core.hard for core in pear.cores] == [True, decoder.missing]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"fruitId": 7}, id="another type"),
        pytest.param({"fruitId": None}, id="null"),
        pytest.param({"cores": []}, id="missing"),
        pytest.param({"fruitId": "pear", "cores": "x"}, id="text for an object"),
        pytest.param({"fruitId": "pear", "cores": [1]}, id="number in a list of objects"),
    ],
)
def test_declared_types_stay_required(record: dict[str, Any]) -> None:
    decoder = ShapeDecoder(struct_shape(Fruit))

    assert decoder.decode_or_learn(json.dumps(record).encode()) is None


@pytest.mark.fault("json-twice")
@given(values=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=4))
def test_what_is_decoded_repeats_no_key(values: list[dict[str, Any]]) -> None:
    text = json.dumps(values)
    decoder = ShapeDecoder()
    decoder.learn(text.encode())

    items = decoder.decode_list(text.encode())
    repeated = decoder.decode_list((text[:-2] + ', "a": 1, "a": 1}]').replace("{, ", "{").encode())

    assert items is None or len(items) == len(values)
    assert repeated is None


def test_a_text_that_is_added_later_is_accepted() -> None:
    decoder = ShapeDecoder(path_shape({("name",): str}), learns_texts=True)

    for number in range(60):
        text = fruits({"name": "pear", "taste": f"taste {number}"})
        assert decoder.decode_list(text) is not None or decoder.learn(text)
        assert decoder.decode_list(text) is not None


def test_objects_whose_keys_are_data_are_not_learned_without_end() -> None:
    decoder = ShapeDecoder()

    for number in range(json_shapes.MAX_BUILDS * 2):
        decoder.decode_or_learn(json.dumps({f"key {number}": 1, "z": {f"k{number}": 1}}).encode())

    assert decoder.shape.count_fields() <= json_shapes.MAX_FIELDS
    assert decoder.decode_or_learn(b'{"another key": 1}') is None


def test_deep_objects_are_not_learned_without_end() -> None:
    decoder = ShapeDecoder()

    assert decoder.decode_or_learn(b'{"a":' * 200 + b"1" + b"}" * 200) is None
