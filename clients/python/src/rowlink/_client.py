"""Asks for links."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Union
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID

from ._download import Progress, download
from ._problem import Problem

Scalar = Union[str, int, float, bool, Decimal, date, datetime, UUID]
Filter = Union[Scalar, Sequence[Scalar], None]


@dataclass(frozen=True)
class Link:
    """A signed link, good until `expires_at`. Whoever has the URL has the file."""

    url: str
    link_id: str
    expires_at: str
    expires_in: int
    filename: str
    content_type: str
    #: About how large the file will be; with `estimate` only, and `None` where that is not known.
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    #: `planner`, `count`, or `partial-count`: then there is more than was counted.
    estimated_by: str | None = None

    def download(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
        timeout: float = 60.0,
    ) -> Path:
        """Downloads the file, by default under its own name into the working directory."""
        return download(self.url, path or self.filename, progress=progress, timeout=timeout)


class Rowlink:
    """A deployment, and the credential to ask it with: a JSON Web Token or an API key."""

    def __init__(self, base_url: str, token: str, *, timeout: float = 30.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"Rowlink({self._base_url!r})"

    def link(
        self,
        export: str,
        format: str,
        *,
        filters: Mapping[str, Filter] | None = None,
        expires_in: int | None = None,
        filename: str | None = None,
        columns: Sequence[str] | None = None,
        timezone: str | None = None,
        end_line: bool | None = None,
        length: Literal["exact"] | None = None,
        estimate: bool | None = None,
        csv: Mapping[str, Any] | None = None,
        xlsx: Mapping[str, Any] | None = None,
        ndjson: Mapping[str, Any] | None = None,
        user: str | None = None,
        not_before: datetime | None = None,
        ip: str | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        seal: bool | None = None,
    ) -> Link:
        """Issues a link. Raises `Problem` where that is refused.

        With `end_line`, a CSV ends with a proof that it is whole, which `download` checks and takes off.
        With `length="exact"` it comes with its length, for a progress in percent, and is read twice by the server.
        With `estimate`, the link says about how large the file will be.
        With `ip`, it works from an address or a network alone; with `max_rows` and `max_bytes`, a larger file is
        refused, or breaks. With `seal`, its URL hides all of this. `not_before` has a time zone.
        """
        body = {
            "export": export,
            "format": format,
            "filters": filters,
            "expires_in": expires_in,
            "filename": filename,
            "columns": columns,
            "timezone": timezone,
            "end_line": end_line,
            "length": length,
            "estimate": estimate,
            "csv": csv,
            "xlsx": xlsx,
            "ndjson": ndjson,
            "user": user,
            "not_before": not_before,
            "ip": ip,
            "max_rows": max_rows,
            "max_bytes": max_bytes,
            "seal": seal,
        }
        answer = self._ask("POST", "/v1/links", body)
        return Link(**{name: answer[name] for name in Link.__dataclass_fields__ if name in answer})

    def exports(self) -> list[dict[str, Any]]:
        """What this credential may export: filters, columns, formats."""
        exports: list[dict[str, Any]] = self._ask("GET", "/v1/exports")["exports"]
        return exports

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = Request(
            self._base_url + path,
            method=method,
            data=None if body is None else json.dumps(body, default=text_of).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
        )
        try:
            with urlopen(request, timeout=self._timeout) as answer:
                read: dict[str, Any] = json.load(answer)
                return read
        except HTTPError as refusal:
            with refusal:
                raise Problem.of(refusal) from None  # type: ignore[arg-type]


def text_of(value: object) -> str:
    """Dates, decimals and UUIDs as filters take them."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be a filter")
