"""Structs that are completed by the fields of a text, and count them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.tables.readers import json_structs
from etl_assets.tables.readers.json_structs import StructDecoder

NAMES = st.sampled_from(["a", "b", "c", "", "é", '"', "x1", "\x7f"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


class Anything(msgspec.Struct):
    """An object without declared fields."""


class Core(msgspec.Struct):
    """A part of a record."""

    hard: bool | None = None


class Fruit(msgspec.Struct, rename="camel"):
    """A record of which not all fields are declared."""

    fruit_id: str
    cores: list[Core] | Core | None = None


class Seed(msgspec.Struct, forbid_unknown_fields=True):
    """A part in which no other field is accepted."""

    size: int | None = None


class Berry(msgspec.Struct):
    """A record with such parts."""

    seeds: list[Seed] | None = None


def fruits(*records: dict[str, Any]) -> bytes:
    return json.dumps(records).encode()


def learn_and_decode(decoder: StructDecoder, text: bytes) -> list[Any] | None:
    decoder.learn(text)
    return decoder.decode_list(text)


def test_a_field_is_learned_once() -> None:
    decoder = StructDecoder(Anything)
    text = fruits({"a": 1, "b": {"c": ["x", {"d": None}]}, "e": {}})

    assert decoder.decode_list(text) is None
    assert decoder.learn(text)
    assert decoder.decode_list(text) is not None
    assert not decoder.learn(text)


def test_declared_fields_have_their_attributes_and_others_are_decoded_too() -> None:
    decoder = StructDecoder(Fruit)
    text = fruits({"fruitId": "pear", "cores": [{"hard": True, "x": 1}, {}], "y": {"z": 2}})

    items = learn_and_decode(decoder, text)

    assert items is not None
    (pear,) = items
    assert pear.fruit_id == "pear"
    assert [core.hard for core in pear.cores] == [True, None]


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
    assert learn_and_decode(StructDecoder(Fruit), fruits(record)) is None


@pytest.mark.parametrize("seed", [{"colour": 1}, {"size": 1, "colour": None}, {"Size": 1}])
def test_a_field_that_a_struct_forbids_is_not_learned(seed: dict[str, Any]) -> None:
    decoder, plain = StructDecoder(Berry), fruits({"seeds": [{"size": 1}, {}], "x": 1})

    assert learn_and_decode(decoder, fruits({"seeds": [{"size": 1}, seed], "x": 1})) is None
    assert decoder.decode_list(plain) is not None


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize(
    "members",
    [
        pytest.param('"fruitId": "a", "fruitId": "a"', id="declared"),
        pytest.param('"fruitId": "a", "x": 1, "\\u0078": 1', id="equal when unescaped"),
        pytest.param('"fruitId": "a", "": 1, "": 1', id="empty"),
        pytest.param('"fruitId": "a", "cores": {"hard": true, "hard": true}', id="nested"),
        pytest.param('"fruitId": "a", "cores": [{}, {"x": 1, "y": 1, "x": 1}]', id="in a list"),
        pytest.param('"fruitId": "a", "z": [{"b": 1}], "z": [{"b": 1}]', id="skipped"),
        pytest.param('"fruitId": "a", "\x7f": null, "\x7f": null', id="name of no field"),
        pytest.param('"fruitId": "a", "x": "\\"y\\": 1, \\"y\\": 2", "x": ""', id="keys in a text"),
    ],
)
def test_an_object_with_a_field_twice_is_not_decoded(members: str) -> None:
    decoder, once = StructDecoder(Fruit), fruits({"fruitId": "a", "x": 1, "y": 1, "": 1})
    decoder.learn(once)
    text = f"[{{{members}}}]".encode()

    assert learn_and_decode(decoder, text) is None
    assert decoder.decode_texts([text[1:-1], once[1:-1]]) is None
    assert decoder.decode_list(once) is not None


@pytest.mark.fault("json-twice")
@given(values=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=4))
def test_what_is_decoded_repeats_no_key(values: list[dict[str, Any]]) -> None:
    text = json.dumps(values)
    decoder = StructDecoder(Anything)

    items = learn_and_decode(decoder, text.encode())
    repeated = decoder.decode_list((text[:-2] + ', "a": 1, "a": 1}]').replace("{, ", "{").encode())

    assert items is None or len(items) == len(values)
    assert repeated is None


def test_a_text_that_is_added_later_is_accepted() -> None:
    decoder = StructDecoder(Anything, learns_texts=True)

    for number in range(60):
        text = fruits({"name": "pear", "taste": f"taste {number}"})
        assert decoder.decode_list(text) is not None or decoder.learn(text)
        assert decoder.decode_list(text) is not None


def test_prose_with_quotes_and_colons_is_skipped_and_counts_nothing() -> None:
    decoder, prose = StructDecoder(Fruit), 'he says "yes": no, : maybe' * 20

    items = learn_and_decode(decoder, fruits({"fruitId": "pear", "note": prose}))

    assert items is not None


def test_objects_whose_keys_are_data_are_not_learned_without_end() -> None:
    decoder = StructDecoder(Anything)

    for number in range(json_structs.MAX_FIELDS):
        decoder.learn(fruits({f"key {number}": 1, "z": {f"k{number}": 1}}))

    assert not decoder.learn(fruits({"another key": 1}))
    assert decoder.decode_list(fruits({"another key": 1})) is None


def test_no_more_fields_are_learned_at_once_than_a_struct_should_have() -> None:
    decoder, record = StructDecoder(Anything), {f"key {n}": 1 for n in range(2_000)}

    assert learn_and_decode(decoder, fruits(record)) is None


@pytest.mark.parametrize("depth", [90, 50_000])
def test_deep_objects_are_not_learned_without_end(depth: int) -> None:
    decoder = StructDecoder(Anything)
    text = b'[{"a":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]"

    items = learn_and_decode(decoder, text)

    assert (items is None) == (depth > 1_000)
