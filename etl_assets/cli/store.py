"""The verbs that look after the store: pins, quarantine, the exported ledger, pruning.

Each is a few lines over `etl_assets.assets`; the verbs that run a domain are `etl_assets.cli.main`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_assets.cli.output import FAILED, AnyDomain, Json, open_launcher, settings, show
from etl_assets.declarations.names import find_part, find_source

if TYPE_CHECKING:
    from etl_assets.operations.run import Launcher

app = typer.Typer(rich_markup_mode=None)
manifest_app = typer.Typer(
    help="The ledger of files under manifests/.", no_args_is_help=True, rich_markup_mode=None
)
quarantine_app = typer.Typer(
    help="Files that were refused.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(manifest_app, name="manifest")
app.add_typer(quarantine_app, name="quarantine")

SourceName = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Or SOURCE[PARTITION].", show_default=False)
]
AnySource = Annotated[
    str | None, typer.Argument(metavar="SOURCE", help="Default: every source.", show_default=False)
]
Digest = Annotated[
    str | None, typer.Argument(metavar="SHA256", help="Its beginning will do.", show_default=False)
]
Why = Annotated[str, typer.Option("--why", help="For the record.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")]


@app.command()
def rollback(
    source: SourceName,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="SHA256", help="Default: the version before the current."),
    ] = None,
    why: Why,
) -> None:
    """Serve a source from an earlier file until `unpin`; the next run takes it up."""
    from etl_assets.operations import rollback as operations_rollback

    with open_launcher() as launcher:
        declared, part = find_part(launcher.place.domains, source)
        with _alone(launcher, declared.domain):
            fetch = operations_rollback.rollback(
                launcher.instance, launcher.place, declared, part, to=to, **_word(why)
            )
    _tell(f"{part}: {fetch.pin}", f"`etl run {declared.domain}` takes it up")


@app.command()
def unpin(source: SourceName, *, why: Why) -> None:
    """Serve a source from its remote again; the next run asks it."""
    from etl_assets.operations import rollback as operations_rollback

    with open_launcher() as launcher:
        declared, part = find_part(launcher.place.domains, source)
        with _alone(launcher, declared.domain):
            fetch = operations_rollback.unpin(
                launcher.instance, launcher.place, declared, part, **_word(why)
            )
    stands = f"{fetch.file.sha256[:12]} stands again" if fetch.file else "nothing stands"
    _tell(f"{part}: not pinned any more, {stands}", f"`etl run {declared.domain}` takes it up")


@app.command()
def forget(source: SourceName, *, why: Why) -> None:
    """Let a file of a set go that is gone from its folder for good; its rows go with it."""
    from etl_assets.operations import forget

    with open_launcher() as launcher:
        declared, part = find_part(launcher.place.domains, source)
        with _alone(launcher, declared.domain):
            forget.forget(launcher.instance, launcher.place, declared, part, **_word(why))
    _tell(f"{part}: forgotten, its rows are gone", f"`etl run {declared.domain}` publishes so")


@app.command()
def prune(domain: AnyDomain = None, *, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Remove raw versions and run directories beyond the declared retention that nothing needs."""
    from etl_assets.operations import prune as operations_prune

    with open_launcher() as launcher, _alone(launcher, *launcher.place.domains):
        names = _names(launcher, domain)
        removed = operations_prune.prune(
            launcher.instance, launcher.place, names, now=datetime.now(UTC), dry_run=dry_run
        )
    freed = sum(each.size_bytes for each in removed)
    word = "would be free" if dry_run else "are free"
    show(
        [*map(str, removed), f"{len(removed)} items, {freed:,} bytes {word}"],
        {
            "dry_run": dry_run,
            "freed_bytes": freed,
            "removed": [each.model_dump(mode="json") for each in removed],
        },
        as_json=as_json,
    )


@manifest_app.command("export")
def manifest_export(domain: AnyDomain = None) -> None:
    """Write manifests/ from the event log, where it says something else."""
    from etl_assets.defs.export_manifest import export_asked

    with open_launcher() as launcher:
        for name in _names(launcher, domain):
            with _alone(launcher, name):
                declared = launcher.place.domains[name]
                now = datetime.now(UTC)
                written = export_asked(launcher.instance, launcher.place, declared, now)
            _tell(f"{name}: {', '.join(written) or 'nothing'} written")


