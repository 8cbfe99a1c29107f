"""One writer per domain, whoever launched a step: the command holds the lock for its whole run.

A step that Dagster's pages or its daemon launched takes the lock for itself, and waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectContext
from etl_assets.storage.lock import lock

P = ParamSpec("P")
Step = Callable[P, Iterator[Any]]


def domain_lock(place: ProjectContext, domain: Domain) -> Callable[[Step[P]], Step[P]]:
    """The step under its domain's lock, unless the launching process holds it already."""

    def guarded(step: Step[P]) -> Step[P]:
        @wraps(step)
        def run(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            if place.holds_lock:
                yield from step(*args, **kwargs)
                return
            with lock(place.home.lock(domain.name), on_wait=place.say):
                yield from step(*args, **kwargs)

        return run

    return guarded
