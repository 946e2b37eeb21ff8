"""Error responses of the server (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any


class Unreachable(ConnectionError):
    """The server did not answer: no connection, no route, a time-out, or an invalid certificate."""


class Problem(Exception):
    """An error response. `code` is stable; `errors` maps the field of each invalid value to a message."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: int | None = None) -> None:
        self.status = status
        self.code: str = body.get("code", "unknown")
        self.detail: str = body.get("detail", "")
        self.request_id: str | None = body.get("request_id")
        self.errors: dict[str, str] = {it["field"]: it["message"] for it in body.get("errors", [])}
        #: Seconds to wait before a retry, from `Retry-After`.
        self.retry_after = retry_after
        fields = "".join(f"; {field}: {message}" for field, message in self.errors.items())
        super().__init__(f"{status} {self.code}: {self.detail}{fields}")

    @classmethod
    def of(cls, response: HTTPResponse) -> Problem:
        """Parses an error response. A body that is not JSON, such as a proxy's, becomes the reason phrase."""
        try:
            body = json.loads(response.read(65536))
        except ValueError:
            body = {"detail": response.reason}
        seconds = response.headers.get("Retry-After", "")
        fields = body if isinstance(body, dict) else {}
        return cls(response.status, fields, int(seconds) if seconds.isdecimal() else None)
