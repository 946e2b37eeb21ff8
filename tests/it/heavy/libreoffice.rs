//! LibreOffice as a reader of workbooks and text files: `make test-large`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::command::run;
use crate::harness::postgres::Cluster;
use crate::harness::{Deployment, TestServer, python};
use crate::heartbeats::workbooks_with_and_without_heartbeats;
use crate::real_data::{FLIGHTS, compare_flights, load_flights, naughty_server, naughty_strings};
use crate::workbook_details::SALES;
use crate::xlsx::TYPES;

/// Runs LibreOffice with a profile beside the file; its output goes to the file's folder.
fn convert(file: &Path, arguments: &[&str]) {
    let folder = file.parent().unwrap();
    let profile = format!("-env:UserInstallation=file://{}/profile", folder.display());
    run(Command::new("soffice")
        .arg(profile)
        .arg("--headless")
        .args(arguments)
        .arg("--outdir")
        .args([folder, file]));
}

/// Whether LibreOffice writes cell values or their displayed text.
pub enum CellText {
    Value,
    AsShown,
}

/// Converts a workbook with LibreOffice; returns one CSV file per sheet.
pub fn by_libreoffice(workbook: &Path, written: CellText) -> Vec<PathBuf> {
    let folder = workbook.parent().unwrap();
    // Comma, double quote, UTF-8, from the first line, numbers without quotes, every sheet.
    let as_shown = matches!(written, CellText::AsShown);
    let csv = format!(
        "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,{as_shown},false,false,-1"
    );
    convert(workbook, &["--convert-to", &csv]);
    let stem = workbook.file_stem().unwrap().to_str().unwrap();
    let mut sheets: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "csv"))
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&format!("{stem}-"))
        })
        .collect();
    sheets.sort();
    sheets
}

fn rows(csv: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_path(csv)
        .unwrap();
    let rows = reader
        .records()
        .map(|row| row.unwrap().iter().map(str::to_owned).collect());
    rows.collect()
}

#[test]
#[ignore = "needs LibreOffice and pandas: make test-large"]
fn libreoffice_and_pandas_read_a_workbook_with_hundreds_of_heartbeats() {
    let folder = tempfile::tempdir().unwrap();
    let books = workbooks_with_and_without_heartbeats("heartbeats_libreoffice");
    let [with, without] = ["with.xlsx", "without.xlsx"].map(|name| folder.path().join(name));
    for (path, book) in [&with, &without].into_iter().zip(books) {
        fs::write(path, book).unwrap();
    }
    let [with_sheet, without_sheet] = [&with, &without].map(|path| {
        let sheets = by_libreoffice(path, CellText::Value);
        rows(&sheets[0])
    });
    assert_eq!(with_sheet.len(), 1001);
    assert_eq!(with_sheet, without_sheet);
    let [with, without] =
        [&with, &without].map(|path| python("read_by_pandas.py", &[path.as_os_str()]));
    assert_eq!(with.lines().count(), 1001);
    assert_eq!(with, without);
}

#[test]
#[ignore = "needs LibreOffice: make test-large"]
fn libreoffice_reads_flights_and_naughty_strings_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let request = |export: &str| json!({"export": export, "format": "xlsx"});
    let workbook = folder.path().join("book.xlsx");

    let database = folder.path().join("flights.db");
    load_flights(&database);
    let server = TestServer::over(&database, vec![("flights.sql", FLIGHTS)]);
    fs::write(&workbook, &server.download(request("flights")).body).unwrap();
    let [sheet] = by_libreoffice(&workbook, CellText::Value)
        .try_into()
        .unwrap();
    compare_flights(&sheet, &json!({}), 336_776);
    fs::remove_file(sheet).unwrap();

    let server = naughty_server(folder.path());
    fs::write(&workbook, &server.download(request("naughty")).body).unwrap();
    let [sheet] = by_libreoffice(&workbook, CellText::Value)
        .try_into()
        .unwrap();
    let found: Vec<String> = rows(&sheet)
        .into_iter()
        .skip(1)
        .map(|mut row| row.remove(0))
        .collect();
    assert_eq!(found, naughty_strings());
}

