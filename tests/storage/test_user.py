"""The operator's name, as the system has it."""

from __future__ import annotations

import os
import pwd

import pytest

from etl_assets.storage.user import current_user

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_the_login_name_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "robin")

    assert current_user() == "robin"


def test_without_a_login_name_the_account_name_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    assert current_user() == pwd.getpwuid(os.getuid()).pw_name
