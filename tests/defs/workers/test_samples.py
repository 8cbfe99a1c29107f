"""The samples of every domain on a worker, and the real feeds: the same bytes as on one host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cluster import RedisServer, open_cluster, redis_server
from support.postgres import PostgresServer, postgres_server
from support.sample_home import SampleHome

from etl_assets.declarations.load import load
from etl_assets.demo import samples
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory
from etl_assets.settings import Settings

__all__ = ["postgres_server", "redis_server"]

FEEDS = os.environ.get("ETL_MIRROR")  # noqa: TID251 - where the real feeds are

pytestmark = pytest.mark.long


def create_home(folder: Path, domain: str) -> SampleHome:
    """Create a home of the samples of a domain, with their seeds if they have any."""
    kind: type[SampleHome] = type(f"{domain.title()}Home", (SampleHome,), {"name": domain})
    home = kind.create(folder)
    samples.overlay_seeds(home.sample_dir, home.settings.dbt_dir, domain, folder / "dbt_project")
    return kind(folder)


def published(home: SampleHome) -> RunManifest:
    return run_directory.read_manifest(home.latest)


def require_same_bytes(
    folder: Path, shared: SampleHome, plain: SampleHome, servers: tuple[PostgresServer, RedisServer]
) -> None:
    """Run both homes, one of them on a worker, and compare what they publish."""
    with open_cluster(folder, shared, *servers) as cluster:
        cluster.start_worker("pear")
        as_of = SampleHome.as_of.replace(tzinfo=None).isoformat()
        result = cluster.call("run", shared.name, "--as-of", as_of)
    assert result.returncode == 0, result.stderr
    assert plain.run(RunOptions(as_of=SampleHome.as_of)).published

    on_worker, here = published(shared), published(plain)
    assert digests_of(on_worker) == digests_of(here)
    assert on_worker.documents == here.documents
    assert on_worker.documents


def digests_of(manifest: RunManifest) -> dict[str, str]:
    """Return the digests of the marts, without the one that names the times of downloads."""
    digests = {mart.model: mart.sha256 for mart in manifest.marts}
    return {name: digest for name, digest in digests.items() if "source_health" not in name}


@pytest.mark.parametrize("domain", sorted(load(Settings.load().domains_dir)))
def test_the_samples_of_a_domain_make_the_same_bytes(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer, domain: str
) -> None:
    homes = [create_home(tmp_path / name, domain) for name in ("shared", "plain")]

    require_same_bytes(tmp_path, *homes, (postgres_server, redis_server))


@pytest.mark.skipif(FEEDS is None, reason="needs the real feeds: ETL_MIRROR")
def test_the_real_feeds_make_the_same_bytes(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    homes = [SampleHome(tmp_path / name, mirror_url=FEEDS) for name in ("shared", "plain")]

    require_same_bytes(tmp_path, *homes, (postgres_server, redis_server))
