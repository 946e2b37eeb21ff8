"""Answers that are not what was asked for (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any


class Problem(Exception):
    """A refusal. `code` is stable; `errors` has an entry for each value that does not fit."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: int | None = None) -> None:
        self.status = status
        self.code: str = body.get("code", "unknown")
        self.detail: str = body.get("detail", "")
        self.request_id: str | None = body.get("request_id")
        self.errors: dict[str, str] = {it["field"]: it["message"] for it in body.get("errors", [])}
        #: How many seconds to wait before trying again, where the server says so.
        self.retry_after = retry_after
        fields = "".join(f"; {field}: {message}" for field, message in self.errors.items())
        super().__init__(f"{status} {self.code}: {self.detail}{fields}")

    @classmethod
    def of(cls, answer: HTTPResponse) -> Problem:
        """The problem that an answer tells of, whoever gave it."""
        try:
            body = json.loads(answer.read(65536))
        except ValueError:
            body = {"detail": answer.reason}
        seconds = answer.headers.get("Retry-After", "")
        fields = body if isinstance(body, dict) else {}
        return cls(answer.status, fields, int(seconds) if seconds.isdecimal() else None)
