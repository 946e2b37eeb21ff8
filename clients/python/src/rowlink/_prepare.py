"""Files that the server prepares in its object storage."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from json import dumps, load
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ._problem import Problem, Unreachable

#: How long the server waits before it answers that a file is not ready, in seconds.
WAIT_SECONDS = 2


@dataclass(frozen=True)
class FileState:
    """The state of a file: `absent`, `preparing`, `ready`, `failed` or `cancelled`."""

    state: str
    #: So far, or of the complete file.
    rows: int | None = None
    bytes: int | None = None
    #: The planner's guess of all rows and bytes, if there is one.
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    sha256: str | None = None
    #: The code of the problem, if the file failed.
    code: str | None = None


class NotPrepared(Exception):
    """The file failed, or its preparation was cancelled. `file` has the reason."""

    def __init__(self, file: FileState) -> None:
        self.file = file
        super().__init__(f"the file is {file.state}: {file.code}" if file.code else f"the file is {file.state}")


def prepare(url: str, *, progress: Callable[[FileState], None] | None = None, timeout: float = 30.0) -> FileState:
    """Lets the server prepare the file of a link, and waits until it is ready. Needs an export with `[store]`.

    `progress` is called about every two seconds. Raises `NotPrepared`, `Problem`, or `Unreachable`.
    """
    file = _ask(url, {"prepare": True, "wait": WAIT_SECONDS}, timeout)
    while True:
        if progress:
            progress(file)
        if file.state == "ready":
            return file
        if file.state != "preparing":
            raise NotPrepared(file)
        file = _ask(url, {"wait": WAIT_SECONDS}, timeout)


def _ask(url: str, fields: dict[str, object], timeout: float) -> FileState:
    server = re.split("/v1/(?:exports|files)/", url, maxsplit=1)[0]
    request = Request(
        f"{server}/v1/links/status",
        data=dumps({"url": url, **fields}).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    try:
        with urlopen(request, timeout=timeout) as response:
            content = load(response)
    except HTTPError as response:
        with response:
            raise Problem.of(response) from None  # type: ignore[arg-type]
    except OSError as error:
        raise Unreachable(f"{server}: {getattr(error, 'reason', error)}") from error
    return FileState(**{name: content.get(name) for name in FileState.__dataclass_fields__})
