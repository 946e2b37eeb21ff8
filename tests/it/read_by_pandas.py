"""Prints the first sheet of a workbook as CSV, as pandas reads it. Argument: the path. Fails if its two readers differ."""

import sys

import pandas

by_openpyxl, by_calamine = (pandas.read_excel(sys.argv[1], engine=engine) for engine in ("openpyxl", "calamine"))
pandas.testing.assert_frame_equal(by_openpyxl, by_calamine, check_dtype=False)
print(by_openpyxl.to_csv(index=False), end="")
