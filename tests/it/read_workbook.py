"""Reads a workbook with independent readers.

read_workbook.py json FILE       prints its contents by openpyxl and calamine, and the errors of openxml-audit
read_workbook.py csv FILE OUT [openpyxl]
                                 writes its sheets in order as CSV, read by calamine or openpyxl
read_workbook.py zip FILE        checks the archive with zipfile; prints sizes
"""

import csv
import datetime
import json
import sys
import zipfile

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
    """Returns violations of the standard, without warnings such as inline strings, which Excel replaces on saving."""
    found = openxml_audit.OpenXmlValidator().validate(path)
    return [str(error) for error in found.errors if error.severity == openxml_audit.ValidationSeverity.ERROR]


def rows(path, reader):
    if reader == "openpyxl":
        for sheet in openpyxl.load_workbook(path, read_only=True).worksheets:
            yield from sheet.iter_rows(values_only=True)
        return
    book = python_calamine.CalamineWorkbook.from_path(path)
    for name in book.sheet_names:
        yield from book.get_sheet_by_name(name).iter_rows()


def write_csv(path, out, reader="calamine"):
    with open(out, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        for row in rows(path, reader):
            writer.writerow(int(cell) if isinstance(cell, float) and cell.is_integer() else plain(cell) for cell in row)


def archive(path):
    with zipfile.ZipFile(path) as found:
        sizes = {part.filename: part.file_size for part in found.infolist()}
        sheets = [size for name, size in sizes.items() if name.startswith("xl/worksheets/")]
        return {"first_bad_part": found.testzip(), "total": sum(sizes.values()), "sheets": sheets}


def main():
    mode, path, *rest = sys.argv[1:]
    if mode == "csv":
        write_csv(path, *rest)
    elif mode == "zip":
        json.dump(archive(path), sys.stdout)
    else:
        result = {"openpyxl": by_openpyxl(path), "calamine": by_calamine(path), "errors": errors(path)}
        json.dump(result, sys.stdout)


main()
