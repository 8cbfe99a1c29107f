"""The chain of a domain's published sets, and what `manifests/` keeps of its newest link.

Each published manifest names the digest of its history and of the manifest before it. A set, a
history or `latest` that is missing, older or edited is therefore recognized, and never taken for a
first run. The files of a set are listed by `etl_assets.publish.set_index`.
"""

from __future__ import annotations

import operator
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import HistoryDecision, PublishedLink, Record, Sha256
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS, RunManifest
from etl_assets.publish import run_directory
from etl_assets.storage.atomic_write import atomic_file, write_text
from etl_assets.storage.hashing import has_sha256, hash_file
from etl_assets.storage.signatures import Signatures


class PublishedHead(Record):
    """The newest link of a domain's chain, or the decision to begin a new history."""

    link: PublishedLink | None = None
    new_history: HistoryDecision | None = None
    newer_history_sha256: Sha256 | None = Field(
        default=None,
        description="of the copy of the history, if it is of a set after the link that is lost",
        exclude_if=operator.not_,  # earlier versions do not know it
    )

    @property
    def history_sha256(self) -> str | None:
        """Of the history that the next set continues."""
        if self.new_history:
            return None
        return self.newer_history_sha256 or (self.link.history_sha256 if self.link else None)


@dataclass(frozen=True)
class ChainState:
    """The newest known link of a chain, compared with the files of the home."""

    link: PublishedLink | None = None
    """None before the first publication."""
    directory: Path | None = None
    """The run directory that the link describes; None if it is missing or altered."""
    fallback: Path | None = None
    """The newest older set, for readers and the gate, if that directory is None."""
    newer_history: str | None = None
    """The SHA-256 of the copy of the history, if it is of a set after the link that is lost."""
    problems: Sequence[str] = ()

    @property
    def history_sha256(self) -> str | None:
        """Of the copy of the history."""
        return self.newer_history or (self.link.history_sha256 if self.link else None)


@dataclass(frozen=True)
class _Published:
    """A published run directory with a manifest that can be read."""

    directory: Path
    link: PublishedLink
    previous: PublishedLink | None


def link_of(directory: Path, manifest: RunManifest, history: str | None) -> PublishedLink:
    """The link of a published directory; `history` is the model of the domain's history."""
    return PublishedLink(
        directory=directory.name,
        sequence=manifest.sequence,
        manifest_sha256=hash_file(directory / MANIFEST_FILE),
        # As it was recorded: the file may have changed.
        history_sha256=next((m.sha256 for m in manifest.marts if m.model == history), None),
        as_of=manifest.as_of,
    )


def read_head(home: Home, domain: str) -> PublishedHead:
    """What `manifests/` knows of the newest link; raises HomeError if the file is damaged."""
    path = home.published_head(domain)
    try:
        return PublishedHead.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return PublishedHead()
    except (OSError, ValidationError) as error:
        found = str(error).splitlines()[0]
        raise HomeError(
            f"{path}: expected the newest link of the published sets, found: {found}"
        ) from error


def write_head(home: Home, domain: str, head: PublishedHead, history: Path | None = None) -> None:
    """Write the newest link, and before it a copy of the history that it names."""
    if history is not None:
        with atomic_file(home.history_copy(domain)) as temporary:
            shutil.copyfile(history, temporary)
    write_text(home.published_head(domain), head.model_dump_json(indent=2) + "\n")


def next_sequence(home: Home, domain: str) -> int:
    """The position of the next run of a domain, whatever the clock says."""
    head = _head_or_empty(home, domain)
    recorded = head.link.sequence if head.link else 0
    return 1 + max(recorded, run_directory.last_sequence(home, domain))


def complete_publication(home: Home, domain: str, link: PublishedLink) -> Path | None:
    """Publish a set that was recorded as published, if its process was killed before it was.

    Returns its directory, or None if there is nothing to complete.
    """
    directory = find_pending(home, domain, link)
    if directory:
        run_directory.publish(home, domain, directory)
    return directory


def find_pending(home: Home, domain: str, link: PublishedLink) -> Path | None:
    """Return the directory of a set whose process was killed before readers saw it, or None."""
    directory = _directory_of(home, domain, link)
    is_pending = directory is not None and run_directory.is_publication_pending(directory)
    return directory if is_pending else None


def follow(home: Home, domain: str, link: PublishedLink) -> None:
    """Let `latest` link to the set of a link, if it is there."""
    _link_latest(home, domain, _directory_of(home, domain, link))


