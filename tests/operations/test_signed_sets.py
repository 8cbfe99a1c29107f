"""A set is signed with the key of the settings, and refused if it cannot be signed whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from pysequoia import Cert
from support.command_homes import call
from support.openpgp_keys import (
    PASSPHRASE,
    PROTECTED_KEY,
    declare_signed_documents,
    find_signatures,
    gpgv,
    write_key,
    write_key_with_part,
)
from support.orchard import FIRST, Files, Orchard, create_project

from etl_assets.model.errors import BuildError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.health_checks import machine
from etl_assets.operations.replay import replay
from etl_assets.operations.restore import restore_set
from etl_assets.operations.verify import SetVerification, verify_set
from etl_assets.publish import documents, set_index
from etl_assets.publish.run_directory import read_manifest, read_sums
from etl_assets.storage.hashing import hash_file

BuildOnce = Callable[[str, Callable[[Path], object]], Path]
TREES = 4
HOUR = timedelta(hours=1)


class Signed(Orchard):
    """The orchard with a document per tree, and a key."""

    def sign_with(self, path: Path | None) -> None:
        self.settings = self.settings.model_copy(update={"signing_key": path})

    def run_at(self, hour: int) -> RunManifest:
        return self.run(RunOptions(as_of=FIRST + hour * HOUR))

    def verify(self, key: Cert | None = None) -> SetVerification:
        return verify_set(self.latest, key)


@pytest.fixture(scope="session")
def signed_run(build_once: BuildOnce) -> Path:
    """A home with one signed set, beside its key."""

    def build(folder: Path) -> None:
        project = create_project(folder / "project")
        declare_signed_documents(project)
        write_key(folder / "key")
        orchard = Signed(folder / "live", project=project)
        orchard.serve(Files.create(TREES))
        orchard.sign_with(folder / "key")
        assert orchard.run_at(0).status is RunStatus.SUCCESS

    return build_once("signed", build)


@pytest.fixture
def signed(signed_run: Path, tmp_path: Path) -> Signed:
    shutil.copytree(signed_run, tmp_path / "copy", symlinks=True)
    orchard = Signed(tmp_path / "copy/live", project=tmp_path / "copy/project")
    orchard.sign_with(tmp_path / "copy/key")
    return orchard


@pytest.fixture
def certificate(signed: Signed) -> Cert:
    return Cert.from_file(str(signed.latest / "signing_key.asc"))


def documents_of(orchard: Signed) -> set[str]:
    return {f"csaf/2026/orchard-t-{number}.json" for number in range(1, TREES + 1)}


def change_first_tree(orchard: Signed) -> None:
    files = Files.create(TREES)
    files.notes["T-1"] = "has a new note"
    orchard.serve(files)


def test_every_document_and_the_sums_are_signed(signed: Signed, certificate: Cert) -> None:
    verified = signed.verify()

    fingerprint = certificate.fingerprint.upper()
    assert verified.faults == []
    assert verified.signed_by == fingerprint
    assert set(find_signatures(signed.latest)) == {*documents_of(signed), "SHA256SUMS"}
    assert {f"{name}.asc" for name in documents_of(signed)} <= set(read_sums(signed.latest))
    signing = read_manifest(signed.latest).signing
    assert signing is not None
    assert (signing.key, signing.files) == (fingerprint, TREES)
    metadata = (signed.latest / "csaf/provider-metadata.json").read_text()
    assert "csaf_trusted_provider" in metadata
    assert fingerprint in metadata


@pytest.mark.ci
def test_gpgv_accepts_every_signature(signed: Signed, certificate: Cert, tmp_path: Path) -> None:
    assert shutil.which("gpgv"), "the Debian package gpgv is required"

    for name, signature in find_signatures(signed.latest).items():
        checked = gpgv(tmp_path, certificate, signature, signed.latest / name)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.ci
def test_gpgv_refuses_other_bytes(signed: Signed, certificate: Cert, tmp_path: Path) -> None:
    assert shutil.which("gpgv"), "the Debian package gpgv is required"
    signature = find_signatures(signed.latest)["SHA256SUMS"]

    checked = gpgv(tmp_path, certificate, signature, signed.latest / "manifest.json")

    assert "BAD signature" in checked.stderr
    assert checked.returncode == 1


def test_only_a_changed_document_is_signed_again(signed: Signed) -> None:
    before = find_signatures(signed.latest)
    change_first_tree(signed)

    manifest = signed.run_at(1)

    assert manifest.published, manifest.note
    assert manifest.note == ""
    after = find_signatures(signed.latest)
    assert {n for n in after if not after[n].samefile(before[n])} == {
        "csaf/2026/orchard-t-1.json",
        "SHA256SUMS",
    }
    assert signed.verify().faults == []


def test_a_run_that_finds_nothing_leaves_the_signed_set(signed: Signed) -> None:
    before = signed.latest

    manifest = signed.run_at(1)

    assert manifest.published_set == before.name
    assert manifest.signing is None


def test_another_key_signs_a_new_set_and_is_reported(signed: Signed, certificate: Cert) -> None:
    before, old_set = find_signatures(signed.latest), signed.latest
    other = write_key(signed.folder / "other", user="Successor")
    signed.sign_with(signed.folder / "other")

    manifest = signed.run_at(1)

    old, new = certificate.fingerprint.upper(), other.fingerprint.upper()
    assert manifest.published
    assert f"signed with another key, {new}, than the one before, {old}" in manifest.note
    after = find_signatures(signed.latest)
    assert not any(after[name].samefile(before[name]) for name in after)
    name = "csaf/2026/orchard-t-1.json"
    assert (signed.latest / name).samefile(old_set / name)
    assert new in (signed.latest / "csaf/provider-metadata.json").read_text()
    assert signed.verify(other).faults == []
    assert any("no valid signature" in fault for fault in signed.verify(certificate).faults)


def test_without_the_key_the_next_set_is_unsigned_and_says_so(signed: Signed) -> None:
    signed.sign_with(None)

    manifest = signed.run_at(1)

    assert "warning: the set is no longer signed" in manifest.note
    assert find_signatures(signed.latest) == {}
    assert not (signed.latest / "signing_key.asc").exists()
    metadata = (signed.latest / "csaf/provider-metadata.json").read_text()
    assert '"role":"csaf_provider"' in metadata
    assert signed.verify().faults == []


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("change", [False, True], ids=["signed once", "signed twice"])
def test_a_replay_compares_no_signatures_and_is_equal(signed: Signed, change: bool) -> None:
    if change:
        write_key(signed.folder / "other")
        signed.sign_with(signed.folder / "other")
        assert signed.run_at(1).published
    signed.sign_with(None)

    with signed.session() as session:
        replayed = replay(session.project, "latest")

    assert replayed.different == []
    assert "csaf/provider-metadata.json" in replayed.equal
    assert not [name for name in replayed.equal if name.endswith(".asc")]


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("csaf/2026/orchard-t-1.json.asc", None, "orchard-t-1.json.asc: is missing"),
        ("csaf/2026/orchard-t-1.json.asc", "x", "orchard-t-1.json.asc: is no signature"),
        ("csaf/2026/orchard-t-1.json", "{}", "orchard-t-1.json.asc: is no valid signature"),
        ("SHA256SUMS.asc", None, "SHA256SUMS.asc: No such file"),
        ("SHA256SUMS", "", "SHA256SUMS.asc: is no valid signature"),
        ("signing_key.asc", None, "signing_key.asc: No such file"),
        ("signing_key.asc", "x", "expected an OpenPGP public key"),
    ],
)
def test_verify_names_what_is_wrong(
    signed: Signed, file: str, text: str | None, fault: str
) -> None:
    path = signed.latest / file
    path.unlink()
    if text is not None:
        path.write_text(text)

    verified = signed.verify()

    assert any(fault in each for each in verified.faults), verified.faults
    assert verified.signed_by is None


def test_a_set_whose_sums_were_made_again_is_found(signed: Signed) -> None:
    """Sums, index and manifest can be made to fit an altered file; the signature cannot."""
    path = signed.latest / "csaf/security.txt"
    old = read_sums(signed.latest)["csaf/security.txt"]
    path.chmod(0o644)
    path.write_text("CSAF: https://elsewhere.example\n")
    sums = signed.latest / "SHA256SUMS"
    sums.chmod(0o644)
    sums.write_text(sums.read_text().replace(old, hash_file(path)))

    assert any("SHA256SUMS.asc: is no valid" in fault for fault in signed.verify().faults)


@pytest.mark.parametrize("kind", ["a folder", "a file", "nothing"])
def test_verify_names_a_symbolic_link(signed: Signed, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "elsewhere"
    if kind == "a folder":
        target.mkdir()
        (target / "more.json").write_text("{}")
    elif kind == "a file":
        target.write_bytes((signed.latest / "trees.json").read_bytes())
    (signed.latest / "csaf" / "link").symlink_to(target)

    faults = signed.verify().faults

    assert any(fault.startswith("csaf/link: is a symbolic link, to ") for fault in faults), faults


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    "damaged", ["csaf/2026/orchard-t-2.json.asc", "SHA256SUMS.asc", "signing_key.asc"]
)
def test_the_next_run_signs_again_what_was_damaged(signed: Signed, damaged: str) -> None:
    path = signed.latest / damaged
    path.unlink()
    path.write_text("damaged")

    manifest = signed.run_at(1)

    assert manifest.published, manifest.note
    assert signed.verify().faults == []


def test_the_public_key_decides_which_signature_counts(
    signed: Signed, certificate: Cert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "right").write_text(str(certificate))
    (tmp_path / "wrong").write_text(str(write_key(tmp_path / "other")))
    (tmp_path / "none").write_text("no key")
    directory = str(signed.latest)

    assert call("verify", directory) == 0
    assert f"signed by {certificate.fingerprint.upper()} (Gardener" in capsys.readouterr().out
    assert call("verify", directory, "--key", str(tmp_path / "right")) == 0
    assert "the given key: 5 signatures are valid" in capsys.readouterr().out
    assert call("verify", directory, "--key", str(tmp_path / "wrong")) == 1
    assert call("verify", directory, "--key", str(tmp_path / "none")) == 2
    assert call("verify", directory, "--key", str(tmp_path / "missing")) == 2
    assert "expected a public key" in capsys.readouterr().err


def test_an_unsigned_set_is_refused_if_a_key_is_given(signed: Signed, certificate: Cert) -> None:
    signed.sign_with(None)
    assert signed.run_at(1).published

    assert signed.verify(certificate).faults == [
        "SHA256SUMS.asc: expected a signature of the given key, found none"
    ]


def test_a_restored_set_is_signed_with_the_current_key(signed: Signed) -> None:
    first = signed.latest.name
    other = write_key(signed.folder / "other")
    signed.sign_with(signed.folder / "other")
    assert signed.run_at(1).published

    with signed.session() as session:
        restore_set(session, first)

    assert signed.verify(other).faults == []
    manifest = signed.run_at(2)
    assert manifest.published, manifest.note
    assert signed.verify(other).faults == []


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("key", ["another", "none", "the same"])
def test_the_documents_of_a_restored_set_name_the_current_key(signed: Signed, key: str) -> None:
    first = signed.latest
    metadata = "csaf/provider-metadata.json"
    old = (first / metadata).read_bytes()
    if key != "the same":
        signed.sign_with(None)
    if key == "another":
        write_key(signed.folder / "other")
        signed.sign_with(signed.folder / "other")
    assert signed.run_at(1).published == (key != "the same")

    with signed.session() as session:
        restore_set(session, first.name)
        fingerprint = session.key_fingerprint

    provider = json.loads((signed.latest / metadata).read_bytes())
    named = [each["fingerprint"] for each in provider.get("public_openpgp_keys", [])]
    assert named == ([fingerprint] if fingerprint else [])
    assert provider["role"] == ("csaf_trusted_provider" if fingerprint else "csaf_provider")
    assert signed.verify().faults == []
    for path in first.glob("csaf/*/*.json"):
        assert path.read_bytes() == (signed.latest / path.relative_to(first)).read_bytes()
    if key == "the same":
        assert (signed.latest / metadata).read_bytes() == old
    # The next run finds nothing to correct in the documents.
    restored = signed.latest
    signed.run_at(2)
    assert (signed.latest / metadata).read_bytes() == (restored / metadata).read_bytes()


@pytest.mark.parametrize("unusable", ["no key", "public", "expired", "locked", "missing"])
def test_an_unusable_key_ends_the_command_before_anything_is_fetched(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    unusable: str,
) -> None:
    orchard = Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create(TREES))
    key = tmp_path / "key"
    if unusable == "public":
        key.write_text(str(write_key(key)))
    elif unusable == "expired":
        write_key(key, valid_seconds=1)
    elif unusable == "locked":
        key = PROTECTED_KEY
        monkeypatch.setenv("ETL_SIGNING_PASSPHRASE", "wr0ng")
    elif unusable == "no key":
        key.write_text("no key")
    orchard.write_env_file(ETL_SIGNING_KEY=str(key))
    monkeypatch.setenv("ETL_HOME", str(orchard.home.root))

    assert call("run", "orchard") == 2

    error = capsys.readouterr().err
    assert "ETL_SIGNING_" in error
    assert "wr0ng" not in error
    assert not orchard.home.raw.exists()
    assert not orchard.home.outputs("orchard").exists()


@pytest.mark.long
@pytest.mark.ci
def test_neither_key_nor_passphrase_is_written_anywhere(tmp_path: Path) -> None:
    orchard = Signed(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create(TREES))
    orchard.settings = orchard.settings.model_copy(
        update={"signing_key": PROTECTED_KEY, "signing_passphrase": SecretStr(PASSPHRASE)}
    )
    lines: list[str] = []

    manifest = orchard.run(RunOptions(as_of=FIRST), echo=lines.append)

    assert manifest.published, manifest.note
    secrets = [PASSPHRASE, "PRIVATE KEY", *PROTECTED_KEY.read_text().splitlines()[2:4]]
    contents = [path.read_bytes() for path in orchard.home.root.rglob("*") if path.is_file()]
    contents.append("\n".join(lines).encode())
    assert not [s for s in secrets if any(s.encode() in content for content in contents)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("an extra document", r"csaf/2026/other\.json does not belong to it"),
        ("a missing document", r"csaf/2026/orchard-t-1\.json\.sha256 is missing"),
    ],
)
def test_a_set_that_is_not_complete_is_not_published(
    signed: Signed, fault: str, message: str
) -> None:
    before = signed.latest
    manifest = read_manifest(before)
    files = set_index.read_index(before, manifest)
    candidate = before.with_name("20260302_000000")
    shutil.copytree(before, candidate)
    for path in candidate.rglob("*.asc"):
        path.unlink()
    for name in ("SHA256SUMS", "manifest.json"):
        (candidate / name).unlink()
    if fault == "an extra document":
        (candidate / "csaf/2026/other.json").write_text("{}")
    else:
        (candidate / "csaf/2026/orchard-t-1.json.sha256").unlink()
    with signed.session() as session:
        key = session.project.signing_key

        with pytest.raises(BuildError, match=message):
            documents.publish_candidate(
                signed.home,
                candidate,
                manifest,
                files,
                key=key,
                signed_files=sorted(documents_of(signed)),
            )

    assert signed.latest == before
    assert not (candidate / "SHA256SUMS").exists()
    assert not (candidate / "SHA256SUMS.asc").exists()


@pytest.mark.parametrize(
    ("part_days", "level"), [(20, "warn"), (29, "warn"), (40, "ok"), (None, "ok")]
)
def test_health_looks_at_the_part_that_signs(
    tmp_path: Path, part_days: int | None, level: str
) -> None:
    """The primary key is valid for a year longer than the part."""
    write_key_with_part(tmp_path / "key", part_days)

    [finding] = machine.check_signing_key(tmp_path / "key", None, datetime.now(UTC))

    assert finding.level == level, finding


@pytest.mark.parametrize(
    ("valid_seconds", "level", "text"),
    [
        pytest.param(None, "ok", "can sign", id="valid"),
        pytest.param(40 * 86_400, "ok", "can sign", id="valid for a while"),
        pytest.param(20 * 86_400, "warn", "expires at", id="expires soon"),
        pytest.param(1, "error", "expired at", id="expired"),
    ],
)
def test_health_says_whether_the_key_can_sign(
    tmp_path: Path, valid_seconds: int | None, level: str, text: str
) -> None:
    write_key(tmp_path / "key", valid_seconds=valid_seconds)

    [finding] = machine.check_signing_key(tmp_path / "key", None, datetime.now(UTC))

    assert finding.level == level
    assert text in finding.actual
