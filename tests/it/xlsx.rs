//! XLSX downloads, parsed by openpyxl and calamine and checked by openxml-audit.

use std::io::Read as _;
use std::process::Command;

use rowlink::format::{EncoderSettings, Format};
use rowlink::row::{Cell, Column, RowBuffer};
use serde_json::{Value, json};

use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{
    Call, Deployment, TestServer, begin, is_whole, python, read_aborted, read_workbook, unchunked,
};

fn request(export: &str) -> Value {
    json!({"export": export, "format": "xlsx"})
}

pub const TYPES: &str = "/*---
title = 'All: types'
timezone = 'Europe/Berlin'
[columns.amount]
label = 'Amount (EUR)'
number_format = '#,##0.00'
---*/
select true as boolean, 42::int8 as integer, 1234567890123456789 as long_integer, 1.5::float8 as fraction,
       'NaN'::float8 as not_a_number, 12.50::numeric as amount, 0.1234567890123456789::numeric as long_decimal,
       'zwölf < 13 & \"x\"' as word, '=1+1' as formula, ' a' || chr(10) || 'b ' as spaces, '' as empty,
       null::text as missing, '\\x00ff'::bytea as bytes, date '2026-01-31' as day, date '1899-12-31' as old_day,
       time '12:30:00.25' as clock, timestamp '2026-01-31 10:00:00.123' as local_time,
       interval '1 day 12:30:00.5' as duration, interval '1 mon' as months,
       timestamptz '2026-07-31 10:00:00+00' as instant, 'infinity'::timestamptz as never,
       uuid '00000000-0000-0000-0000-00000000002a' as id, '{\"a\": 1}'::jsonb as object
where :user = 'alice'";

#[test]
#[ignore = "needs PostgreSQL and Python packages: make test"]
fn other_readers_get_values_of_every_type() {
    let url = Cluster::shared().database("xlsx_types", "");
    let server = Deployment::over(url, vec![("types.sql", TYPES)]).start();
    let answer = server.download(request("types"));
    let link = answer.header("rowlink-link-id").to_owned();
    let workbook = read_workbook(&answer.body);

    let book = &workbook["openpyxl"];
    assert_eq!(book["title"], "All: types");
    assert_eq!(book["description"], "Time zone: Europe/Berlin");
    assert_eq!(book["identifier"], json!(link));
    assert_eq!(book["created"], "2026-01-31T10:00:00");
    let sheet = &book["sheets"][0];
    assert_eq!(sheet["name"], "All_ types");
    assert_eq!(sheet["frozen"], "A2");
    assert_eq!(sheet["filter"], "A1:W2");
    assert_eq!(sheet["bold"], true);
    assert_eq!(sheet["formats"][5], "#,##0.00");
    assert_eq!(sheet["rows"][0][5], "Amount (EUR)");
    let values = json!([
        true,
        42,
        "1234567890123456789",
        1.5,
        "#NUM!",
        12.5,
        "0.1234567890123456789",
        "zwölf < 13 & \"x\"",
        "=1+1",
        " a\nb ",
        "",
        null,
        "00ff",
        "2026-01-31T00:00:00",
        "1899-12-31",
        "12:30:00.250000",
        "2026-01-31T10:00:00.123000",
        "131400.5 s",
        "1 mon",
        "2026-07-31T12:00:00",
        "infinity",
        "00000000-0000-0000-0000-00000000002a",
        "{\"a\": 1}"
    ]);
    for (index, value) in values.as_array().unwrap().iter().enumerate() {
        let found = &sheet["rows"][1][index];
        // openpyxl returns an empty text as None.
        let empty = value == "" && found.is_null();
        assert!(
            found == value || empty,
            "{}: {found}, not {value}",
            sheet["rows"][0][index]
        );
    }
    let by_calamine = &workbook["calamine"]["All_ types"][1];
    assert_eq!(by_calamine[2], "1234567890123456789");
    assert_eq!(by_calamine[13], "2026-01-31");
    assert_eq!(by_calamine[19], "2026-07-31T12:00:00");
}

