"""Public addresses, allowed redirects, and redacted URLs."""

from __future__ import annotations

import pytest

from etl_assets.fetch.network_guard import (
    is_private_host,
    is_public_address,
    redact_message,
    redact_text,
    redact_url,
    resolve_redirect,
)
from etl_assets.model.errors import TransferRefusedError


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "2002:5db8:d70e::1"],
)
def test_a_globally_reachable_address_is_public(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1",
        "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::",
        # NAT64, IPv4-compatible, IPv4-translated, site-local, 6to4 relay, documentation
        "64:ff9b::5db8:d70e", "64:ff9b::a00:1", "64:ff9b:1::5db8:d70e", "64:ff9b:1:ffff::1",
        "::93.184.215.14", "::7f00:1", "::ffff:0:5db8:d70e", "fec0::1", "feff::1", "192.88.99.1",
        "3fff::1", "2001:db8::1", "2001::1",
        # the metadata services of clouds
        "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16",
        "192.0.0.192",
    ],
)  # fmt: skip
def test_any_other_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("feeds.example.org", False), ("localhost", True), ("LOCALHOST.", True),
        ("a.localhost", True), ("intranet", True), ("printer.local.", True),
        ("metadata.google.internal", True), ("box.home.arpa", True), ("local.example", False),
        ("10.0.0.1", True), ("93.184.215.14", False),
    ],
)  # fmt: skip
def test_a_host_may_be_private_by_its_name(host: str, private: bool) -> None:
    assert is_private_host(host) is private


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a?b=1", "https://h/a?b=1"),
        ("https://user:pw@h:8/a#frag", "https://h:8/a"),
        (
            "https://h/a?api_key=x&b=1&access_token=y",
            "https://h/a?api_key=***&b=1&access_token=***",
        ),
        ("https://h/a?X-Amz-Signature=x&apiKey=y", "https://h/a?X-Amz-Signature=***&apiKey=***"),
        ("https://h/a?keyword=x", "https://h/a?keyword=x"),
        ("https://h/a?APIKEY=x&Client_Secret=y", "https://h/a?APIKEY=***&Client_Secret=***"),
        ("https://h/a?accessToken=x;sid=y", "https://h/a?accessToken=***;sid=***"),
        ("https://h/a?api%5Fkey=x&%74oken=y", "https://h/a?api%5Fkey=***&%74oken=***"),
        ("https://h/a?AWSAccessKeyId=x&Expires=1", "https://h/a?AWSAccessKeyId=***&Expires=1"),
        ("https://h/a;jsessionid=x/b?author=y", "https://h/a;jsessionid=***/b?author=y"),
        ("https://h/a?subscription-key=x&monkey=y", "https://h/a?subscription-key=***&monkey=y"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("401 for Authorization: Bearer abc.def", "401 for Authorization: ***"),
        ('{"apiKey": "abc def", "page": 2}', '{"apiKey": ***, "page": 2}'),
        ("X-API-KEY: abc, Accept: */*", "X-API-KEY: ***, Accept: */*"),
        ("client_secret=abc&grant=x", "client_secret=***&grant=x"),
        ("invalid token 'Basic dXNlcjpwdw=='", "invalid token 'Basic ***'"),
        ("https://user:pw@host/a broke", "https://host/a broke"),
        ("Set-Cookie: abc", "Set-Cookie: ***"),
        ("contract.key: expected a column", "contract.key: expected a column"),
        ("expected 12 bytes, found 7: author=x", "expected 12 bytes, found 7: author=x"),
        ('{"message":"denied for key=s3cret now"}', '{"message":"denied for key=*** now"}'),
        ("at: https://a.example/b?token=s3cret", "at: https://a.example/b?token=***"),
        ('{"password":"a\\"s3cret","x":1}', '{"password":***,"x":1}'),
        ('{"raw":"{\\"api_key\\": \\"s3cret\\"}"}', '{"raw":"{\\"api_key\\": ***}"}'),
        ("a=" * 2_000 + "token=s3cret", "a=" * 2_000 + "token=***"),
    ],
)
def test_secrets_in_a_message_are_not_shown(text: str, shown: str) -> None:
    assert redact_message(text) == shown


def test_text_that_is_not_a_url_is_masked() -> None:
    assert redact_text("http://[user:secret@") == "***"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://one.example/b"),
        ("//two.example/b", "https://two.example/b"),
        ("https://two.example/b?c=d", "https://two.example/b?c=d"),
    ],
)
def test_a_redirect_may_lead_to_another_public_host(location: str, target: str) -> None:
    assert resolve_redirect("https://one.example/a", location, private=False) == target


@pytest.mark.fault("redirect-scheme", "redirect-private")
@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://one.example/a", "https to stay https"),
        ("http://[::1]/a", "https to stay https"),
        ("https://127.0.0.1/a", "a public address"),
        ("file:///etc/passwd", "an http or https address"),
        ("data:text/plain,hello", "an http or https address"),
        ("https://one.example:99999/a", "a valid address"),
    ],
)
def test_a_redirect_elsewhere_is_refused(location: str, expected: str) -> None:
    with pytest.raises(TransferRefusedError, match=f"redirect: expected {expected}, found"):
        resolve_redirect("https://one.example/a", location, private=False)


def test_a_private_source_may_redirect_to_a_private_address() -> None:
    target = resolve_redirect("http://127.0.0.1:1/a", "http://127.0.0.1:2/a", private=True)

    assert target == "http://127.0.0.1:2/a"
