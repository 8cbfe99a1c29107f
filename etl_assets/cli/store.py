"""The verbs that manage stored files: pins, quarantine, the manifest of files, and pruning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_assets.cli.display import OUTPUT
from etl_assets.cli.names import DomainName, OptionalDomain, OptionalSource, SourceName
from etl_assets.cli.output import (
    Json,
    create_group,
    exit_with_worst,
    load_declarations,
    load_settings,
    open_session,
    print_result,
    print_text,
    select_domains,
    work_on_each,
)
from etl_assets.model.display_text import MAX_NAMES
from etl_assets.model.errors import HomeError, UsageError

if TYPE_CHECKING:
    from pysequoia import Cert

    from etl_assets.defs.context import ProjectSession
    from etl_assets.operations.manifest import RestoreResult

app = typer.Typer(rich_markup_mode=None)
quarantine_app = create_group("List, inspect, release or delete files that were refused.")
manifest_app = create_group("Export, verify or restore the record of stored files.")

Digest = Annotated[
    str | None,
    typer.Argument(
        metavar="SHA256", help="The digest of a file, or its first digits.", show_default=False
    ),
]
Why = Annotated[
    str, typer.Option("--why", help="The reason, stored with the change.", show_default=False)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be deleted, but delete nothing.")
]


@app.command(rich_help_panel="Store")
def rollback(
    source: SourceName,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SHA256",
            help="The version to use. Default: the one before the current version.",
            show_default=False,
        ),
    ] = None,
    why: Why,
) -> None:
    """Pin a source to an earlier version of its file.

    The next run uses that version. The source is not fetched again until `etl unpin`.
    """
    from etl_assets.operations import rollback as operations_rollback

    with open_session() as session:
        declared, part = session.project.find_part(source)
        with _locked(session, declared.domain):
            fetch = operations_rollback.rollback(
                session.for_domain(declared.domain), declared, part, to=to, **_decision(why)
            )
    print_text(f"{part}: {fetch.pin}\n`etl run {declared.domain}` applies it")


@app.command(rich_help_panel="Store")
def unpin(source: SourceName, *, why: Why) -> None:
    """Remove the pin of a source, so that it is fetched again.

    The next run contacts the remote.
    """
    from etl_assets.operations import rollback as operations_rollback

    with open_session() as session:
        declared, part = session.project.find_part(source)
        with _locked(session, declared.domain):
            fetch = operations_rollback.unpin(
                session.for_domain(declared.domain), declared, part, **_decision(why)
            )
    current = f"{fetch.file.sha256[:12]} is current again" if fetch.file else "no file is current"
    print_text(f"{part}: no longer pinned, {current}\n`etl run {declared.domain}` applies it")


@app.command(rich_help_panel="Store", context_settings={"allow_extra_args": True})
def restore(
    context: typer.Context,
    domain: DomainName,
    *,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            help="The run directory, such as 20260301_120000. Default: the newest published run "
            "with all of its files.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish the set of an earlier run again, with its history.

    The next run continues that history. `etl manifest restore` restores the event log.
    """
    from etl_assets.operations.restore import restore_set

    if context.args:
        raise UsageError(
            f"expected one domain, found {' '.join([domain, *context.args])}; to name a run: "
            f"`etl restore {domain} --run {context.args[0]}`"
        )
    with open_session(domain) as session, _locked(session, domain):
        name, manifest = restore_set(session.for_domain(domain), run)
    if manifest is None:
        text = f"{domain}: nothing to restore, {name} is published and all of its files are intact"
        print_result([text], {}, as_json=as_json)
        return
    lines = [f"{domain}: {name} is published again, in {manifest.run_id}", f"  {manifest.note}"]
    print_result(lines, manifest.model_dump(mode="json"), as_json=as_json)


