"""Exports orders to a file, completely or not at all.

    ROWLINK_URL=https://shop.example.com ROWLINK_TOKEN=rlk_… python export.py orders.xlsx
"""

import os
import sys
from datetime import date

from rowlink import IncompleteDownload, Problem, Progress, Rowlink


def show(progress: Progress) -> None:
    print(f"\r{progress.bytes:,} bytes", end="", file=sys.stderr)


rowlink = Rowlink(os.environ["ROWLINK_URL"], os.environ["ROWLINK_TOKEN"])
try:
    link = rowlink.link("orders", "xlsx", filters={"from": date(2026, 1, 1)})
    print("", link.download(sys.argv[1], progress=show))
except (Problem, IncompleteDownload) as error:
    sys.exit(f"export failed: {error}")
