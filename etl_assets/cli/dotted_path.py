"""Looks up a value by its dotted path in nested mappings and lists, such as a declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from etl_assets.model.errors import UsageError

NAME_KEYS = ("name", "file", "title")  # the first of these names an item of a list
MAX_HINTS = 5


def get_value(tree: Mapping[str, object], path: str) -> object:
    """Returns the value at `path`.

    An item of a list is addressed by its name, file or title, or by its index from 0. A name may
    contain dots. Raises UsageError with the available names if the path leads nowhere.
    """
    value: object = tree
    done, remaining = list[str](), path.split(".")
    while remaining:
        items = _items(value)
        # Try the longest name first, as in `documents.trees.json.format`.
        for count in range(len(remaining), 0, -1):
            name = ".".join(remaining[:count])
            if name in items:
                break
        else:
            raise UsageError(_describe_miss(value, done, remaining))
        value, remaining = items[name], remaining[count:]
        done.append(name)
    return value


def _items(value: object) -> Mapping[str, object]:
    """Returns the values directly below a value, by the names that a path may use for them."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list):
        return {}
    items = {str(index): item for index, item in enumerate(value)}
    named_items = {_item_name(item) or str(index): item for index, item in enumerate(value)}
    return named_items | items


def _item_name(item: object) -> str | None:
    if isinstance(item, Mapping):
        for key in NAME_KEYS:
            if key in item:
                return str(item[key])
    return None


def _describe_miss(value: object, done: list[str], remaining: list[str]) -> str:
    parent = ".".join(done)
    items = _items(value)
    if not items:
        return f"{parent} is a value; there is no {'.'.join(remaining)!r} below it"
    location = f" in {parent}" if parent else ""
    message = f"no {remaining[0]!r}{location}; there are: {', '.join(items)}"
    if deeper := [".".join([*done, *path]) for path in _paths_to(remaining[0], value)]:
        message += f"; further down: {', '.join(deeper[:MAX_HINTS])}"
    return message


def _paths_to(name: str, value: object) -> Iterator[list[str]]:
    """Yields the paths below a value that end in a name."""
    if not isinstance(value, Mapping):
        return
    for key, child in value.items():
        if isinstance(child, Mapping):
            if name in child:
                yield [key, name]
            for path in _paths_to(name, child):
                yield [key, *path]
