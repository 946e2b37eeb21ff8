"""Signs links offline. Implements docs/signed-link.md."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import time
from collections.abc import Mapping, Sequence
from urllib.parse import quote
from uuid import UUID

from ._client import Filter, filter_text

KEY_BYTES_MIN = 32
URL_BYTES_MAX = 4096


def mint(
    public_url: str,
    key: str,
    export: str,
    format: str | None,
    *,
    user: str,
    expires_in: int = 60,
    filters: Mapping[str, Filter] | None = None,
    claims: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    reveal: Sequence[str] | None = None,
    filename: str | None = None,
    not_before: int | None = None,
    ip: str | None = None,
    max_rows: int | None = None,
    max_bytes: int | None = None,
    resume_seconds: int | None = None,
    single_use: bool | None = None,
    confirm: bool | None = None,
    bind: str | None = None,
    reason: str | None = None,
    issued: int | None = None,
    link_id: str | None = None,
) -> str:
    """Returns the signed URL of a file for `user`.

    The link is valid for `expires_in` seconds from `issued` (default: now). `key` is the line that `rowlink keygen`
    prints. `format` is `None` for a stored document. `options` are named as in the link, without `rl_`:
    `{"columns": "id,amount", "csv.delimiter": ";"}`. `reveal` names the columns with a scope that the user may see; all
    others with a scope are withheld. Never take it from a request. `single_use` lets the link work only once. `confirm`
    shows a browser a page with a button first. `bind` is the SHA-256 of a cookie's value in hex: the link then works
    only in the browser that has this cookie. `reason` says why the user wants the file, in at most 200 characters.
    Raises a `ValueError` that names the field if a value is invalid.
    """
    key_id, secret, scope = _parse_key(key)
    issued = int(time.time()) if issued is None else issued
    _check("export", re.fullmatch(r"[A-Za-z0-9_-]{1,64}", export))
    _check("format", format is None or re.fullmatch(r"[a-z0-9]+", format))
    _check("user", _is_text(user))
    _check("expires_in", _is_integer(expires_in, 1))
    _check("issued", _is_integer(issued, 0))
    _check("not_before", not_before is None or _is_integer(not_before, 0))
    _check("max_rows", max_rows is None or _is_integer(max_rows, 1))
    _check("max_bytes", max_bytes is None or _is_integer(max_bytes, 1))
    _check("resume_seconds", resume_seconds is None or _is_integer(resume_seconds, 1))
    _check("single_use", single_use is None or isinstance(single_use, bool))
    _check("confirm", confirm is None or isinstance(confirm, bool))
    _check("bind", bind is None or re.fullmatch(r"[0-9a-f]{64}", bind))
    _check("reason", reason is None or re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]{1,200}", reason))
    _check("reveal", _is_reveal(reveal or []))
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
        "resume": resume_seconds,
        "single_use": "true" if single_use else None,
        "confirm": "true" if confirm else None,
        "bind": bind,
        "reason": reason,
        "filename": filename,
        "reveal": ",".join(reveal) if reveal else None,
    }
    pairs = [(f"rl_{name}", str(value)) for name, value in reserved.items() if value is not None]
    for name, value in (claims or {}).items():
        _check(f"claims.{name}", re.fullmatch(r"[A-Za-z0-9_]{1,64}", name) and _is_text(value))
        pairs.append((f"rl_claim.{name}", value))
    for name, value in (options or {}).items():
        known = r"columns|timezone|language|end_line|length|delivery|(csv|tsv|xlsx|ndjson|json|parquet|zip)\.[a-z_]+"
        _check(f"options.{name}", re.fullmatch(known, name))
        pairs.append((f"rl_{name}", value))
    for name, values in (filters or {}).items():
        _check(f"filters.{name}", name and not name.startswith("rl_"))
        several = values if isinstance(values, (list, tuple)) else [values]
        pairs += ((name, _value_text(value)) for value in several if value is not None)

    query = "&".join("=".join(pair) for pair in sorted((_encode(name), _encode(value)) for name, value in pairs))
    path = f"/v1/files/{export}" if format is None else f"/v1/exports/{export}.{format}"
    string_to_sign = f"ROWLINK1-HMAC-SHA256\n{path}\n{query}"
    signature = hmac.new(secret, string_to_sign.encode(), hashlib.sha256).hexdigest()
    url = f"{public_url.rstrip('/')}{path}?{query}&rl_signature={signature}"
    _check("url", len(url) <= URL_BYTES_MAX)
    return url


def _check(field: str, valid: object) -> None:
    """Raises `ValueError` if the value is invalid. The message omits the value, which may be a secret."""
    if not valid:
        raise ValueError(f"{field}: invalid value; see docs/signed-link.md")


def _is_text(text: str) -> bool:
    controls = any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)
    return 1 <= len(text.encode()) <= 256 and not controls


def _is_reveal(names: Sequence[str]) -> bool:
    if isinstance(names, str):
        return False
    return all(_is_text(name) and "," not in name for name in names) and len(set(names)) == len(names)


def _is_integer(number: int, min: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= min


def _parse_key(line: str) -> tuple[str, bytes, str | None]:
    """Returns the id and the bytes of a key, and the scope of a child key."""
    parts = re.fullmatch(r"([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]+)=*(?::([^\s,:]+))?", line.strip())
    _check("key", parts)
    key_id, text, scope = parts.groups()  # type: ignore[union-attr]
    secret = base64.b64decode(text + "=" * (-len(text) % 4))
    _check("key", len(secret) >= KEY_BYTES_MIN)
    return key_id, secret, scope


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # Also converts members of string enumerations.
        return str.__str__(value)
    return str(value) if isinstance(value, (int, float)) else filter_text(value)


def _encode(text: str) -> str:
    return quote(text, safe="")


def _uuid7() -> UUID:
    """Returns a new UUIDv7 (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
