"""What a demo leaves: a home that further commands use, and samples as a mirror for own runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_homes import Galaxy, call, empty_galaxy, packed_galaxy

__all__ = ["empty_galaxy", "packed_galaxy"]

Shown = pytest.CaptureFixture[str]


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("arguments", [[], ["--keep", "kept"]], ids=["default", "named"])
def test_a_demo_keeps_its_home_and_names_what_to_do_next(
    empty_galaxy: Galaxy, capsys: Shown, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    folder = Path.cwd() / ("kept" if arguments else "etl-demo/galaxy")
    assert call("demo", "galaxy", *arguments) == 0

    shown = capsys.readouterr()
    assert f"Everything is written to {folder}\n" in shown.out
    assert shown.err.count("fetching files ...") == 3
    [report] = re.findall(r"open the report +file://(\S+)", shown.out)
    assert Path(report).is_file()
    [command] = re.findall(r"see the state +(.+)", shown.out)
    variable, *words = shlex.split(command)
    monkeypatch.setenv(*variable.split("=", 1))
    monkeypatch.delenv("ETL_MIRROR")
    assert call(*words[1:]) == 0
    assert "galaxy: partial_success" in capsys.readouterr().out
    assert call("run", "galaxy") == 0  # with the mirror of the demo
    assert "made from samples, not from real feeds" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.ci
def test_a_demo_replaces_the_folder_of_the_last_one_and_no_other(
    empty_galaxy: Galaxy, capsys: Shown
) -> None:
    Path("etl-demo/galaxy").mkdir(parents=True)
    Path("etl-demo/galaxy/.etl-demo").touch()
    Path("etl-demo/galaxy/old").touch()
    Path("mine").mkdir()
    Path("mine/file").touch()

    assert call("demo", "galaxy", "--keep", "mine") == 2
    assert call("demo", "galaxy") == 0

    assert "--keep: expected an empty folder or one of a demo" in capsys.readouterr().err
    assert Path("mine/file").exists()
    assert not Path("etl-demo/galaxy/old").exists()


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("is_on_path", [True, False], ids=["activated", "by path"])
def test_the_next_steps_can_be_called_as_they_are_printed(
    empty_galaxy: Galaxy, capsys: Shown, monkeypatch: pytest.MonkeyPatch, is_on_path: bool
) -> None:
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin" if is_on_path else "/usr/bin:/bin")
    assert call("demo", "galaxy") == 0
    [command] = re.findall(r"see the state +(.+)", capsys.readouterr().out)

    shown = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)

    assert shown.stdout.startswith("galaxy: partial_success")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("domain", ["galaxy", "molding", "transit"])
def test_samples_are_packed_as_a_mirror_that_a_run_uses_and_names(
    empty_galaxy: Galaxy, capsys: Shown, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    assert call("demo", domain, "--mirror", "packed") == 0
    for line in capsys.readouterr().out.splitlines():
        variable = shlex.split(line.removeprefix("export "))[0]
        monkeypatch.setenv(*variable.split("=", 1))

    assert call("run", domain) == 0

    assert "made from samples, not from real feeds" in capsys.readouterr().out
    call("health", domain)
    assert "packed has samples; expected copies of the real feeds" in capsys.readouterr().out


def test_a_mirror_of_real_feeds_is_not_overwritten(empty_galaxy: Galaxy, capsys: Shown) -> None:
    mirror = os.fspath(empty_galaxy.mirror)

    assert call("demo", "galaxy", "--mirror", mirror) == 2

    assert "--mirror: expected an empty folder or one of samples" in capsys.readouterr().err


def test_keep_and_mirror_exclude_each_other(empty_galaxy: Galaxy, capsys: Shown) -> None:
    assert call("demo", "galaxy", "--mirror", "a", "--keep", "b") == 2

    assert "--keep: expected it or --mirror, found both" in capsys.readouterr().err
