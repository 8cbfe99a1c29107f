"""A value by its dotted path in a tree of mappings and lists, such as a declaration is.

Only finding belongs here; which tree is asked and how a value is shown is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from etl_assets.model.errors import UsageError

NAMED_BY = ("name", "file", "title")  # what tells the members of a list apart, the first of them
HINTS = 5


def find(tree: Mapping[str, object], path: str) -> object:
    """The value at `path`; raises UsageError with what there is at the level where the path ends.

    A member of a list goes by its name, file or title, or by its place from 0 on. A name may hold
    dots itself.
    """
    found: object = tree
    done, words = list[str](), path.split(".")
    while words:
        members = members_of(found)
        taken = next((n for n in range(len(words), 0, -1) if ".".join(words[:n]) in members), None)
        if taken is None:
            raise UsageError(_unknown(found, done, words))
        key = ".".join(words[:taken])
        found, words = members[key], words[taken:]
        done.append(key)
    return found


def members_of(value: object) -> Mapping[str, object]:
    """What lies directly below a value, by the names that a path may use."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list):
        return {}
    return {_name(member, str(place)): member for place, member in enumerate(value)} | {
        str(place): member for place, member in enumerate(value)
    }


def _name(member: object, place: str) -> str:
    if not isinstance(member, Mapping):
        return place
    return next((str(member[by]) for by in NAMED_BY if by in member), place)


def _unknown(level: object, done: list[str], words: list[str]) -> str:
    where = ".".join(done)
    members = members_of(level)
    if not members:
        return f"{where} is a value; there is no {'.'.join(words)!r} below it"
    told = f"no {words[0]!r}{f' in {where}' if where else ''}; there are: {', '.join(members)}"
    deeper = [".".join([*done, *way]) for way in _ways(level, words[0])][:HINTS]
    return f"{told}; further down: {', '.join(deeper)}" if deeper else told


def _ways(level: object, name: str) -> Iterator[list[str]]:
    """The paths below a level that end in a name."""
    if not isinstance(level, Mapping):
        return
    for key, value in level.items():
        if isinstance(value, Mapping):
            if name in value:
                yield [key, name]
            yield from ([key, *way] for way in _ways(value, name))
