from __future__ import annotations

import pytest

from etl_assets.cli.dotted_path import get_value
from etl_assets.model.errors import UsageError

TREE = {
    "home": "here",
    "orchard": {
        "title": "Orchard",
        "documents": [{"file": "trees.json", "format": "rows"}, {"file": "map.html"}],
        "tags": ["old", "new"],
        "trees": {"location": {"url": "https://a.example"}, "limits": {"attempts": 4}},
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("home", "here"),
        ("orchard.trees.location.url", "https://a.example"),
        ("orchard.trees.limits", {"attempts": 4}),
        ("orchard.documents.trees.json.format", "rows"),
        ("orchard.documents.1.file", "map.html"),
        ("orchard.tags.0", "old"),
    ],
    ids=["top", "leaf", "mapping", "item by its file", "item by its index", "of a plain list"],
)
def test_a_value_is_found_by_its_path(path: str, value: object) -> None:
    assert get_value(TREE, path) == value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "no 'nowhere'; there are: home, orchard"),
        (
            "orchard.url",
            "further down: orchard.trees.location.url",
        ),
        ("orchard.title.x", "orchard.title is a value; there is no 'x' below it"),
        ("", "no ''; there are: home, orchard"),
    ],
    ids=["top", "deeper", "below a value", "empty"],
)
def test_a_path_to_nothing_is_refused_with_the_alternatives(path: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        get_value(TREE, path)

    assert message in str(raised.value)
