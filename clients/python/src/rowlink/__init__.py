"""Rowlink: signed download links for database rows.

    from rowlink import Rowlink

    rowlink = Rowlink("https://shop.example.com", token)
    link = rowlink.link("orders", "csv", filters={"from": "2026-01-01"})
    link.download("orders.csv")

`mint` signs links offline for holders of a signing key.

A download is renamed to its final name only when complete. A failed download leaves no file.
"""

from ._client import Format, Link, Rowlink
from ._download import IncompleteDownload, Progress, download
from ._mint import mint
from ._prepare import FileState, NotPrepared, prepare
from ._problem import Problem, Unreachable

__all__ = ["FileState", "Format", "IncompleteDownload", "Link", "NotPrepared", "Problem", "Progress", "Rowlink", "Unreachable",
           "download", "mint", "prepare"]