#[test]
#[ignore = "needs PostgreSQL and Python packages: make test"]
fn the_timezone_of_the_request_overrides_that_of_the_export_in_xlsx_and_csv() {
    let sql = "/*---\ntimezone = 'Asia/Almaty'\n---*/\n\
               select timestamptz '2026-01-31 10:00:00+00' as t where :user = 'alice'";
    let url = Cluster::shared().database("xlsx_zones", "");
    let server = Deployment::over(url, vec![("zones.sql", sql)]).start();
    let mut request = json!({"export": "zones", "format": "csv"});
    assert_eq!(
        server.download(request.clone()).text(),
        "t\r\n2026-01-31T15:00:00+05:00\r\n"
    );
    request["timezone"] = json!("America/New_York");
    assert_eq!(
        server.download(request.clone()).text(),
        "t\r\n2026-01-31T05:00:00-05:00\r\n"
    );
    request["format"] = json!("xlsx");
    let workbook = read_workbook(&server.download(request).body);
    assert_eq!(
        workbook["openpyxl"]["sheets"][0]["rows"][1][0],
        "2026-01-31T05:00:00"
    );
}

#[test]
#[ignore = "needs Python packages: make test"]
fn other_readers_open_an_empty_sheet_and_two_thousand_columns() {
    let wide: Vec<String> = (0..1999).map(|n| format!("{n} as c{n}")).collect();
    let wide = format!("select {} where :user = 'alice'", wide.join(", "));
    let none = "select 1 as id, 'x' as word where :user = 'nobody'";
    let server = TestServer::with_exports(vec![("wide.sql", &wide), ("none.sql", none)]);
    let workbook = read_workbook(&server.download(request("none")).body);
    assert_eq!(workbook["calamine"]["None"], json!([["id", "word"]]));
    let workbook = read_workbook(&server.download(request("wide")).body);
    let rows = workbook["openpyxl"]["sheets"][0]["rows"]
        .as_array()
        .unwrap();
    let expected: Vec<i64> = (0..1999).collect();
    assert_eq!(rows[1], json!(expected));
}

/// No supported database returns this many columns, so this test uses the encoder directly.
#[test]
#[ignore = "needs Python packages: make test"]
fn other_readers_get_the_last_column_of_excel() {
    let columns: Vec<Column> = (0..16_384)
        .map(|index| Column::text(format!("c{index}")))
        .collect();
    let format: Format = "xlsx".parse().unwrap();
    let encoder = format.encoder(&columns, EncoderSettings::default());
    let (mut encoder, mut file) = (encoder.unwrap(), Vec::new());
    encoder.begin(&mut file).unwrap();
    let mut rows = RowBuffer::default();
    rows.reset(columns.len());
    (0..16_384).for_each(|index| rows.push(Cell::Integer(index)));
    encoder.rows(&rows.finish().unwrap(), &mut file).unwrap();
    encoder.finish(&mut file).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (book, csv) = (folder.path().join("book.xlsx"), folder.path().join("csv"));
    std::fs::write(&book, file).unwrap();
    for reader in ["openpyxl", "calamine"] {
        let arguments = ["csv".as_ref(), book.as_ref(), csv.as_ref(), reader.as_ref()];
        python("read_workbook.py", &arguments);
        let read = std::fs::read_to_string(&csv).unwrap();
        let numbers: Vec<String> = (0..16_384).map(|index| index.to_string()).collect();
        let labels: Vec<&str> = columns.iter().map(|it| it.name.as_str()).collect();
        let expected = format!("{}\n{}\n", labels.join(","), numbers.join(","));
        assert!(read == expected, "{reader}");
    }
}

