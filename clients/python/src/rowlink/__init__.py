"""Rowlink: signed download links for database rows.

    from rowlink import Rowlink

    rowlink = Rowlink("https://shop.example.com", token)
    link = rowlink.link("orders", "csv", filters={"from": "2026-01-01"})
    link.download("orders.csv")

Whoever holds a signing key makes links without asking: `mint`.

A file appears under its name once it is whole. What breaks off leaves nothing behind.
"""

from ._client import Link, Rowlink
from ._download import IncompleteDownload, Progress, download
from ._mint import mint
from ._problem import Problem

__all__ = ["IncompleteDownload", "Link", "Problem", "Progress", "Rowlink", "download", "mint"]