#[test]
#[ignore = "needs LibreOffice: make test-large"]
fn libreoffice_displays_values_of_every_type() {
    let url = Cluster::shared().database("xlsx_libreoffice", "");
    let server = Deployment::over(url, vec![("types.sql", TYPES)]).start();
    let folder = tempfile::tempdir().unwrap();
    let workbook = folder.path().join("book.xlsx");
    let request = json!({"export": "types", "format": "xlsx"});
    fs::write(&workbook, &server.download(request).body).unwrap();
    let [sheet] = by_libreoffice(&workbook, CellText::AsShown)
        .try_into()
        .unwrap();
    let shown = rows(&sheet).remove(1);
    assert_eq!(
        shown,
        [
            "TRUE",
            "42",
            "1234567890123456789",
            "1.5",
            "#NUM!",
            "12.50",
            "0.1234567890123456789",
            "zwölf < 13 & \"x\"",
            "=1+1",
            " a\nb ",
            "",
            "",
            "00ff",
            "2026-01-31",
            "1899-12-31",
            "12:30:00.250",
            "2026-01-31 10:00:00.123",
            "36:30:00.500",
            "1 mon",
            "2026-07-31 12:00:00",
            "infinity",
            "00000000-0000-0000-0000-00000000002a",
            "{\"a\": 1}"
        ]
    );
}

/// Makes LibreOffice compute every formula of a workbook in this folder, instead of showing the values in the file.
fn compute_formulas(folder: &Path) {
    let user = folder.join("profile/user");
    fs::create_dir_all(&user).unwrap();
    let settings = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <oor:items xmlns:oor=\"http://openoffice.org/2001/registry\">\
        <item oor:path=\"/org.openoffice.Office.Calc/Formula/Load\">\
        <prop oor:name=\"OOXMLRecalcMode\" oor:op=\"fuse\"><value>0</value></prop></item></oor:items>";
    fs::write(user.join("registrymodifications.xcu"), settings).unwrap();
}

#[test]
#[ignore = "needs LibreOffice and pandas: make test-large"]
fn libreoffice_computes_the_totals_and_texts_that_a_workbook_has() {
    let server = TestServer::with_exports(vec![("sales.sql", SALES)]);
    let request = |table: bool| {
        let xlsx = json!({"table": table, "title_block": false});
        json!({"export": "sales", "format": "xlsx", "xlsx": xlsx})
    };
    for table in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        compute_formulas(folder.path());
        let workbook = folder.path().join("book.xlsx");
        fs::write(&workbook, &server.download(request(table)).body).unwrap();
        let [sheet] = by_libreoffice(&workbook, CellText::AsShown)
            .try_into()
            .unwrap();
        let shown = rows(&sheet);
        let site = "https://a.example/?q=\"x\"";
        let expected = ["1", "Ann & Ä \"1", "1,250.00 EUR", "25.00%", site, "k1"];
        assert_eq!(shown[1], expected);
        assert_eq!(shown[4], ["Summe", "", "7,500.00 EUR", "", "2", ""]);

        let by_pandas = python("read_by_pandas.py", &[workbook.as_os_str()]);
        let total = by_pandas.lines().last().unwrap();
        assert_eq!(total, "Summe,,7500,,2,");
    }
}

/// Opens a text file with these separators, as decimal codes joined by `/`; returns the number of formulas.
fn count_formulas(file: &Path, separators: &str) -> usize {
    let filter = format!("--infilter=CSV:{separators},34,76,1");
    convert(file, &[&filter, "--convert-to", "fods"]);
    let sheet = fs::read_to_string(file.with_extension("fods")).unwrap();
    sheet.matches("table:formula=").count()
}

/// Texts with a formula wherever a cell may start, for every separator, behind everything that a reader removes.
fn formulas() -> Vec<String> {
    let mut texts = Vec::new();
    for (before, after) in [("", ""), ("\0", ""), ("\u{feff}", ""), ("\"", "\"")] {
        let formula = format!("{before}=1+1{after}");
        for separator in [",", ";", "\t", "|", "\r", "\n", "\r\n"] {
            texts.push(format!("x{separator}{formula}{separator}y"));
        }
        texts.push(formula);
    }
    texts
}

