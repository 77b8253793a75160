"""Take a secret out of a text in every form in which servers and proxies repeat it. Pure.

A key comes back as it was sent, or URL-encoded in an address, as JSON or HTML inside another message, in hexadecimal, or in
Base64 inside of `Basic` credentials or a dumped header, where its letters depend on what stands before it.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote

SHORTEST_ENCODED = 8
"""Characters from which a secret is looked for in other forms: shorter ones are words that servers of one's own get as a
key, such as `none`, and stand in any text."""


def without_secret(text: str, secret: str, shown: str) -> str:
    """The text with `shown` wherever the secret stood."""
    return _pattern(secret).sub(lambda _: shown, text)


@lru_cache(maxsize=16)
def _pattern(secret: str) -> re.Pattern[str]:
    return re.compile("|".join([*_plain(secret), *(_in_base64(secret) if len(secret) >= SHORTEST_ENCODED else ())]))


def _plain(secret: str) -> list[str]:
    """Patterns of the forms in which the letters keep their places, the longest first."""
    forms = {secret}
    if len(secret) >= SHORTEST_ENCODED:
        url, number = quote(secret, safe=""), secret.encode().hex()
        lower = re.sub("%..", lambda found: found[0].lower(), url)
        forms |= {url, lower, json.dumps(secret)[1:-1], html.escape(secret), number, number.upper()}
    return [re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))]


def _in_base64(secret: str) -> Iterator[str]:
    """Patterns of the secret in both alphabets of Base64, after 0, 1 or 2 other bytes of a group of three."""
    for before in range(3):
        data = b"\0" * before + secret.encode()
        written = b64encode(data).decode().rstrip("=")
        # The letters at both ends hold bits of what stands beside the secret.
        sure = written[(0, 2, 3)[before] : len(written) - (len(data) % 3 > 0)]
        core = "".join({"+": r"[+\-]", "/": "[/_]"}.get(letter, letter) for letter in sure)
        yield rf"[\w+/-]{{0,{before > 0:d}}}{core}[\w+/-]{{0,{len(data) % 3 > 0:d}}}={{0,2}}"
