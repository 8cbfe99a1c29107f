"""Messages as a webhook and a mailbox receive them, and failures to send."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr
from support.notification_servers import TOKEN, MailServer, WebhookServer

from etl_assets.notify.notification import Notification
from etl_assets.notify.send import send, target_id

NOTIFICATION = Notification(
    kind="failure",
    title="orchard: failed",
    lines=["orchard.fruits: missing <b>", "next actions:"],
)


def test_a_web_hook_gets_title_lines_and_kind(webhook: WebhookServer) -> None:
    unsent = send(SecretStr(webhook.target), 1, NOTIFICATION)

    [message] = webhook.messages
    assert unsent is None
    assert message["title"] == "orchard: failed"
    assert message["message"] == "orchard.fruits: missing <b>\nnext actions:"
    assert message["type"] == "failure"


def test_a_mailbox_gets_a_mail_of_plain_text(
    mail_server: MailServer,
) -> None:
    unsent = send(SecretStr(mail_server.target), 1, NOTIFICATION)

    [letter] = mail_server.messages
    assert unsent is None
    assert (letter["to"], letter["subject"]) == ("owner@example.org", "orchard: failed")
    assert "orchard.fruits: missing" in letter["text"]


@pytest.mark.fault("secrets", "unheard")
def test_a_refusing_target_is_reported_without_its_secrets(
    webhook: WebhookServer, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status = 401
    caplog.set_level(logging.DEBUG)

    unsent = send(SecretStr(webhook.target), 2, NOTIFICATION)

    assert unsent
    assert str(unsent).startswith("not notified: target 2 of ETL_NOTIFY (JSON): Failed to send")
    assert "401" in unsent.reason
    assert not [s for s in (TOKEN, "passw0rd") if s in f"{unsent}{caplog.text}"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nonsense://somewhere/s3cret", "expected an address that apprise knows, found another"),
        ("json://127.0.0.1:1/s3cret", "Connection error"),
    ],
    ids=["unknown", "nobody there"],
)
def test_an_unreachable_target_is_reported(
    address: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    unsent = send(SecretStr(address), 1, NOTIFICATION)

    assert unsent
    assert why in unsent.reason
    assert "s3cret" not in f"{unsent}{caplog.text}"


def test_the_id_of_a_target_is_a_digest() -> None:
    assert target_id(SecretStr("json://example.org/s3cret")) == target_id(
        SecretStr("json://example.org/s3cret")
    )
    assert len(target_id(SecretStr("json://example.org/s3cret"))) == 16
