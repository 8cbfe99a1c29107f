"""OpenPGP keys for tests, and a set of the orchard with documents that are signed one by one."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pysequoia import Cert, Tsk
from pysequoia.packet import PacketPile, Tag

from etl_assets.declarations import codegen
from etl_assets.publish.run_directory import SIGNATURE_SUFFIX

PROTECTED_KEY = Path(__file__).parent / "protected_key.asc"  # made by gpg, for these tests alone
PASSPHRASE = "c0rrect-p4ssphrase"

CSAF_DOCUMENT = """\
  - file: csaf
    title: Diseases of each tree
    format: csaf
    from: doc_orchard__diseases
    options:
      base_url: https://orchard.example
      id_prefix: ORCHARD-
      publisher_name: Orchard
      publisher_namespace: https://orchard.example
      purl_type: generic
gate:
"""
CSAF_MODEL = """\
-- One row per tree: its document, which is released again whenever the tree's period changes.
with times as (
    select tree_id, effective_from as released_at from {{ ref('mart_tree_history') }}
    union
    select tree_id, effective_to as released_at from {{ ref('mart_tree_history') }}
    where effective_to is not null
)

select
    tree_id as package_name,
    'CVE-2026-900001' as vulnerability_id,
    null::varchar as id_system,
    null::varchar as page_url,
    null::varchar as record_url,
    null::varchar as version,
    [struct_pack(name := tree_id, version := null::varchar, arch := null::varchar)] as products,
    'under_investigation' as product_status,
    null::varchar as flag,
    'Looked at ' || count(*) || ' times.' as note,
    null::varchar as impact,
    null::varchar as remediation_category,
    null::varchar as remediation,
    null::varchar as cvss_vector,
    min(released_at) as stated_at,
    min(released_at) as first_released_at,
    max(released_at) as last_released_at,
    list(struct_pack(released_at := released_at, summary := 'Looked at.') order by released_at)
        as revisions,
from times
group by tree_id
"""
CSAF_PROPERTIES = """\
version: 2

models:
  - name: doc_orchard__diseases
    description: One row per tree.
    config:
      materialized: table
      meta:
        key: [package_name, vulnerability_id]
"""


def write_key(path: Path, *, valid_seconds: int | None = None, user: str = "Gardener") -> Cert:
    """Write a new secret key to a file, and return its public part."""
    secret = Tsk.generate(f"{user} <gardener@garden.example>", validity_seconds=valid_seconds)
    path.write_text(str(secret), encoding="utf-8")
    return secret.extract_certificate()


def write_key_with_part(path: Path, part_days: int | None) -> None:
    """Write a secret key of which the part that signs ends before the primary key does."""
    seconds = None if part_days is None else part_days * 86_400
    secret = Tsk.generate("Gardener <gardener@garden.example>", validity_seconds=seconds)
    later = datetime.now(UTC) + timedelta(days=365 + (part_days or 0))
    extended = secret.extract_certificate().set_expiration(later, secret.certifier())
    packets = list(PacketPile.from_bytes(str(secret).encode()))
    public = list(PacketPile.from_bytes(str(extended).encode()))
    parts = next(n for n, packet in enumerate(packets) if packet.tag == Tag.SecretSubkey)
    public_parts = next(n for n, packet in enumerate(public) if packet.tag == Tag.PublicSubkey)
    whole = Tsk.from_packets([packets[0], *public[1:public_parts], *packets[parts:]])
    path.write_text(str(whole), encoding="utf-8")


def declare_signed_documents(project: Path) -> None:
    """Add a CSAF document per tree to the orchard's declarations."""
    declaration = project / "domains/orchard/_domain.yaml"
    text = declaration.read_text(encoding="utf-8")
    declaration.write_text(text.replace("gate:\n", CSAF_DOCUMENT), encoding="utf-8")
    folder = project / "dbt_project/models/orchard/documents"
    folder.mkdir()
    (folder / "doc_orchard__diseases.sql").write_text(CSAF_MODEL, encoding="utf-8")
    (folder / "_documents.yml").write_text(CSAF_PROPERTIES, encoding="utf-8")
    codegen.write_dbt_properties(project / "domains", project / "dbt_project")


def find_signatures(directory: Path) -> dict[str, Path]:
    """Return the signatures in a set by the file that they belong to."""
    paths = directory.rglob(f"*{SIGNATURE_SUFFIX}")
    names = {path.relative_to(directory).as_posix(): path for path in paths}
    return {
        name.removesuffix(SIGNATURE_SUFFIX): path
        for name, path in names.items()
        if name != "signing_key.asc"
    }


def gpgv(folder: Path, key: Cert, signature: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """Check a signature with the program of GnuPG, which knows this key alone."""
    keyring = folder / "keyring.gpg"
    keyring.write_bytes(bytes(key))
    command = ["gpgv", "--keyring", str(keyring), str(signature), str(file)]
    return subprocess.run(command, check=False, capture_output=True, text=True)
