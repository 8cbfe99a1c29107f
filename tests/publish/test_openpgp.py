"""Keys that cannot sign are refused by name; an unchanged file keeps its signature."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from pysequoia import Cert
from support.openpgp_keys import PASSPHRASE, PROTECTED_KEY, write_key

from etl_assets.model.errors import HomeError, SettingsError
from etl_assets.publish import openpgp
from etl_assets.publish.openpgp import SetSignatures, SigningKey, load_signing_key
from etl_assets.publish.run_directory import write_sums
from etl_assets.storage.hashing import hash_file

NAMES = ["a.json", "2026/b.json"]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    write_key(tmp_path / "key")
    return load_signing_key(tmp_path / "key", None)


def make_set(folder: Path, **texts: str) -> dict[str, str]:
    """Write two files, and return their digests."""
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts.get(path.stem, "the same"))
    return {name: hash_file(folder / name) for name in NAMES}


def sign(folder: Path, key: SigningKey, previous: Path | None = None, **texts: str) -> None:
    digests = make_set(folder, **texts)
    digests |= openpgp.sign_files(folder, NAMES, digests, key, previous)
    write_sums(folder, digests)
    openpgp.sign_sums(folder, key)


def kept(folder: Path, previous: Path) -> list[str]:
    names = [f"{name}.asc" for name in NAMES]
    return [name for name in names if (folder / name).samefile(previous / name)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(b"", "Malformed Cert: No data", id="empty"),
        pytest.param(b"hello, I am no key", "unexpected EOF", id="text"),
        pytest.param(bytes(range(256)), "", id="bytes"),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=f"found {path}: {found}") as refused:
        load_signing_key(path, None)

    assert "\n" not in str(refused.value)


def test_a_public_key_is_refused(tmp_path: Path) -> None:
    certificate = write_key(tmp_path / "key")
    (tmp_path / "key").write_text(str(certificate))

    with pytest.raises(SettingsError, match=r"the public key [0-9A-F]{40} alone"):
        load_signing_key(tmp_path / "key", None)


def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path / "key", valid_seconds=1)

    with pytest.raises(SettingsError, match="expired at 20"):
        load_signing_key(tmp_path / "key", None)


def test_a_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ETL_SIGNING_KEY: .* No such file"):
        load_signing_key(tmp_path / "none", None)


@pytest.mark.parametrize(
    ("passphrase", "found"),
    [
        pytest.param(None, "found no such variable", id="none"),
        pytest.param("wr0ng-p4ssphrase", "found another text", id="wrong"),
        pytest.param("C0RRECT-P4SSPHRASE", "found another text", id="capitals"),
    ],
)
def test_a_wrong_passphrase_is_refused_and_not_shown(passphrase: str | None, found: str) -> None:
    secret = SecretStr(passphrase) if passphrase else None

    with pytest.raises(SettingsError, match=f"ETL_SIGNING_PASSPHRASE: .* {found}") as refused:
        load_signing_key(PROTECTED_KEY, secret)

    assert "p4ssphrase" not in str(refused.value).lower().replace("etl_signing_passphrase", "")


def test_a_protected_key_signs_with_its_passphrase(tmp_path: Path) -> None:
    key = load_signing_key(PROTECTED_KEY, SecretStr(PASSPHRASE))

    sign(tmp_path, key)

    certificate = Cert.from_bytes(key.public_key.encode())
    SetSignatures(tmp_path, certificate).check("a.json")


def test_a_passphrase_that_is_not_needed_is_ignored(tmp_path: Path) -> None:
    write_key(tmp_path / "key")

    assert load_signing_key(tmp_path / "key", SecretStr("unused")).fingerprint


def test_the_secret_key_is_in_no_text_of_the_object(key: SigningKey) -> None:
    assert repr(key) == (f"SigningKey(fingerprint='{key.fingerprint}', expires_at=None)")
    assert "PRIVATE" not in key.public_key


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param({}, ["a.json.asc", "2026/b.json.asc"], id="both the same"),
        pytest.param({"a": "other"}, ["2026/b.json.asc"], id="one changed"),
        pytest.param({"a": "other", "b": "other"}, [], id="both changed"),
    ],
)
def test_a_file_that_did_not_change_keeps_its_signature(
    tmp_path: Path, key: SigningKey, texts: dict[str, str], expected: list[str]
) -> None:
    sign(tmp_path / "old", key)

    sign(tmp_path / "new", key, tmp_path / "old", **texts)

    assert kept(tmp_path / "new", tmp_path / "old") == expected
    signatures = SetSignatures(tmp_path / "new", Cert.from_bytes(key.public_key.encode()))
    for name in (*NAMES, "SHA256SUMS"):
        signatures.check(name)


def test_another_key_signs_every_file_again(tmp_path: Path, key: SigningKey) -> None:
    sign(tmp_path / "old", key)
    certificate = write_key(tmp_path / "other")

    sign(tmp_path / "new", load_signing_key(tmp_path / "other", None), tmp_path / "old")

    assert kept(tmp_path / "new", tmp_path / "old") == []
    SetSignatures(tmp_path / "new", certificate).check("a.json")


@pytest.mark.parametrize("damaged", ["a.json.asc", "SHA256SUMS", "SHA256SUMS.asc"])
def test_no_signature_is_kept_that_is_not_proven(
    tmp_path: Path, key: SigningKey, damaged: str
) -> None:
    sign(tmp_path / "old", key)
    (tmp_path / "old" / damaged).write_text("other\n")

    sign(tmp_path / "new", key, tmp_path / "old")

    assert "a.json.asc" not in kept(tmp_path / "new", tmp_path / "old")
    SetSignatures(tmp_path / "new", Cert.from_bytes(key.public_key.encode())).check("a.json")


def test_damaged_bytes_are_not_signed(tmp_path: Path, key: SigningKey) -> None:
    digests = make_set(tmp_path)
    (tmp_path / "a.json").write_text("damaged")

    with pytest.raises(HomeError, match=r"a\.json: expected the file that was written"):
        openpgp.sign_files(tmp_path, NAMES, digests, key, None)

    assert not (tmp_path / "a.json.asc").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.json", "altered", "a.json.asc: is no valid signature of"),
        ("a.json.asc", "no signature", "a.json.asc: is no signature"),
        ("a.json.asc", None, "a.json.asc: No such file"),
        ("a.json", None, "a.json: No such file"),
    ],
)
def test_a_signature_that_does_not_fit_is_named(
    tmp_path: Path, key: SigningKey, file: str, text: str | None, message: str
) -> None:
    sign(tmp_path, key)
    (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)

    with pytest.raises(HomeError, match=message):
        SetSignatures(tmp_path, Cert.from_bytes(key.public_key.encode())).check("a.json")


def test_a_signature_of_another_file_does_not_fit(tmp_path: Path, key: SigningKey) -> None:
    sign(tmp_path, key, a="one", b="two")
    (tmp_path / "2026/b.json.asc").replace(tmp_path / "a.json.asc")

    with pytest.raises(HomeError, match="no valid signature"):
        SetSignatures(tmp_path, Cert.from_bytes(key.public_key.encode())).check("a.json")
