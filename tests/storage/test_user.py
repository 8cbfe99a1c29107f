"""Who decides, as far as the system knows."""

from __future__ import annotations

import os
import pwd

import pytest

from etl_assets.storage.user import current_user

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_a_person_is_named_by_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "robin")

    assert current_user() == "robin"


def test_without_a_login_the_account_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    assert current_user() == pwd.getpwuid(os.getuid()).pw_name