/// Downloads an export as CSV with each delimiter and as TSV, and opens each file with each set of separators.
/// Expects no formula, and some in the same files without the guard.
fn expect_no_formula(server: &TestServer, export: &str) {
    let folder = tempfile::tempdir().unwrap();
    let csv = [",", ";", "|", "\t"].map(|delimiter| ("csv", json!({"delimiter": delimiter})));
    for (format, mut options) in csv.into_iter().chain([("tsv", json!({}))]) {
        let mut unguarded = 0;
        for separators in ["44", "59", "9", "124", "44/59/9", "44/59/9/124"] {
            let mut count = |guard: bool| {
                options["formula_guard"] = guard.into();
                let file = folder.path().join("file.csv");
                let request = json!({"export": export, "format": format, format: options});
                fs::write(&file, server.download(request).body).unwrap();
                count_formulas(&file, separators)
            };
            assert_eq!(count(true), 0, "{format} {separators}");
            unguarded += count(false);
        }
        assert!(unguarded > 0, "{format}");
    }
}

#[test]
#[ignore = "needs LibreOffice: make test-large"]
fn libreoffice_computes_no_text_whatever_separators_it_splits_at() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("formulas.db");
    let connection = Connection::open(&database).unwrap();
    connection.execute_batch("create table t (v)").unwrap();
    for text in formulas() {
        connection
            .execute("insert into t values (?)", [text])
            .unwrap();
    }
    let sql = "select v as first, v as middle, :user as user, v as last from t order by rowid";
    let server = TestServer::over(&database, vec![("formulas.sql", sql)]);
    expect_no_formula(&server, "formulas");
}

#[test]
#[ignore = "needs LibreOffice: make test-large"]
fn libreoffice_computes_no_json_whatever_separators_it_splits_at() {
    // PostgreSQL has no NUL.
    let texts = formulas().into_iter().filter(|text| !text.contains('\0'));
    let values = texts.flat_map(|text| [json!(text), json!({"k": text, "list": [text, -1]})]);
    let values = json!(values.collect::<Vec<_>>());
    let rows = format!("create table t as select json_array_elements($rows${values}$rows$) as v");
    let url = Cluster::shared().database("json_formulas", &rows);
    let sql = "select 1 as number, v as middle, :user as user, v as last from t";
    let server = Deployment::over(url, vec![("formulas.sql", sql)]).start();
    expect_no_formula(&server, "formulas");
}

#[test]
#[ignore = "needs LibreOffice: make test-large"]
fn libreoffice_shows_the_day_of_a_time_before_midnight_and_recognises_local_times_in_csv() {
    let url = Cluster::shared().database("libreoffice_times", "");
    let sql = "select timestamptz '2026-01-31 22:59:59.9999Z' as at, date '1900-02-28' as day, time '23:59:59.9' as time \
               where :user = 'alice'";
    let sql = format!("/*---\ntimezone = \"Europe/Berlin\"\n---*/\n{sql}");
    let server = Deployment::over(url, vec![("times.sql", &sql)]).start();
    let folder = tempfile::tempdir().unwrap();
    let workbook = folder.path().join("book.xlsx");
    let request = json!({"export": "times", "format": "xlsx"});
    fs::write(&workbook, &server.download(request).body).unwrap();
    let [sheet] = by_libreoffice(&workbook, CellText::AsShown)
        .try_into()
        .unwrap();
    let expected = ["2026-01-31 23:59:59.999", "1900-02-28", "23:59:59.900"];
    assert_eq!(rows(&sheet)[1], expected);

    let file = folder.path().join("file.csv");
    for (timestamps, value_type) in [("spreadsheet", "date"), ("rfc3339", "string")] {
        let csv = json!({"timestamps": timestamps, "header": false});
        let request = json!({"export": "times", "format": "csv", "csv": csv, "columns": ["at"]});
        fs::write(&file, server.download(request).body).unwrap();
        // From the first line, in the language of the system, with the recognition of numbers.
        let filter = "--infilter=CSV:44,34,76,1,,0,false,true";
        convert(&file, &[filter, "--convert-to", "fods"]);
        let sheet = fs::read_to_string(file.with_extension("fods")).unwrap();
        let expected = format!("office:value-type=\"{value_type}\"");
        assert!(sheet.contains(&expected), "{timestamps}");
    }
}
