//! Links, totals, formats, widths, title blocks and tables in workbooks that a server sends.

use std::io::{Cursor, Read as _};

use calamine::{Data, Reader as _, Xlsx};
use serde_json::{Value, json};

use crate::harness::{
    Call, Deployment, TestServer, is_whole, read_aborted, read_workbook, sample_database,
    sqlite_url, token_for, unchunked,
};
use crate::xlsx::first_sheet;

/// An export with every setting of a workbook. The first row has a URL that programs open, the second one that they must not.
pub const SALES: &str = "/*---
title = 'Sales'
timezone = 'Europe/Berlin'
[xlsx]
title_block = true
table = true
total_label = 'Summe'
[columns.id]
link = 'https://shop.example/orders/{id}?customer={customer}'
[columns.customer]
width = 24
[columns.amount]
label = 'Amount, net'
total = 'sum'
format = 'currency:EUR'
[columns.share]
format = 'percent'
[columns.site]
link = '{site}'
total = 'count'
[columns.key]
hidden = true
---*/
with recursive m(i) as (select 1 union all select i + 1 from m where i < 3)
select i as id, 'Ann & Ä \"' || i as customer, i * 1250 as amount, i / 4.0 as share,
       case i when 1 then 'https://a.example/?q=\"x\"' when 2 then 'javascript:alert(1)' end as site,
       'k' || i as key
from m where :user = 'alice'";

const LINK_OF_FIRST: &str =
    "HYPERLINK(\"https://shop.example/orders/1?customer=Ann%20%26%20%C3%84%20%221\",1)";
const LINK_OF_SITE: &str =
    "HYPERLINK(\"https://a.example/?q=\"\"x\"\"\",\"https://a.example/?q=\"\"x\"\"\")";

fn request(fields: Value) -> Value {
    let mut request = json!({"export": "sales", "format": "xlsx"});
    let fields = fields.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    request
}

/// A workbook, as `calamine` and `zip` read it. Cells have a row and a column, counted from 0.
struct Workbook(Vec<u8>);

impl Workbook {
    fn reader(&self) -> Xlsx<Cursor<&[u8]>> {
        Xlsx::new(Cursor::new(self.0.as_slice())).unwrap()
    }

    fn value(&self, sheet: &str, cell: (u32, u32)) -> Data {
        let range = self.reader().worksheet_range(sheet).unwrap();
        range.get_value(cell).cloned().unwrap_or(Data::Empty)
    }

    /// Returns the formula of a cell, or an empty text.
    fn formula(&self, sheet: &str, cell: (u32, u32)) -> String {
        let range = self.reader().worksheet_formula(sheet).unwrap();
        range.get_value(cell).cloned().unwrap_or_default()
    }