def examine(
    home: Home, domain: str, history: str | None, recorded: PublishedLink | None
) -> ChainState:
    """Compare the newest known link with `latest` and the run directories; nothing is changed.

    `recorded` is the link in the event log, or None.
    """
    problems: list[str] = []
    try:
        head = read_head(home, domain)
    except HomeError as error:
        problems.append(str(error))
        head = PublishedHead()
    links = [link for link in (head.link, recorded) if link]
    trusted = max(links, key=lambda link: _trust(home, domain, link), default=None)
    latest = _target_of_latest(home, domain)
    if trusted and (directory := _directory_of(home, domain, trusted)):
        # The manifest has the recorded digest, so what it says counts more than the link.
        trusted = link_of(directory, run_directory.read_manifest(directory), history)
        is_newest = run_directory.last_published_sequence(home, domain) <= trusted.sequence
        if is_newest and trusted == head.link and latest == directory:
            # Without reading the manifests of all runs.
            return ChainState(trusted, latest, newer_history=head.newer_history_sha256)
    published = list(_published_sets(home, domain, history))
    newest = _follow(trusted or _newest_link(published, latest), published)
    newer_history = head.newer_history_sha256 if newest == head.link else None
    if not links and (newer_history := _find_newer_history(home, domain, published)):
        problems.append(
            f"{home.history_copy(domain)}: expected the history of {_name_link(newest)}, found a "
            "newer one, whose set is lost; the next set continues it"
        )
    if newest is None:
        return ChainState(newer_history=newer_history, problems=problems)
    if links and head.link != newest:  # a home of an older version has no link anywhere
        problems.append(
            f"{home.published_head(domain)}: expected the link to {newest.directory}, found "
            f"{_name_link(head.link)}"
        )
    directory, fallback = _directory_of(home, domain, newest), None
    if directory is None:
        problems.append(_describe_lost_set(home, domain, newest))
        problems += _describe_misplaced(_find_misplaced(home, domain, published, links))
        fallback = _find_fallback(newest, published)
    expected = directory or fallback
    if latest != expected:
        problems.append(
            f"{home.latest(domain)}: expected a link to {_name(expected)}, found {_name(latest)}"
        )
    return ChainState(newest, directory, fallback, newer_history, problems)


def _describe_lost_set(home: Home, domain: str, link: PublishedLink) -> str:
    path = home.outputs(domain) / link.directory
    found = "another manifest" if (path / MANIFEST_FILE).exists() else "none"
    return f"{path}: expected the published set, found {found}"


def _find_fallback(lost: PublishedLink, published: Iterable[_Published]) -> Path | None:
    """The newest set before the one that is lost."""
    for each in published:
        # An older manifest in its place does not make it an older set.
        if each.link.sequence < lost.sequence and each.directory.name != lost.directory:
            return each.directory
    return None


def repair(
    home: Home,
    domain: str,
    history: str | None,
    recorded: PublishedLink | None,
    signatures: Signatures,
) -> list[str]:
    """Make `latest`, the head and the copy of the history agree; returns what was repaired.

    The caller holds the domain's lock.
    """
    renamed = _rename_misplaced(home, domain, history, recorded)
    state = examine(home, domain, history, recorded)
    if state.link is None and state.newer_history is None:
        return renamed
    if state.link and state.directory is None:
        run_directory.set_manifest_aside(home.outputs(domain) / state.link.directory)
    _link_latest(home, domain, state.directory or state.fallback)
    problems = [*renamed, *state.problems]
    head = _head_or_empty(home, domain)
    is_first_link = head.link is None and recorded is None
    repaired = PublishedHead(
        link=state.link,
        new_history=_open_decision(head, state.directory),
        newer_history_sha256=state.newer_history,
    )
    if head != repaired:
        write_head(home, domain, repaired)
    copy_problem = _repair_history_copy(home, domain, history, state.history_sha256, signatures)
    if copy_problem and not is_first_link:
        problems.append(copy_problem)
    return problems


def _rename_misplaced(
    home: Home, domain: str, history: str | None, recorded: PublishedLink | None
) -> list[str]:
    """Give the sets that were renamed, such as two that were swapped, the names of their links."""
    links = [link for link in (_head_or_empty(home, domain).link, recorded) if link]
    if all(_directory_of(home, domain, link) for link in links):
        return []
    published = list(_published_sets(home, domain, history))
    misplaced = _find_misplaced(home, domain, published, links)
    # Under a free name of its second first: the target may be misplaced too, and if this is
    # interrupted, the next repair finds the same.
    free_names = {
        source: run_directory.rename_beside(source, target) for source, target in misplaced.items()
    }
    for source, target in misplaced.items():
        free_names[source].rename(source if target.exists() else target)
    return _describe_misplaced(misplaced)


def _find_misplaced(
    home: Home, domain: str, published: Sequence[_Published], links: Sequence[PublishedLink]
) -> dict[Path, Path]:
    """The directories of sets that have another name than in their links, and the right one."""
    recorded = [*(each.previous for each in published if each.previous), *links]
    names = {link.manifest_sha256: link.directory for link in recorded}
    in_place = {(link.manifest_sha256, link.directory) for link in recorded}
    targets = {
        each.directory: home.outputs(domain) / names[each.link.manifest_sha256]
        for each in published
        if each.link.manifest_sha256 in names
        and (each.link.manifest_sha256, each.directory.name) not in in_place
    }
    return {
        source: target
        for source, target in targets.items()
        if not target.exists() or target in targets  # else the set is there, and this is a copy
    }


