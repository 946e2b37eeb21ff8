"""Writes SQLite rows to a workbook with Python's XlsxWriter in constant-memory mode.

`python_xlsxwriter.py DATABASE QUERY FILE`
"""

import sqlite3
import sys

import xlsxwriter

database, query, file = sys.argv[1:]
rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute(query)
with xlsxwriter.Workbook(file, {"constant_memory": True}) as workbook:
    sheet = workbook.add_worksheet()
    sheet.write_row(0, 0, [column[0] for column in rows.description], workbook.add_format({"bold": True}))
    for index, row in enumerate(rows, 1):
        for column, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, str):
                sheet.write_string(index, column, value)
            else:
                sheet.write_number(index, column, value)