    fn part(&self, name: &str) -> String {
        let mut archive = zip::ZipArchive::new(Cursor::new(&self.0)).unwrap();
        let mut text = String::new();
        let mut part = archive.by_name(name).unwrap();
        part.read_to_string(&mut text).unwrap();
        text
    }
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

#[test]
fn a_workbook_has_every_detail_that_its_export_sets() {
    let server = TestServer::with_exports(vec![("sales.sql", SALES)]);
    let workbook = Workbook(server.download(request(json!({}))).body);
    let value = |row, column| workbook.value("Sales", (row, column));
    let formula = |row, column| workbook.formula("Sales", (row, column));

    assert_eq!(value(0, 0), text("Sales"));
    assert_eq!(
        value(1, 0),
        text("2026-01-31 11:00:00 +01:00 Europe/Berlin")
    );
    assert_eq!(value(3, 2), text("Amount, net"));
    assert_eq!(value(4, 0), Data::Float(1.0));
    assert_eq!(formula(4, 0), LINK_OF_FIRST);
    assert_eq!(value(4, 1), text("Ann & Ä \"1"));
    assert_eq!(value(5, 3), Data::Float(0.5));
    assert_eq!(value(4, 4), text("https://a.example/?q=\"x\""));
    assert_eq!(formula(4, 4), LINK_OF_SITE);
    assert_eq!(value(5, 4), text("javascript:alert(1)"));
    assert_eq!(formula(5, 4), "");
    assert_eq!(value(6, 4), Data::Empty);
    assert_eq!(value(7, 0), text("Summe"));
    assert_eq!(value(7, 2), Data::Float(7500.0));
    assert_eq!(formula(7, 2), "SUBTOTAL(109,Table_sales[Amount, net])");
    assert_eq!(value(7, 4), Data::Float(2.0));
    assert_eq!(formula(7, 4), "SUBTOTAL(103,Table_sales[site])");

    let mut reader = workbook.reader();
    reader.load_tables().unwrap();
    let table = reader.table_by_name("Table_sales").unwrap();
    let columns = ["id", "customer", "Amount, net", "share", "site", "key"];
    assert_eq!(table.columns(), columns);
    let sheet = workbook.part("xl/worksheets/sheet1.xml");
    for expected in [
        "<pane ySplit=\"4\" topLeftCell=\"A5\"",
        "<col min=\"2\" max=\"2\" width=\"24.7109375\" customWidth=\"1\"/>",
        "hidden=\"1\" customWidth=\"1\"/></cols>",
    ] {
        assert!(sheet.contains(expected), "{expected}: {sheet}");
    }
    let styles = workbook.part("xl/styles.xml");
    for format in ["#,##0.00\\ [$EUR]", "0.00%"] {
        assert!(
            styles.contains(&format!("formatCode=\"{format}\"")),
            "{styles}"
        );
    }
}

#[test]
fn a_request_turns_off_what_the_export_sets_and_other_formats_ignore_it() {
    let server = TestServer::with_exports(vec![("sales.sql", SALES)]);
    let xlsx =
        json!({"title_block": false, "table": false, "total_label": "Total", "compact": true});
    let workbook = Workbook(server.download(request(json!({"xlsx": xlsx}))).body);
    assert_eq!(workbook.value("Sales", (0, 0)), text("id"));
    assert_eq!(workbook.formula("Sales", (1, 0)), LINK_OF_FIRST);
    assert_eq!(workbook.value("Sales", (4, 0)), text("Total"));
    assert_eq!(workbook.formula("Sales", (4, 2)), "SUBTOTAL(109,C2:C4)");
    let names = workbook.part("xl/workbook.xml");
    assert!(names.contains("'Sales'!$A$1:$F$4</definedName>"), "{names}");

    let csv = server.download(request(json!({"format": "csv"}))).text();
    assert_eq!(csv.lines().count(), 4);
    assert!(
        csv.starts_with("id,customer,\"Amount, net\",share,site,key\r\n1,"),
        "{csv}"
    );

    for (option, value) in [
        ("table", json!("yes")),
        ("total_label", json!("")),
        ("title", json!(true)),
    ] {
        let answer = server.issue(request(json!({"xlsx": {option: value}})));
        assert_eq!(answer.fields(), [format!("xlsx.{option}")]);
    }
}

#[test]
fn a_cell_is_plain_if_the_file_lacks_a_column_of_its_link() {
    let with_scope = SALES.replace("width = 24", "width = 24\nscope = 'customers:read'");
    let exports = vec![("sales.sql", SALES), ("scoped.sql", with_scope.as_str())];
    let server = TestServer::with_exports(exports);
    let columns = json!({"columns": ["id", "amount"]});
    let workbook = Workbook(server.download(request(columns)).body);
    assert_eq!(workbook.value("Sales", (4, 0)), Data::Float(1.0));
    assert_eq!(workbook.formula("Sales", (4, 0)), "");

    for (scope, expected) in [("other", ""), ("customers:read", LINK_OF_FIRST)] {
        let claims = json!({"sub": "alice", "exp": server.now() + 3600, "scope": scope});
        let request = request(json!({"export": "scoped"}));
        let answer = server.issue_with(&token_for(&claims), request);
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        let workbook = Workbook(Call::new("GET", url).send().body);
        assert_eq!(workbook.formula("Sales", (4, 0)), expected, "{scope}");
        let sheet = workbook.part("xl/worksheets/sheet1.xml");
        assert_eq!(sheet.contains("Ann"), scope == "customers:read", "{scope}");
    }
}

#[test]
fn a_measured_workbook_has_its_length_and_the_same_bytes_again() {
    let server = TestServer::with_exports(vec![("sales.sql", SALES)]);
    let url = server.link(request(json!({"length": "exact"})));
    let [first, second] = [0, 30].map(|later| {
        server.set_clock(server.now() + later);
        Call::new("GET", url.clone()).send()
    });
    assert_eq!(first.header("content-length"), first.body.len().to_string());
    assert_eq!(first.body, second.body);
    let workbook = Workbook(first.body);
    assert_eq!(workbook.value("Sales", (7, 2)), Data::Float(7500.0));
}

#[test]
fn each_sheet_of_a_book_has_its_own_totals_and_table() {
    let sheet = |total: &str, rows: &str| {
        format!(
            "/*---\n[columns.n]\ntotal = '{total}'\n---*/\n\
             select key, n from (select column1 as key, column2 as n from (values {rows})) where :user = 'alice'"
        )
    };
    let (one, two) = (
        sheet("sum", "('a', 1), ('b', 2.5)"),
        sheet("count", "('a', 'x')"),
    );
    let none =
        "/*---\n[columns.n]\ntotal = 'sum'\n---*/\nselect 1 as key, 2 as n where :user = 'nobody'";
    let server = TestServer::with_exports(vec![
        ("year/book.toml", "title = 'Year'\n[xlsx]\ntable = true\n"),
        ("year/1_one.sql", &one),
        ("year/2_two.sql", &two),
        ("year/3_none.sql", none),
    ]);
    let request = json!({"export": "year", "format": "xlsx"});
    let workbook = Workbook(server.download(request).body);
    for (sheet, row, formula, total) in [
        ("One", 3, "SUBTOTAL(109,Table_one[n])", 3.5),
        ("Two", 2, "SUBTOTAL(103,Table_two[n])", 1.0),
        ("None", 2, "SUBTOTAL(109,Table_none[n])", 0.0),
    ] {
        assert_eq!(workbook.formula(sheet, (row, 1)), formula);
        assert_eq!(workbook.value(sheet, (row, 1)), Data::Float(total));
    }
}

#[test]
fn a_query_that_fails_leaves_a_truncated_workbook_without_totals() {
    let sql = "/*---\n[xlsx]\ntable = true\n[columns.n]\ntotal = 'sum'\nlink = 'https://a.example/{n}'\n---*/\n\
               with recursive m(i) as (select 1 union all select i + 1 from m where i < 300000) \
               select i as n, json(case when i = 299000 then 'not JSON' end) as failure from m where :user = 'alice'";
    let server = TestServer::with_exports(vec![("sales.sql", sql)]);
    let answer = read_aborted(&server.link(request(json!({}))));
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && !is_whole(&answer));
    let (file, _) = unchunked(&answer);
    assert!(zip::ZipArchive::new(Cursor::new(&file)).is_err());
    let sheet = first_sheet(&file);
    assert!(sheet.contains("HYPERLINK"));
    assert!(!sheet.contains("SUBTOTAL") && !sheet.contains("</sheetData>"));
}