@manifest_app.command("verify")
def manifest_verify(domain: AnyDomain = None, *, as_json: Json = False) -> None:
    """Hash every raw file that a manifest names; exit 1 where one is missing, altered, orphaned."""
    from etl_assets.operations.manifest_verify import verify_store

    with open_launcher() as launcher:
        declared = launcher.domain(domain) if domain else None
        found = verify_store(launcher.instance, launcher.place, declared)
    show(found.lines(), found.model_dump(mode="json"), as_json=as_json)
    if found.faults:
        raise typer.Exit(FAILED)


@manifest_app.command("restore")
def manifest_restore(domain: AnyDomain = None, *, as_json: Json = False) -> None:
    """Give an empty event log what manifests/ says, so that the next run downloads nothing."""
    from etl_assets.operations.manifest_restore import exported, restore

    with open_launcher() as launcher:
        restored = []
        for name in [launcher.domain(domain).name] if domain else exported(launcher.place):
            with _alone(launcher, name):
                declared = launcher.place.domains[name]
                restored.append(restore(launcher.instance, launcher.place, declared))
    show(
        [line for each in restored for line in each.lines()],
        [each.model_dump(mode="json") for each in restored],
        as_json=as_json,
    )


@quarantine_app.command("list")
def quarantine_list(source: AnySource = None, *, as_json: Json = False) -> None:
    """Every file that was set aside, the newest of a source first, with the reason."""
    from etl_assets.declarations.load import load
    from etl_assets.model.home import Home
    from etl_assets.validate import quarantine

    found = settings()
    domains = load(found.domains_dir)
    every = [each for domain in domains.values() for each in domain.sources.values()]
    wanted = [find_source(domains, source)] if source else every
    records = [
        each for one in wanted for each in quarantine.list_quarantined(Home(found.home), one)
    ]
    show(
        [str(each) for each in records] or ["nothing is in quarantine"],
        [each.model_dump(mode="json") for each in records],
        as_json=as_json,
    )


@quarantine_app.command("show")
def quarantine_show(source: SourceName, sha256: Digest = None) -> None:
    """One file's reason, as the JSON beside it says it."""
    from etl_assets.operations import quarantine

    with open_launcher() as launcher:
        declared = find_source(launcher.place.domains, source)
        found = quarantine.find_quarantined(launcher.place, declared, sha256)
    show([], found.model_dump(mode="json"), as_json=True)


@quarantine_app.command("release")
def quarantine_release(source: SourceName, sha256: Digest = None, *, why: Why) -> None:
    """Take a file that a person has looked at as the source's current one."""
    from etl_assets.operations import quarantine

    with open_launcher() as launcher:
        declared = find_source(launcher.place.domains, source)
        with _alone(launcher, declared.domain):
            found = quarantine.find_quarantined(launcher.place, declared, sha256)
            quarantine.release(launcher.instance, launcher.place, declared, found, **_word(why))
    _tell(f"{found.part}: {found.sha256} released", f"`etl run {declared.domain}` takes it up")


@quarantine_app.command("purge")
def quarantine_purge(
    source: AnySource = None,
    sha256: Digest = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Of every source.")] = False,
) -> None:
    """Delete quarantined files for good: one, those of a source, or with --all every one."""
    from etl_assets.operations import quarantine

    with open_launcher() as launcher:
        freed = quarantine.purge(launcher.place, source, sha256, everything=everything)
    _tell(f"{len(freed)} files removed, {sum(freed):,} bytes are free")


def _names(launcher: Launcher, domain: str | None) -> list[str]:
    return [launcher.domain(domain).name] if domain else sorted(launcher.place.domains)


def _word(why: str) -> dict[str, Any]:
    """Who says what when, as an event keeps it."""
    from etl_assets.storage.user import current_user

    return {"by": current_user(), "why": why, "at": datetime.now(UTC)}


@contextmanager
def _alone(launcher: Launcher, *domains: str) -> Iterator[None]:
    """No run of these domains goes on meanwhile."""
    from etl_assets.storage.lock import lock

    with ExitStack() as held:
        for name in sorted(domains):
            held.enter_context(lock(launcher.place.home.lock(name), on_wait=launcher.place.say))
        yield


def _tell(*lines: str) -> None:
    show(lines, None, as_json=False)
