"""Whether every raw file that a manifest names is there with its bytes, and none beside them.

Nothing is mended here: a run fetches again what it lacks, and `etl prune` removes orphans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from etl_assets.fetch import raw_store
from etl_assets.model.home import Home
from etl_assets.model.records import StoredState
from etl_assets.operations.store_results import Fault, StoreFault, Verification

FAULTS = {StoredState.MISSING: Fault.MISSING, StoredState.DAMAGED: Fault.ALTERED}


def verify(
    home: Home, references: Mapping[str, list[str]], known: AbstractSet[str]
) -> Verification:
    """Hash every file of `references`; one that neither they nor `known` name is an orphan."""
    return Verification(
        files=len(references),
        size_bytes=sum(
            home.raw_file(sha256).stat().st_size
            for sha256 in references
            if home.raw_file(sha256).exists()
        ),
        faults=[*_not_as_named(home, references), *_orphans(home, set(references) | known)],
    )


def _not_as_named(home: Home, references: Mapping[str, list[str]]) -> Iterator[StoreFault]:
    for sha256, named_by in sorted(references.items()):
        if fault := FAULTS.get(raw_store.verify(home, sha256)):
            path = home.relative(home.raw_file(sha256))
            yield StoreFault(path=path, fault=fault, named_by=named_by)


def _orphans(home: Home, known: AbstractSet[str]) -> Iterator[StoreFault]:
    for path in raw_store.stored_files(home):
        if path.name not in known or path != home.raw_file(path.name):
            yield StoreFault(path=home.relative(path), fault=Fault.ORPHANED)
