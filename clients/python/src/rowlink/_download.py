"""Downloads: streamed to a file, which gets its name once it is whole."""

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

from ._problem import Problem

_CHUNK_BYTES = 256 * 1024


class IncompleteDownload(Exception):
    """The connection ended before the file did. Nothing was written under its name."""


@dataclass(frozen=True)
class Progress:
    """How far a download is."""

    #: Bytes that are here.
    bytes: int
    #: Bytes in all, where the server knows: small files, and those with an exact length.
    total: int | None


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], None] | None = None,
    timeout: float = 60.0,
) -> Path:
    """Downloads a signed URL to `path`, in memory that does not grow with the file.

    The bytes go to a temporary file beside it, which is renamed when it is whole: by its length or the end
    of its chunks, a workbook by its central directory and Parquet by its footer too, lines of text by their
    end line where the link has one.
    `timeout` is for each wait, in seconds.

    Raises `Problem` for a link that is refused, `IncompleteDownload` for one that breaks off.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            answer = _open(url, timeout)
            with answer:
                _copy(answer, file, progress)
        if ".xlsx?" in url:
            _check_archive(name)
        if ".parquet?" in url:
            _check_parquet(name)
        if "rl_end_line=true" in url:
            _check_end_line(name)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path


def _open(url: str, timeout: float) -> HTTPResponse:
    # What was compressed on its way could not be written as it comes.
    request = Request(url, headers={"Accept": "*/*", "Accept-Encoding": "identity"})
    try:
        answer: HTTPResponse = urlopen(request, timeout=timeout)
    except HTTPError as refusal:
        with refusal:
            raise Problem.of(refusal) from None  # type: ignore[arg-type]
    return answer


def _copy(
    answer: HTTPResponse, file: BinaryIO, progress: Callable[[Progress], None] | None
) -> None:
    total = answer.length
    done = 0
    while chunk := _read(answer, done):
        file.write(chunk)
        done += len(chunk)
        if progress:
            progress(Progress(done, total))
    # A body of known length that ends early is no error to the library.
    if total is not None and done != total:
        raise IncompleteDownload(f"cut after {done} of {total} bytes")


def _read(answer: HTTPResponse, done: int) -> bytes:
    try:
        return answer.read1(_CHUNK_BYTES)
    except (HTTPException, OSError) as cut:
        raise IncompleteDownload(f"cut after {done} bytes") from cut


def _check_archive(name: str) -> None:
    if not zipfile.is_zipfile(name):
        raise IncompleteDownload("the workbook has no central directory")


def _check_parquet(name: str) -> None:
    with open(name, "rb") as file:
        file.seek(max(0, os.path.getsize(name) - 4))
        if file.read() != b"PAR1":
            raise IncompleteDownload("the Parquet file has no footer")


_END_LINE = re.compile(
    rb"(?:\A|(?<=\n))(?:#rowlink-end,rows=\d+,sha256=(?P<csv>[0-9a-f]{64})\r\n\Z"
    rb'|\{"rowlink_end":\{"rows":\d+,"sha256":"(?P<ndjson>[0-9a-f]{64})"\}\}\n\Z)'
)


def _check_end_line(name: str) -> None:
    """Takes the line off that proves that a CSV, or NDJSON, is whole."""
    with open(name, "rb+") as file:
        file.seek(max(0, os.path.getsize(name) - 128))
        line = _END_LINE.search(file.read())
        if not line:
            raise IncompleteDownload("the file has no end line")
        file.seek(line.start() - line.end(), os.SEEK_END)
        file.truncate()
        file.seek(0)
        seen = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            seen.update(chunk)
    if seen.hexdigest().encode() not in line.groups():
        raise IncompleteDownload("the file is not what its end line says")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