#[test]
fn a_link_to_a_column_that_the_query_lacks_prevents_the_start() {
    let sql = "/*---\n[columns.id]\nlink = 'https://a.example/{nr}'\n---*/\nselect 1 as id where :user = 'alice'";
    let folder = tempfile::tempdir().unwrap();
    let database = sample_database(folder.path());
    let url = sqlite_url(&database);
    let errors = Deployment::over(url, vec![("x.sql", sql)]).errors();
    let expected = "x.sql:2: `link` of `id`: the query has no column `nr`";
    assert!(
        errors.len() == 1 && errors[0].starts_with(expected),
        "{errors:?}"
    );
}

#[test]
#[ignore = "needs Python packages: make test"]
fn other_readers_read_every_detail() {
    let server = TestServer::with_exports(vec![("sales.sql", SALES)]);
    let workbook = read_workbook(&server.download(request(json!({}))).body);
    let sheet = &workbook["openpyxl"]["sheets"][0];
    assert_eq!(sheet["frozen"], "A5");
    assert_eq!(sheet["bold"], true);
    assert_eq!(sheet["rows"][4][0], format!("={LINK_OF_FIRST}"));
    assert_eq!(sheet["rows"][4][4], format!("={LINK_OF_SITE}"));
    assert_eq!(
        sheet["rows"][7][2],
        "=SUBTOTAL(109,Table_sales[Amount, net])"
    );
    assert_eq!(sheet["formats"][2], "#,##0.00\\ [$EUR]");
    let by_calamine = &workbook["calamine"]["Sales"];
    assert_eq!(by_calamine[4][0], 1.0);
    assert_eq!(by_calamine[7][2], 7500.0);

    // Without rows, and with every combination of the options.
    let empty = SALES.replace("'alice'", "'nobody'");
    let server = TestServer::with_exports(vec![("sales.sql", &empty)]);
    for (table, title_block) in [(true, true), (true, false), (false, true), (false, false)] {
        let xlsx = json!({"table": table, "title_block": title_block});
        let file = server.download(request(json!({"xlsx": xlsx}))).body;
        let rows = read_workbook(&file)["calamine"]["Sales"].clone();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), if title_block { 6 } else { 3 });
        assert_eq!(rows.last().unwrap()[2], 0.0);
    }
}