#[test]
fn the_headers_of_a_workbook_have_its_name_and_media_type() {
    let server = TestServer::start();
    let url = server
        .link(json!({"export": "orders", "format": "xlsx", "filters": {"from": "2026-01-01"}}));
    for method in ["HEAD", "GET"] {
        let answer = Call::new(method, url.clone()).send();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        );
        let disposition = answer.header("content-disposition");
        assert!(
            disposition.contains("filename=\"orders.xlsx\""),
            "{disposition}"
        );
    }
}

#[test]
fn a_text_too_long_for_a_cell_is_an_error_status_or_visible_truncation_and_names_its_cell() {
    let sql = "/*---\n[filters.at]\ntype = 'integer'\n---*/\n\
               with recursive m(i) as (select 1 union all select i + 1 from m where i < 300000) \
               select i as n, case when i = :at then printf('%.*c', 32768, 'x') end as note from m where :user = 'alice'";
    let rowlink = Rowlink::serve(&[("long.sql", sql)]);
    let link =
        |at: u64| rowlink.link(json!({"export": "long", "format": "xlsx", "filters": {"at": at}}));
    let answer = read_aborted(&link(200_000));
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && !is_whole(&answer));
    // Without a central directory no reader accepts it as a workbook.
    assert!(!answer.windows(4).any(|bytes| bytes == b"PK\x05\x06"));
    let log = rowlink.stop();
    assert!(
        log.contains("row 200000, column `note`: the text has 32768 UTF-16 code units"),
        "{log}"
    );
    assert!(log.contains("outcome=\"does_not_fit_format\""), "{log}");

    let short = sql.replace("300000", "3");
    let server = TestServer::with_exports(vec![("long.sql", &short)]);
    let url = server.link(json!({"export": "long", "format": "xlsx", "filters": {"at": 2}}));
    let answer = Call::new("GET", url).send();
    assert_eq!(answer.problem(), (422, "does-not-fit-format".into()));
    assert!(
        answer.text().contains("row 2, column `note`"),
        "{}",
        answer.text()
    );
}

#[test]
fn the_first_rows_of_a_slow_query_can_be_inflated_before_the_query_ends() {
    let sql = "with recursive m(j) as (select 1 union all select j + 1 from m where j < 2000), \
               endless(i) as (select 1 union all select i + 1 from endless) \
               select j, case when j = 2000 then (select count(*) from endless) end as n \
               from m where :user = 'alice'";
    let server = TestServer::with_exports(vec![("slow.sql", sql)]);
    let mut stream = begin(&server.link(request("slow")));
    let mut received = Vec::new();
    let sheet = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended");
        received.extend_from_slice(&buffer[..count]);
        let sheet = first_sheet(&unchunked(&received).0);
        if sheet.contains("<c r=\"A2000\"><v>1999</v></c></row>") {
            break sheet;
        }
    };
    assert!(!sheet.contains("</sheetData>"));
}

/// Returns as much of the first sheet as can be inflated.
pub fn first_sheet(archive: &[u8]) -> String {
    let name = b"xl/worksheets/sheet1.xml";
    let Some(start) = archive.windows(name.len()).position(|bytes| bytes == name) else {
        return String::new();
    };
    let mut sheet = Vec::new();
    // Fails at the missing end, after the available data.
    let _ =
        flate2::read::DeflateDecoder::new(&archive[start + name.len()..]).read_to_end(&mut sheet);
    String::from_utf8_lossy(&sheet).into_owned()
}

#[test]
#[ignore = "needs prlimit: make test"]
fn a_workbook_is_written_without_a_temporary_file() {
    let rowlink = Rowlink::serve(&crate::harness::exports());
    // From here on the kernel kills the process (SIGXFSZ) if it writes to a file.
    let limited = Command::new("prlimit")
        .args([&format!("--pid={}", rowlink.pid()), "--fsize=0"])
        .status();
    assert!(limited.unwrap().success());
    let url =
        rowlink.link(json!({"export": "numbers", "format": "xlsx", "filters": {"n": 200_000}}));
    let workbook = Call::new("GET", url).send().body;
    assert!(workbook.len() > 1_000_000);
    assert!(rowlink.is_alive());
}
