from __future__ import annotations

import time

import pytest

from spaces.errors import InputError, MachineError, first_line, shown
from spaces.secrets import holds_secret, masked, secret_places

SECRET = "hunter2xyz"
ADDRESSES = [
    *(
        f"https://user:{SECRET}@host/x",
        f"https:/user:{SECRET}@host/x",
        f"ray://:{SECRET}@host:6379",
    ),
    *(f"s3://KEY:se/c+{SECRET}@bucket/p", f"https://u:p@{SECRET}@host", f"https://{SECRET}@host/x"),
    *(f"https://host/x?token={SECRET}", f"https://host:8080/x?a=1&X-Amz-Signature={SECRET}&b=2"),
    *(
        f"https://host/x?key={SECRET}#top",
        f"https://host/?access_token={SECRET}",
        f"ftp://u:{SECRET}",
    ),
    *(f"az://h/c?sv=2020&sig={SECRET}", f"postgresql+psycopg2://me:{SECRET}@db/x"),
]
PLAIN = [
    *("http://host:8080/a@b", "http://host:8080/a", "file:///C:/x/y.png", "file://C:\\x\\y"),
    *(
        "git+ssh://git@github.com/x",
        "C:/Users/me@work/x",
        "see https://a.b/c, x",
        "http://[::1]:80/x",
    ),
    *(
        '{"url":"https://a.b","k":"v"}',
        "owner/name@main",
        "which key=value? a;b",
        "?monkey=3",
        "a:/b",
    ),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_secret_of_an_address_is_hidden_wherever_it_is_said(address: str) -> None:
    assert holds_secret(address)
    said = [
        *(masked(address), shown(address), shown({"a": [address]}), first_line(OSError(address))),
        *(str(InputError(f"no '{address}'")), str(MachineError(address))),
    ]
    said += [shown(f"{'x' * 30} {address} {'y' * 90}")]
    assert not [text for text in said if SECRET[:6] in text]
    assert masked(masked(address)) == masked(address)


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert masked(text) == text and not holds_secret(text)


def test_the_places_of_secrets_in_nested_values_are_named_without_them() -> None:
    values = {"a": {"b": ["x", ADDRESSES[0]]}, ADDRESSES[6]: 1, "plain": "https://host"}
    places = list(secret_places(values))
    assert places[0] == "a.b.1" and len(places) == 2 and SECRET not in places[1]


def test_long_texts_take_linear_time() -> None:
    began = time.monotonic()
    for text in ("ab:/" * 50_000, "?token" * 50_000, "ab://c:" + "d" * 200_000, "&a" * 100_000):
        masked(text + "=")
    assert time.monotonic() - began < 5