@app.command(rich_help_panel="Store")
def verify(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Default: the published sets of this home.", show_default=False
        ),
    ] = None,
    *,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The publisher's OpenPGP public key. Default: the key in the set.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a published set by its sums and signatures.

    Exits with 1 if a file is missing, altered or not listed, or a signature is not valid.
    `etl manifest verify` verifies the files of a home.
    """
    from etl_assets.model.home import HEAD_SUFFIX, Home
    from etl_assets.operations.verify import verify_set
    from etl_assets.publish import run_directory

    public_key = _read_public_key(key) if key else None
    if directory is not None:
        directories = [directory]
    else:
        home = Home(load_settings().home)
        # A domain that was published and has no link any more is an error.
        heads = (path.name for path in home.manifests.glob(f"*{HEAD_SUFFIX}"))
        published = {name.removesuffix(HEAD_SUFFIX) for name in heads}
        domains = sorted(published | set(run_directory.list_domains(home)))
        if not domains:
            raise HomeError(f"{home.root / 'outputs'}: expected a published set, found none")
        directories = [home.latest(domain) for domain in domains]
    verified, errors = work_on_each(
        list(map(str, directories)), lambda path: verify_set(Path(path), public_key)
    )
    lines = []
    for each in verified:
        lines += each.lines()
    print_result(lines, [each.model_dump(mode="json") for each in verified], as_json=as_json)
    exit_with_worst(failed=any(each.faults for each in verified), errors=errors)


def _read_public_key(path: Path) -> Cert:
    from etl_assets.publish.openpgp import read_public_key

    try:
        return read_public_key(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--key: expected a public key, found {path}: {error.strerror}") from error
    except HomeError as error:
        raise UsageError(f"--key: {path}: {error}") from error


@app.command(rich_help_panel="Store")
def forget(source: SourceName, *, why: Why) -> None:
    """Stop tracking a file that was deleted from its folder.

    The next run publishes without its rows.
    """
    from etl_assets.operations import rollback as operations_rollback

    with open_session() as session:
        declared, part = session.project.find_part(source)
        with _locked(session, declared.domain):
            operations_rollback.forget(
                session.for_domain(declared.domain), declared, part, **_decision(why)
            )
    print_text(f"{part}: forgotten, its rows are removed\n`etl run {declared.domain}` applies it")


@app.command(rich_help_panel="Store")
def prune(
    domain: OptionalDomain = None,
    *,
    damaged: Annotated[
        bool,
        typer.Option(
            "--damaged",
            help="Delete damaged run directories too, except the published set.",
        ),
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Delete old raw files, run directories and run records.

    The retention of the domain declares what is old. Each run does this for its domain at its end.
    """
    from etl_assets.operations import prune as operations_prune

    with open_session(domain) as session, _locked(session, *session.project.domains):
        names, left_out = select_domains(session.project, domain)
        removed = operations_prune.prune(
            session, names, now=datetime.now(UTC), dry_run=dry_run, damaged=damaged
        )
    freed_bytes = sum(item.size_bytes for item in removed)
    verb = "would be freed" if dry_run else "freed"
    document = {
        "dry_run": dry_run,
        "freed_bytes": freed_bytes,
        "removed": [item.model_dump(mode="json") for item in removed],
    }
    shown = len(removed) if OUTPUT.get().verbosity > 0 else MAX_NAMES
    lines = [str(item) for item in removed[:shown]]
    if more := len(removed[shown:]):
        lines.append(f"and {more:,} more, with -v")
    lines.append(f"{len(removed)} items, {freed_bytes:,} bytes {verb}")
    print_result(lines, document, as_json=as_json)
    exit_with_worst(left_out=left_out)


app.add_typer(quarantine_app, name="quarantine", rich_help_panel="Store")
app.add_typer(manifest_app, name="manifest", rich_help_panel="Store")


@manifest_app.command("export")
def manifest_export(domain: OptionalDomain = None) -> None:
    """Write manifests/ from the event log.

    Files that are up to date are not written again.
    """
    from etl_assets.defs.export_manifest import export_on_request

    with open_session(domain) as session:
        names, left_out = select_domains(session.project, domain)

        def export(name: str) -> None:
            with _locked(session, name):
                written = export_on_request(session.for_domain(name), datetime.now(UTC))
            print_text(f"{name}: {', '.join(written) or 'nothing'} written")

        _, errors = work_on_each(names, export)
    exit_with_worst(errors=errors, left_out=left_out)


@manifest_app.command("verify")
def manifest_verify(domain: OptionalDomain = None, *, as_json: Json = False) -> None:
    """Hash every raw file that is listed in a manifest, and all tables and published files.

    Exits with 1 if a file is missing, altered, or not listed. `etl verify` checks a published set
    that was copied elsewhere.
    """
    from etl_assets.operations.manifest import verify_store

    with open_session(domain) as session:
        _, left_out = select_domains(session.project, domain)
        declared = session.for_domain(domain).domain if domain else None
        verification = verify_store(session, declared)
    print_result(verification.lines(), verification.model_dump(mode="json"), as_json=as_json)
    exit_with_worst(failed=bool(verification.faults), left_out=left_out)


