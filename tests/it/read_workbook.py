"""Reads a workbook with readers that are not ours.

read_workbook.py json FILE       what openpyxl, calamine and openxml-audit say of it
read_workbook.py csv FILE OUT    its first sheet, read by calamine, as CSV
"""

import csv
import datetime
import json
import sys

import openpyxl
import openxml_audit
import python_calamine


def plain(value):
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds()} s"
    return value


def by_openpyxl(path):
    book = openpyxl.load_workbook(path)
    properties = book.properties
    return {
        "title": properties.title,
        "identifier": properties.identifier,
        "description": properties.description,
        "created": plain(properties.created),
        "sheets": [
            {
                "name": sheet.title,
                "frozen": sheet.freeze_panes,
                "filter": sheet.auto_filter.ref,
                "bold": sheet["A1"].font.b,
                "formats": [cell.number_format for cell in sheet[sheet.max_row]],
                "rows": [[plain(cell) for cell in row] for row in sheet.iter_rows(values_only=True)],
            }
            for sheet in book.worksheets
        ],
    }


def by_calamine(path):
    book = python_calamine.CalamineWorkbook.from_path(path)
    return {
        name: [[plain(cell) for cell in row] for row in book.get_sheet_by_name(name).to_python()]
        for name in book.sheet_names
    }


def errors(path):
    """What is not as the standard has it. That Excel moves inline strings when it saves is no error."""
    found = openxml_audit.OpenXmlValidator().validate(path)
    return [str(error) for error in found.errors if error.severity == openxml_audit.ValidationSeverity.ERROR]


def main():
    mode, path = sys.argv[1:3]
    if mode == "json":
        said = {"openpyxl": by_openpyxl(path), "calamine": by_calamine(path), "errors": errors(path)}
        json.dump(said, sys.stdout)
        return
    book = python_calamine.CalamineWorkbook.from_path(path)
    with open(sys.argv[3], "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        for row in book.get_sheet_by_index(0).iter_rows():
            writer.writerow(int(cell) if isinstance(cell, float) and cell.is_integer() else plain(cell) for cell in row)


main()
