"""The client that issues links."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from json import dumps, load
from pathlib import Path
from typing import Any, Literal, Union
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID

from ._download import Progress, download
from ._prepare import FileState, prepare
from ._problem import Problem, Unreachable

Scalar = Union[str, int, float, bool, Decimal, date, datetime, UUID]
Filter = Union[Scalar, Sequence[Scalar], None]
#: File formats. `parquet` only if the export offers it, `zip` only for exports of several sheets.
Format = Literal["csv", "tsv", "xlsx", "ndjson", "json", "parquet", "zip"]


@dataclass(frozen=True)
class Link:
    """A signed link, valid before `expires_at`. Any holder of the URL can download the file."""

    url: str
    link_id: str
    expires_at: str
    expires_in: int
    filename: str
    content_type: str
    #: Estimated size of the file. Only with `estimate`; `None` if no estimate is available.
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    #: `planner`, `count`, or `partial-count`: the file is larger than the count.
    estimated_by: str | None = None

    def prepare(self, *, progress: Callable[[FileState], None] | None = None, timeout: float = 30.0) -> FileState:
        """Lets the server prepare the file in its object storage, and waits until it is ready."""
        return prepare(self.url, progress=progress, timeout=timeout)

    def download(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
        timeout: float = 60.0,
        retries: int = 5,
    ) -> Path:
        """Downloads the file and returns its path. Default path: the link's file name in the working directory."""
        return download(self.url, path or self.filename, progress=progress, timeout=timeout, retries=retries)


class Rowlink:
    """A client of one deployment. `token` is a JSON Web Token or an API key."""

    def __init__(self, base_url: str, token: str, *, timeout: float = 30.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"Rowlink({self._base_url!r})"

    def link(
        self,
        export: str,
        format: Format | None = None,
        *,
        filters: Mapping[str, Filter] | None = None,
        expires_in: int | None = None,
        filename: str | None = None,
        columns: Sequence[str] | None = None,
        timezone: str | None = None,
        language: str | None = None,
        end_line: bool | None = None,
        length: Literal["exact"] | None = None,
        delivery: Literal["auto", "stream", "stored"] | None = None,
        estimate: bool | None = None,
        csv: Mapping[str, Any] | None = None,
        tsv: Mapping[str, Any] | None = None,
        xlsx: Mapping[str, Any] | None = None,
        parquet: Mapping[str, Any] | None = None,
        zip: Mapping[str, Any] | None = None,
        ndjson: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        user: str | None = None,
        claims: Mapping[str, str | int | bool] | None = None,
        not_before: datetime | None = None,
        ip: str | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        resume_seconds: int | None = None,
        single_use: bool | None = None,
        confirm: bool | None = None,
        reason: str | None = None,
        seal: bool | None = None,
    ) -> Link:
        """Issues a link. Raises `Problem` if the server refuses it, `Unreachable` if it does not answer.

        A stored document has no `format`. `user` and `claims` need an API key that may set them.

        `end_line` appends an integrity line to CSV, TSV or NDJSON; `download` verifies and removes it.
        `length="exact"` adds the total size, for a progress in percent, and lets `download` continue after a broken
        connection; the query runs twice. `language` is that of titles and labels, such as `de-AT`. `delivery` says whether the file is stored. `resume_seconds` allows that for so long after the expiry. `estimate` adds an estimate of the size. `ip` is the client address or network (CIDR) that may use
        the link. A file that exceeds `max_rows` or `max_bytes` is refused or aborted. `single_use` lets the link work
        only once. `confirm` lets a browser that opens the link show a page with a button first. `reason` says why
        the user wants the file, in at most 200 characters; some exports require it. `seal` encrypts the contents of the
        link in its URL. `not_before` needs a time zone.
        """
        body = {
            "export": export,
            "format": format,
            "filters": filters,
            "expires_in": expires_in,
            "filename": filename,
            "columns": columns,
            "timezone": timezone,
            "language": language,
            "end_line": end_line,
            "length": length,
            "delivery": delivery,
            "estimate": estimate,
            "csv": csv,
            "tsv": tsv,
            "xlsx": xlsx,
            "parquet": parquet,
            "zip": zip,
            "ndjson": ndjson,
            "json": json,
            "user": user,
            "claims": claims,
            "not_before": not_before,
            "ip": ip,
            "max_rows": max_rows,
            "max_bytes": max_bytes,
            "resume_seconds": resume_seconds,
            "single_use": single_use,
            "confirm": confirm,
            "reason": reason,
            "seal": seal,
        }
        # Omits unset fields, so that servers without the newest ones accept the request.
        fields = {name: value for name, value in body.items() if value is not None}
        issued = self._request("POST", "/v1/links", fields)
        return Link(**{name: issued[name] for name in Link.__dataclass_fields__ if name in issued})

    def exports(self) -> list[dict[str, Any]]:
        """Returns the exports that this credential may download, with filters, columns and formats."""
        exports: list[dict[str, Any]] = self._request("GET", "/v1/exports")["exports"]
        return exports

    def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = Request(
            self._base_url + path,
            method=method,
            data=None if body is None else dumps(body, default=filter_text).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
        )
        try:
            with urlopen(request, timeout=self._timeout) as response:
                content: dict[str, Any] = load(response)
                return content
        except HTTPError as response:
            with response:
                raise Problem.of(response) from None  # type: ignore[arg-type]
        except OSError as error:
            raise Unreachable(f"{self._base_url}: {getattr(error, 'reason', error)}") from error


def filter_text(value: object) -> str:
    """Returns the text of a date, decimal or UUID as a filter value. Raises `TypeError` for other types."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise TypeError(f"unsupported filter type {type(value).__name__}")
