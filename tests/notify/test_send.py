"""Messages as a web hook and a letter box get them, and what is told where none arrives."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr
from support.notification_servers import TOKEN, Hook, Letters

from etl_assets.notify.notice import Notification
from etl_assets.notify.send import send, target_id

NOTICE = Notification(
    kind="failure",
    title="orchard: failed",
    lines=["orchard.fruits: missing <b>", "a person is asked to:"],
)


def test_a_web_hook_gets_title_lines_and_kind(hook: Hook) -> None:
    unsent = send(SecretStr(hook.target), 1, NOTICE)

    [message] = hook.messages
    assert unsent is None
    assert message["title"] == "orchard: failed"
    assert message["message"] == "orchard.fruits: missing <b>\na person is asked to:"
    assert message["type"] == "failure"


def test_a_letter_box_gets_a_letter_whose_text_is_no_markup(
    letters: Letters,
) -> None:
    unsent = send(SecretStr(letters.target), 1, NOTICE)

    [letter] = letters.letters
    assert unsent is None
    assert (letter["to"], letter["subject"]) == ("owner@example.org", "orchard: failed")
    assert "orchard.fruits: missing" in letter["text"]


@pytest.mark.fault("secrets", "unheard")
def test_a_target_that_refuses_is_told_without_its_secrets(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.status = 401
    caplog.set_level(logging.DEBUG)

    unsent = send(SecretStr(hook.target), 2, NOTICE)

    assert unsent
    assert str(unsent).startswith("not notified: target 2 of ETL_NOTIFY (JSON): Failed to send")
    assert "401" in unsent.why
    assert not [s for s in (TOKEN, "passw0rd") if s in f"{unsent}{caplog.text}"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nonsense://somewhere/s3cret", "expected an address that apprise knows, found another"),
        ("json://127.0.0.1:1/s3cret", "Connection error"),
    ],
    ids=["unknown", "nobody there"],
)
def test_a_target_that_cannot_be_reached_is_told(
    address: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    unsent = send(SecretStr(address), 1, NOTICE)

    assert unsent
    assert why in unsent.why
    assert "s3cret" not in f"{unsent}{caplog.text}"


def test_what_stands_for_a_target_does_not_name_it() -> None:
    assert target_id(SecretStr("json://example.org/s3cret")) == target_id(
        SecretStr("json://example.org/s3cret")
    )
    assert len(target_id(SecretStr("json://example.org/s3cret"))) == 16
