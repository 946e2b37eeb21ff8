"""Makes links without asking the service: docs/signed-link.md in Python."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote
from uuid import UUID

from ._client import Filter, text_of

KEY_BYTES_MIN = 32
URL_BYTES_MAX = 4096


def mint(
    public_url: str,
    key: str,
    export: str,
    format: str,
    *,
    user: str,
    expires_in: int = 60,
    filters: Mapping[str, Filter] | None = None,
    claims: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    filename: str | None = None,
    not_before: int | None = None,
    ip: str | None = None,
    max_rows: int | None = None,
    max_bytes: int | None = None,
    issued: int | None = None,
    link_id: str | None = None,
) -> str:
    """The URL of a file for `user`, for `expires_in` seconds from `issued`, which is now.

    `key` is the line that `rowlink keygen` prints. `options` are named as in the link, without `rl_`:
    `{"columns": "id,amount", "csv.delimiter": ";"}`. Raises `ValueError` where no service would accept the link.
    """
    key_id, secret, scope = _key(key)
    issued = int(time.time()) if issued is None else issued
    if not 1 <= len(user.encode()) <= 256:
        raise ValueError("user: expected 1 to 256 bytes")
    if expires_in < 1:
        raise ValueError("expires_in: expected at least 1 second")
    reserved = {
        "user": user,
        "link": link_id or str(_uuid7()),
        "issued": issued,
        "expires": issued + expires_in,
        "key": key_id,
        "scope": scope,
        "not_before": not_before,
        "ip": ip,
        "max_rows": max_rows,
        "max_bytes": max_bytes,
        "filename": filename,
        **{f"claim.{name}": value for name, value in (claims or {}).items()},
        **(options or {}),
    }
    pairs = [(f"rl_{name}", str(value)) for name, value in reserved.items() if value is not None]
    pairs += _filter_pairs(filters or {})

    query = "&".join("=".join(pair) for pair in sorted((_encode(name), _encode(value)) for name, value in pairs))
    path = f"/v1/exports/{export}.{format}"
    string_to_sign = f"ROWLINK1-HMAC-SHA256\n{path}\n{query}"
    signature = hmac.new(secret, string_to_sign.encode(), hashlib.sha256).hexdigest()
    url = f"{public_url.rstrip('/')}{path}?{query}&rl_signature={signature}"
    if len(url) > URL_BYTES_MAX:
        raise ValueError(f"url: {len(url)} bytes long, expected at most {URL_BYTES_MAX}")
    return url


def _key(line: str) -> tuple[str, bytes, str | None]:
    """The id and the bytes of a key, and for a child key its scope."""
    key_id, _, rest = line.strip().partition(":")
    secret, _, scope = rest.partition(":")
    try:
        decoded = base64.b64decode(secret + "=" * (-len(secret) % 4), validate=True)
    except ValueError:
        decoded = b""
    if len(decoded) < KEY_BYTES_MIN:
        # Says nothing of what is in it.
        raise ValueError(f"key: expected `id:base64` of at least {KEY_BYTES_MIN} bytes")
    return key_id, decoded, scope or None


def _filter_pairs(filters: Mapping[str, Filter]) -> Iterator[tuple[str, str]]:
    for name, value in filters.items():
        if name.startswith("rl_"):
            raise ValueError(f"filters.{name}: names that start with rl_ are reserved")
        if value is None:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        yield from ((name, _filter_text(each)) for each in values)


def _filter_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else text_of(value)


def _encode(text: str) -> str:
    return quote(text, safe="")


def _uuid7() -> UUID:
    """RFC 9562, section 5.7."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
