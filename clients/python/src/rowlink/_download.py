"""Streams a download to a temporary file and renames it when complete."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ._problem import Problem, Unreachable

_CHUNK_BYTES = 256 * 1024


class IncompleteDownload(Exception):
    """The file is truncated or does not match its integrity line. Nothing was written to the target path."""


@dataclass(frozen=True)
class Progress:
    """The progress of a download."""

    #: Bytes received.
    bytes: int
    #: Total bytes, or `None` if the response has no `Content-Length`. Small and exact-length files have one.
    total: int | None


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], None] | None = None,
    timeout: float = 60.0,
) -> Path:
    """Downloads a signed URL to `path`. Memory use does not depend on the size of the file.

    Writes to a temporary file in the same folder and renames it when complete. The check covers the
    `Content-Length` or the last chunk, the central directory of XLSX, the footer of Parquet, and the integrity
    line if the link has one. `timeout` is the limit for each network wait, in seconds.

    Raises `Problem` if the server refuses the link, `IncompleteDownload` if the file is truncated.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            response = _open(url, timeout)
            with response:
                _copy(response, file, progress)
        if ".xlsx?" in url:
            _check_archive(name)
        if ".parquet?" in url:
            _check_parquet(name)
        if ".json?" in url:
            _check_json(name)
        if "rl_end_line=true" in url:
            _check_integrity_line(name)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path


def _open(url: str, timeout: float) -> HTTPResponse:
    # The response is written as received, so it must not be compressed.
    request = Request(url, headers={"Accept": "*/*", "Accept-Encoding": "identity"})
    try:
        response: HTTPResponse = urlopen(request, timeout=timeout)
    except HTTPError as refused:
        with refused:
            raise Problem.of(refused) from None  # type: ignore[arg-type]
    except OSError as error:
        # Not the URL: anyone who has it can download the file.
        raise Unreachable(f"{request.host}: {getattr(error, 'reason', error)}") from error
    return response


def _copy(
    response: HTTPResponse, file: BinaryIO, progress: Callable[[Progress], None] | None
) -> None:
    total = response.length
    received = 0
    while chunk := _read(response, received):
        file.write(chunk)
        received += len(chunk)
        if progress:
            progress(Progress(received, total))
    # http.client does not report a body that ends before its Content-Length.
    if total is not None and received != total:
        raise IncompleteDownload(f"truncated after {received} of {total} bytes")


def _read(response: HTTPResponse, received: int) -> bytes:
    try:
        return response.read1(_CHUNK_BYTES)
    except (HTTPException, OSError) as error:
        raise IncompleteDownload(f"truncated after {received} bytes") from error


def _check_archive(name: str) -> None:
    if not zipfile.is_zipfile(name):
        raise IncompleteDownload("the workbook has no central directory")


def _check_parquet(name: str) -> None:
    with open(name, "rb") as file:
        file.seek(max(0, os.path.getsize(name) - 4))
        if file.read() != b"PAR1":
            raise IncompleteDownload("the Parquet file has no footer")


def _check_json(name: str) -> None:
    # Rowlink writes a line end only between rows, after a comma or `[`.
    with open(name, "rb") as file:
        file.seek(max(0, os.path.getsize(name) - 2))
        if file.read() != b"]\n":
            raise IncompleteDownload("the JSON array has no end")


_INTEGRITY_LINE = re.compile(
    rb"(?:\A|(?<=\n))(?:#rowlink-end,rows=\d+,sha256=(?P<text>[0-9a-f]{64})\r?\n\Z"
    rb'|\{"rowlink_end":\{"rows":\d+,"sha256":"(?P<ndjson>[0-9a-f]{64})"\}\}\n\Z)'
)


def _check_integrity_line(name: str) -> None:
    """Verifies and removes the integrity line of a CSV, TSV or NDJSON file."""
    with open(name, "rb+") as file:
        file.seek(max(0, os.path.getsize(name) - 128))
        line = _INTEGRITY_LINE.search(file.read())
        if not line:
            raise IncompleteDownload("the file has no integrity line")
        file.seek(line.start() - line.end(), os.SEEK_END)
        file.truncate()
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest().encode() not in line.groups():
        raise IncompleteDownload("the file does not match its integrity line")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
