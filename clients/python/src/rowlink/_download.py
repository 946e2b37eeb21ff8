"""Streams a download to a temporary file and renames it when complete."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import zipfile
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ._problem import Problem, Unreachable

_CHUNK_BYTES = 256 * 1024
#: The least time limit for the head of a response that continues a file.
_QUERY_SECONDS = 1200.0


class IncompleteDownload(Exception):
    """The file is truncated or does not match its integrity line. Nothing was written to the target path."""


@dataclass(frozen=True)
class Progress:
    """The progress of a download."""

    #: Bytes received.
    bytes: int
    #: Total bytes, or `None` if the response has no `Content-Length`. Small and exact-length files have one.
    total: int | None
    #: How often the download was tried again since its last byte. While it waits, `progress` is called with it.
    retries: int = 0


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], None] | None = None,
    timeout: float = 60.0,
    retries: int = 5,
) -> Path:
    """Downloads a signed URL to `path`. Memory use does not depend on the size of the file.

    Writes to a temporary file in the same folder and renames it when complete. The check covers the
    `Content-Length` or the last chunk, the central directory of XLSX, the footer of Parquet, and the integrity
    line if the link has one. `timeout` is the limit for each network wait, in seconds.

    A file with an exact length, or one that the server keeps, is continued after its connection broke, at most `retries`
    times without getting any further; the hash of the former is checked. Raises `Problem` if the server refuses the link, `Unreachable` if it does not answer,
    and `IncompleteDownload` if the file is truncated.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _Download(url, timeout, retries, file, progress).run()
        if ".xlsx?" in url or ".zip?" in url:
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


class _Download:
    """A download that continues after its connection broke, if the server can tell whether the file is the same."""

    def __init__(
        self,
        url: str,
        timeout: float,
        retries: int,
        file: BinaryIO,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._retries = retries
        self._file = file
        self._progress = progress
        self._failures = 0
        self._furthest = 0
        self._begin(Message())

    def run(self) -> None:
        response = self._request()
        while True:
            if response.status == 206:
                self._continue(response.headers)
            else:
                self._begin(response.headers)
            with response:
                broken = self._copy(response)
            if broken is None:
                break
            response = self._continue_after(broken)
        if self._digest and self._hash.digest() != self._digest:
            raise IncompleteDownload("the file does not match its `Repr-Digest`")

    def _begin(self, headers: Message) -> None:
        """Starts a file: the first one, or another one if the rows have changed."""
        self._received = 0
        self._hash = hashlib.sha256()
        self._entity_tag = headers.get("ETag")
        length = headers.get("Content-Length")
        self._total = int(length) if length else None
        digest = re.fullmatch("sha-256=:(.+):", headers.get("Repr-Digest", ""))
        self._digest = b64decode(digest[1]) if digest else None
        self._file.seek(0)
        self._file.truncate()

    def _continue(self, headers: Message) -> None:
        """Starts the rest of the file, which tells the length of all of it."""
        range_ = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
        if not range_ or int(range_[1]) != self._received:
            raise IncompleteDownload("the server sent another part of the file")
        length = headers.get("Content-Length")
        if length:
            self._total = self._received + int(length)

    def _request(self, confirms: bool = False) -> HTTPResponse:
        # The response is written as received, so it must not be compressed.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        timeout = self._timeout
        if self._entity_tag and self._received and not confirms:
            # The query may run again before the first byte.
            timeout = max(timeout, _QUERY_SECONDS)
            headers |= {"Range": f"bytes={self._received}-", "If-Range": self._entity_tag}
        # A POST without a body.
        request = Request(self._url, b"" if confirms else None, headers=headers)
        try:
            response: HTTPResponse = urlopen(request, timeout=timeout)
        except HTTPError as refused:
            problem = self._problem(request, refused)
            if isinstance(problem, Problem) and problem.code == "confirmation-required" and not confirms:
                # The caller wants the file: the page with the button is for browsers.
                return self._request(confirms=True)
            raise problem from None
        except (OSError, HTTPException) as error:
            # Not the URL: anyone who has it can download the file.
            raise Unreachable(f"{request.host}: {getattr(error, 'reason', error)}") from error
        return response

    @staticmethod
    def _problem(request: Request, refused: HTTPError) -> Problem | Unreachable:
        try:
            with refused:
                return Problem.of(refused)  # type: ignore[arg-type]
        except (OSError, HTTPException) as error:
            return Unreachable(f"{request.host}: {error}")

    def _copy(self, response: HTTPResponse) -> IncompleteDownload | None:
        """Writes a response; returns the error if its connection broke."""
        while True:
            try:
                chunk = response.read1(_CHUNK_BYTES)
            except (HTTPException, OSError) as error:
                broken = IncompleteDownload(f"truncated after {self._received} bytes")
                broken.__cause__ = error
                return broken
            if not chunk:
                break
            self._file.write(chunk)
            self._hash.update(chunk)
            self._received += len(chunk)
            # The bytes of a file that starts again are no progress until they are more than before.
            if self._received > self._furthest:
                self._furthest = self._received
                self._failures = 0
            self._tell()
        # http.client does not report a body that ends before its Content-Length.
        if self._total is not None and self._received != self._total:
            return IncompleteDownload(f"truncated after {self._received} of {self._total} bytes")
        return None

    def _continue_after(self, broken: Exception) -> HTTPResponse:
        while True:
            if not self._entity_tag or self._failures >= self._retries:
                raise broken
            self._failures += 1
            self._tell()
            asked = broken.retry_after if isinstance(broken, Problem) else None
            time.sleep(min(asked or 2 ** (self._failures - 1), 60))
            try:
                return self._request()
            except Unreachable as error:
                broken = error
            except Problem as problem:
                if problem.status != 429 and problem.status < 500:
                    raise
                broken = problem

    def _tell(self) -> None:
        if self._progress:
            self._progress(Progress(self._received, self._total, self._failures))


def _check_archive(name: str) -> None:
    if not zipfile.is_zipfile(name):
        raise IncompleteDownload("the archive has no central directory")


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