@manifest_app.command("find")
def manifest_find(
    sha256: Annotated[
        str,
        typer.Argument(
            metavar="SHA256",
            help="The digest of a file, or its first digits, at least six.",
            show_default=False,
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show what a digest is of: a raw, published or quarantined file, and its runs.

    Exits with 1 if no file of this home has it.
    """
    from etl_assets.ledger.find_digest import find_digest
    from etl_assets.model.home import Home

    found = find_digest(Home(load_settings().home), sha256)
    lines = [line for file in found[:MAX_NAMES] for line in file.lines()]
    if more := len(found[MAX_NAMES:]):
        lines.append(f"and {more:,} more files, with --json")
    print_result(lines, [file.model_dump(mode="json") for file in found], as_json=as_json)


@manifest_app.command("restore")
def manifest_restore(domain: OptionalDomain = None, *, as_json: Json = False) -> None:
    """Fill an empty event log from manifests/.

    The next run then downloads only what has changed since.
    """
    from etl_assets.operations.manifest import list_exported_domains, restore

    with open_session(domain) as session:

        def restore_domain(name: str) -> RestoreResult:
            with _locked(session, name):
                return restore(session.for_domain(name))

        names = [domain] if domain else list_exported_domains(session.project)
        restored, errors = work_on_each(names, restore_domain)
    lines = []
    for each in restored:
        lines += each.lines()
    print_result(lines, [each.model_dump(mode="json") for each in restored], as_json=as_json)
    exit_with_worst(errors=errors)


@quarantine_app.command("list")
def quarantine_list(source: OptionalSource = None, *, as_json: Json = False) -> None:
    """List the quarantined files and why they were refused.

    The newest file of each source comes first.
    """
    from etl_assets.declarations.names import find_source
    from etl_assets.model.home import Home
    from etl_assets.validate import quarantine

    settings = load_settings()
    declarations = load_declarations(settings)
    domains, left_out = declarations.domains, declarations.broken
    if source:
        sources = [find_source(domains, source, left_out)]
        left_out = {}
    else:
        sources = [each for domain in domains.values() for each in domain.sources.values()]
    records = []
    for declared in sources:
        records += quarantine.list_quarantined(Home(settings.home, settings.scratch), declared)
    print_result(
        [str(record) for record in records] or ["no file is in quarantine"],
        [record.model_dump(mode="json") for record in records],
        as_json=as_json,
    )
    exit_with_worst(left_out=left_out.values())


@quarantine_app.command("show")
def quarantine_show(source: SourceName, sha256: Digest = None) -> None:
    """Print the record of one quarantined file as JSON."""
    from etl_assets.operations import quarantine

    with open_session() as session:
        declared = session.project.find_source(source)
        record = quarantine.find_quarantined(session.project, declared, sha256)
    print_result([], record.model_dump(mode="json"), as_json=True)


@quarantine_app.command("release")
def quarantine_release(source: SourceName, sha256: Digest = None, *, why: Why) -> None:
    """Accept a quarantined file, which the operator has inspected.

    It becomes the current file of the source.
    """
    from etl_assets.operations import quarantine

    with open_session() as session:
        declared = session.project.find_source(source)
        with _locked(session, declared.domain):
            record = quarantine.find_quarantined(session.project, declared, sha256)
            quarantine.release(
                session.for_domain(declared.domain), declared, record, **_decision(why)
            )
    print_text(f"{record.part}: {record.sha256} released\n`etl run {declared.domain}` applies it")


@quarantine_app.command("purge")
def quarantine_purge(
    source: OptionalSource = None,
    sha256: Digest = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Delete the files of all sources.")
    ] = False,
) -> None:
    """Delete quarantined files permanently.

    Deletes one file, all files of a source, or with --all every file.
    """
    from etl_assets.operations import quarantine

    with open_session() as session:
        sizes = quarantine.purge(session.project, source, sha256, everything=everything)
        left_out = session.project.broken.values() if everything else []
    print_text(f"{len(sizes)} files deleted, {sum(sizes):,} bytes freed")
    exit_with_worst(left_out=left_out)


def _decision(why: str) -> dict[str, Any]:
    """Returns who changed something, why and when, for the event log."""
    from etl_assets.storage.user import current_user

    return {"by": current_user(), "why": why, "at": datetime.now(UTC)}


@contextmanager
def _locked(session: ProjectSession, *domains: str) -> Iterator[None]:
    """Prevents runs of the domains for the duration of the block."""
    project = session.project
    with ExitStack() as stack:
        # Always in the same order, so that two commands cannot wait for each other.
        for name in sorted(domains):
            stack.enter_context(project.locks.take(name, on_wait=project.say))
        yield
