"""Secrets that runs use appear in no file that they write and in no message that they print."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from support import misbehaving_server as faults
from support.misbehaving_server import MisbehavingServer
from support.notification_servers import TOKEN, WebhookServer
from support.sample_home import AS_OF, SampleHome

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Location, Source
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain

KEY, PROXY, SIGNATURE = "k3y-for-the-feed", "pr0xy-passw0rd", "s1gnature-of-an-address"
SECRETS = (KEY, PROXY, SIGNATURE, TOKEN, "passw0rd")
KEV = "/kev.json"


def move_kev_to(server: MisbehavingServer, sample: SampleHome) -> Domain:
    """Return the domain with one source behind a credential and a signed URL, others on disk."""
    kev = sample.domain.sources["kev"]
    kev_file = next(sample.mirror.glob("www.cisa.gov/**/*.json"))
    server.publish(f"{KEV}?X-Amz-Signature={SIGNATURE}", kev_file.read_bytes())
    server.always[KEV] = faults.redirects(f"{KEV}?X-Amz-Signature={SIGNATURE}")
    credentials = {"Authorization": {"env": "FEED_KEY", "prefix": "Bearer "}}
    location = Location.model_validate({"url": server.url + KEV, "credentials": credentials})
    sources = {
        name: read_from_disk(source, sample) for name, source in sample.domain.sources.items()
    }
    sources["kev"] = kev.model_copy(update={"location": location})
    return sample.domain.model_copy(update={"sources": sources})


def read_from_disk(source: Source, sample: SampleHome) -> Source:
    file = sample.mirror / (source.location.url or source.location.path or "").partition("://")[2]
    if source.location.path:
        file = sample.mirror / source.location.path
    return source.model_copy(update={"location": Location(path=str(file))})


def find_secrets(folder: Path, output: str) -> Iterator[str]:
    """Yield each place where a secret appears: file contents, file names, printed output."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes() + str(path).encode()
        yield from (f"{path}: {secret}" for secret in SECRETS if secret.encode() in content)
    yield from (f"output: {secret}" for secret in SECRETS if secret in output)


@pytest.mark.long
@pytest.mark.fault("secrets")
def test_a_secret_is_in_no_log_event_manifest_or_report(
    tmp_path: Path,
    server: MisbehavingServer,
    webhook: WebhookServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("FEED_KEY", KEY)
    sample = SampleHome.create(tmp_path)
    secret_settings = {
        "mirror": None,
        "notify": SecretStr(webhook.target),
        "proxy": SecretStr(f"http://me:{PROXY}@127.0.0.1:9"),
    }
    sample.settings = sample.settings.model_copy(update=secret_settings)
    domain = move_kev_to(server, sample)
    messages: list[str] = []
    webhook.status = 500

    with sample.session(domain, echo=messages.append) as session:
        first = run_domain(session, RunOptions(as_of=AS_OF))
        server.always[KEV] = faults.repeats_the_secret
        second = run_domain(session, RunOptions(force_refresh=True))

    assert (first.status, second.status) == (RunStatus.SUCCESS, RunStatus.PARTIAL_SUCCESS), (
        first.note,
        second.note,
    )
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "not notified: target 1" in "".join(messages)
    captured = capfd.readouterr()
    output = "\n".join([*messages, caplog.text, captured.out, captured.err, repr(sample.settings)])
    assert not list(find_secrets(sample.home.root, output))