def _describe_misplaced(misplaced: Mapping[Path, Path]) -> list[str]:
    return [f"{path}: expected the name {target.name}" for path, target in misplaced.items()]


def _open_decision(head: PublishedHead, directory: Path | None) -> HistoryDecision | None:
    """The decision to begin a new history, unless the set in this directory has carried it out."""
    if head.new_history is None or directory is None:
        return head.new_history
    is_done = run_directory.read_manifest(directory).new_history == head.new_history
    return None if is_done else head.new_history


def _find_newer_history(home: Home, domain: str, published: Sequence[_Published]) -> str | None:
    """The SHA-256 of the copy of the history, if no set that is left has it.

    Of the sets there are the directories alone: neither the head nor the event log has a link.
    """
    copy = home.history_copy(domain)
    if not copy.is_file():
        return None
    sha256 = hash_file(copy)
    links = [each.link for each in published]
    links += [each.previous for each in published if each.previous]
    is_known = any(link.history_sha256 == sha256 for link in links)
    from etl_assets.tables import parquet  # pyarrow takes 0.15 s

    return sha256 if not is_known and parquet.is_readable(copy) else None


def _repair_history_copy(
    home: Home, domain: str, history: str | None, sha256: str | None, signatures: Signatures
) -> str:
    """Copy the history with this digest unless the copy is intact; returns what was repaired."""
    copy = home.history_copy(domain)
    if history is None or sha256 is None or signatures.has_digest(copy, sha256):
        return ""
    found = "another file" if copy.exists() else "none"
    file = find_mart(home, domain, history, sha256)
    if file is None:
        return ""  # reading the history raises an error
    write_head(home, domain, _head_or_empty(home, domain), file)
    return f"{copy}: expected a copy of the published history, found {found}"


def find_mart(home: Home, domain: str, model: str, sha256: str) -> Path | None:
    """An intact file of a mart with this digest, from any run or from `manifests/`."""
    directories = run_directory.list_directories(home, domain)
    files = [directory / MARTS / f"{model}.parquet" for directory in directories]
    for file in [*files, home.history_copy(domain)]:
        if has_sha256(file, sha256):
            return file
    return None


def _trust(home: Home, domain: str, link: PublishedLink) -> tuple[int, bool]:
    """Sort key of links: the newer one, and of two of one run the one that its manifest has."""
    return link.sequence, _directory_of(home, domain, link) is not None


def _published_sets(home: Home, domain: str, history: str | None) -> Iterator[_Published]:
    """Every published run directory, newest first."""
    for directory in run_directory.list_runs(home, domain):
        try:
            manifest = run_directory.read_manifest(directory)
        except HomeError:
            continue  # the link that names it finds it altered
        if manifest.published:
            link = link_of(directory, manifest, history)
            yield _Published(directory, link, manifest.previous)


def _newest_link(published: Sequence[_Published], latest: Path | None) -> PublishedLink | None:
    """The newest link if only the run directories are left, or an older version wrote them."""
    if not published:
        return None
    if published[0].link.sequence == 0:
        # Older versions ordered runs by the clock, which may have been set back.
        for each in published:
            if each.directory == latest:
                return each.link
    return published[0].link


def _follow(link: PublishedLink | None, published: Iterable[_Published]) -> PublishedLink | None:
    """The last link after this one: a run may have been killed before it wrote the head."""
    by_sequence = sorted(published, key=lambda each: each.link.sequence)
    # Of two successors the newer one counts: a backup that was put back may have split the chain.
    successors = {each.previous.manifest_sha256: each.link for each in by_sequence if each.previous}
    while link is not None and link.manifest_sha256 in successors:
        link = successors[link.manifest_sha256]
    return link


def _directory_of(home: Home, domain: str, link: PublishedLink) -> Path | None:
    """The directory with the manifest that a link names, or None."""
    directory = home.outputs(domain) / link.directory
    return directory if has_sha256(directory / MANIFEST_FILE, link.manifest_sha256) else None


def _link_latest(home: Home, domain: str, directory: Path | None) -> None:
    latest = home.latest(domain)
    if directory is None:
        if latest.is_symlink():
            latest.unlink()
    elif _target_of_latest(home, domain) != directory:
        run_directory.link_again(home, domain, directory)


def _target_of_latest(home: Home, domain: str) -> Path | None:
    latest = home.latest(domain)
    return latest.parent / latest.readlink() if latest.is_symlink() else None


def _head_or_empty(home: Home, domain: str) -> PublishedHead:
    try:
        return read_head(home, domain)
    except HomeError:
        return PublishedHead()


def _name_link(link: PublishedLink | None) -> str:
    return link.directory if link else "none"


def _name(directory: Path | None) -> str:
    return directory.name if directory else "nothing"
