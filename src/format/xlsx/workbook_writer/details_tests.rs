//! Links, totals, title blocks and tables in whole workbooks.

use std::io::{Cursor, Read as _};

use calamine::{Data, Reader as _, Xlsx};

use super::tests::{archive, batch};
use super::*;
use crate::format::column_display::{ColumnDisplay, LinkPart, LinkTemplate, TotalFunction};
use crate::format::encoder::{Properties, SheetSettings};
use crate::format::xlsx::OPTIONS;
use crate::row::{Cell, Date};

/// A link to the order with the value of `id`.
fn order_link() -> ColumnDisplay {
    ColumnDisplay {
        link: Some(LinkTemplate::Parts(vec![
            LinkPart::Text("https://shop.example/orders/".into()),
            LinkPart::Column("id".into()),
        ])),
        ..ColumnDisplay::default()
    }
}

fn total(function: TotalFunction) -> ColumnDisplay {
    ColumnDisplay {
        total: Some(function),
        ..ColumnDisplay::default()
    }
}

fn sheet(name: &str, displays: &[(&str, ColumnDisplay)]) -> SheetSettings {
    let displays = displays.iter();
    SheetSettings {
        name: name.into(),
        title: format!("{}{}", name[..1].to_uppercase(), &name[1..]),
        displays: displays
            .map(|(column, display)| ((*column).to_owned(), display.clone()))
            .collect(),
        ..SheetSettings::default()
    }
}

fn settings(sheet: SheetSettings, options: &[(&str, &str)]) -> EncoderSettings {
    let mut settings = EncoderSettings {
        sheets: vec![sheet],
        properties: Properties {
            title: "Orders".into(),
            identifier: "an id".into(),
            created: 1_769_853_600,
        },
        ..EncoderSettings::default()
    };
    for (name, value) in options {
        let set = settings.options.set(&OPTIONS, name, value);
        set.expect("an option");
    }
    settings
}

fn columns(names: &[&str]) -> Vec<Column> {
    names.iter().map(|name| Column::text(*name)).collect()
}

/// Returns a workbook of one statement with these columns and rows, which begins a new sheet after `rows_max` rows.
fn workbook_with(
    settings: EncoderSettings,
    names: &[&str],
    rows: &[Vec<Cell<'_>>],
    rows_max: u32,
) -> Workbook {
    let mut writer = WorkbookWriter::new(&columns(names), settings).expect("columns that fit");
    writer.limits.rows = rows_max;
    writer.rows(&batch(names.len(), rows)).expect("they fit");
    Workbook(archive(writer))
}

/// A workbook, read by `calamine` and `zip`.
struct Workbook(Vec<u8>);

impl Workbook {
    fn part(&self, name: &str) -> String {
        let mut archive = zip::ZipArchive::new(Cursor::new(&self.0)).expect("an archive");
        let mut text = String::new();
        let mut part = archive.by_name(name).expect("the part");
        part.read_to_string(&mut text).expect("UTF-8");
        text
    }

    fn reader(&self) -> Xlsx<Cursor<&Vec<u8>>> {
        Xlsx::new(Cursor::new(&self.0)).expect("a workbook")
    }

    /// Returns the value of a cell, by its row and column from 0.
    fn value(&self, sheet: &str, cell: (u32, u32)) -> Data {
        let range = self.reader().worksheet_range(sheet).expect("the sheet");
        range.get_value(cell).cloned().unwrap_or(Data::Empty)
    }

    /// Returns the formula of a cell, or an empty text.
    fn formula(&self, sheet: &str, cell: (u32, u32)) -> String {
        let range = self.reader().worksheet_formula(sheet).expect("the sheet");
        range.get_value(cell).cloned().unwrap_or_default()
    }

    fn sheet_names(&self) -> Vec<String> {
        self.reader().sheet_names()
    }
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn amounts() -> Vec<Vec<Cell<'static>>> {
    vec![
        vec![
            Cell::Integer(7),
            Cell::Decimal("12.50"),
            Cell::Text("a"),
            Cell::Text("x"),
        ],
        vec![
            Cell::Integer(8),
            Cell::Decimal("0.25"),
            Cell::Null,
            Cell::Text("y"),
        ],
    ]
}

#[test]
fn links_totals_widths_and_a_title_block_are_in_one_sheet() {
    let note = ColumnDisplay {
        width: Some(24),
        ..order_link()
    };
    let key = ColumnDisplay {
        is_hidden: true,
        ..ColumnDisplay::default()
    };
    let displays = [
        ("id", order_link()),
        ("amount", total(TotalFunction::Sum)),
        ("note", note),
        ("key", key),
    ];
    let mut sheet = sheet("orders", &displays);
    let format = "#,##0.00\\ [$EUR]".to_owned();
    sheet.number_formats.insert("amount".into(), format);
    let options = [("title_block", "true"), ("total_label", "Summe")];
    let names = ["id", "amount", "note", "key"];
    let workbook = workbook_with(settings(sheet, &options), &names, &amounts(), 100);

    let value = |row, column| workbook.value("Orders", (row, column));
    assert_eq!(value(0, 0), text("Orders"));
    assert_eq!(value(1, 0), text("2026-01-31 10:00:00 +00:00 UTC"));
    assert_eq!(value(2, 0), Data::Empty);
    assert_eq!(value(3, 1), text("amount"));
    assert_eq!(value(4, 0), Data::Float(7.0));
    assert_eq!(value(4, 1), Data::Float(12.5));
    assert_eq!(value(4, 2), text("a"));
    assert_eq!(value(5, 2), Data::Empty);
    assert_eq!(value(6, 0), text("Summe"));
    assert_eq!(value(6, 1), Data::Float(12.75));
    let formula = |row, column| workbook.formula("Orders", (row, column));
    let link = "HYPERLINK(\"https://shop.example/orders/7\",";
    assert_eq!(formula(4, 0), format!("{link}7)"));
    assert_eq!(formula(4, 2), format!("{link}\"a\")"));
    assert_eq!(formula(5, 2), "");
    assert_eq!(formula(6, 1), "SUBTOTAL(109,B5:B6)");

    let xml = workbook.part("xl/worksheets/sheet1.xml");
    for expected in [
        "<pane ySplit=\"4\" topLeftCell=\"A5\" activePane=\"bottomLeft\" state=\"frozen\"/>",
        "<autoFilter ref=\"A4:D6\"/></worksheet>",
        "<col min=\"3\" max=\"3\" width=\"24.7109375\" customWidth=\"1\"/>",
        "<col min=\"4\" max=\"4\" width=\"6.7109375\" hidden=\"1\" customWidth=\"1\"/>",
        // Of 11 styles, 0 is the default one and 10 that of the amount. Links have the next 11, totals those after them.
        "<c r=\"A5\" s=\"11\"><f>",
        "<c r=\"B5\" s=\"10\"><v>12.50</v></c>",
        "<c r=\"A7\" s=\"22\" t=\"inlineStr\"><is><t>Summe</t></is></c>",
        "<c r=\"B7\" s=\"32\"><f>SUBTOTAL(109,B5:B6)</f><v>12.75</v></c>",
    ] {
        assert!(xml.contains(expected), "{expected}: {xml}");
    }
    let names = workbook.part("xl/workbook.xml");
    assert!(
        names.contains("'Orders'!$A$4:$D$6</definedName>"),
        "{names}"
    );
}

#[test]
fn the_totals_of_several_sheets_stand_on_the_last_one() {
    let sheet = sheet("orders", &[("n", total(TotalFunction::Sum))]);
    let rows: Vec<Vec<Cell>> = (0..5).map(|n| vec![Cell::Integer(n)]).collect();
    // The header, two rows, and room for the totals.
    let workbook = workbook_with(settings(sheet, &[]), &["n"], &rows, 4);
    assert_eq!(
        workbook.sheet_names(),
        ["Orders", "Orders (2)", "Orders (3)"]
    );
    for sheet in ["Orders", "Orders (2)"] {
        let range = workbook.reader().worksheet_range(sheet).expect("the sheet");
        assert_eq!(range.height(), 3);
        assert_eq!(workbook.formula(sheet, (3, 0)), "");
    }
    assert_eq!(workbook.value("Orders (3)", (1, 0)), Data::Float(4.0));
    assert_eq!(workbook.value("Orders (3)", (2, 0)), Data::Float(10.0));
    let expected = "SUBTOTAL(109,'Orders'!A2:A3,'Orders (2)'!A2:A3,A2:A2)";
    assert_eq!(workbook.formula("Orders (3)", (2, 0)), expected);

    // A sheet that is just full has its totals in its last row.
    let sheet = self::sheet("orders", &[("n", total(TotalFunction::Count))]);
    let workbook = workbook_with(settings(sheet, &[]), &["n"], &rows[..2], 4);
    assert_eq!(workbook.sheet_names(), ["Orders"]);
    assert_eq!(workbook.formula("Orders", (3, 0)), "SUBTOTAL(103,A2:A3)");
}

#[test]
fn without_rows_the_total_is_0_below_an_empty_row() {
    for (options, expected) in [
        (&[][..], "SUBTOTAL(109,B2:B2)"),
        (
            &[("table", "true")][..],
            "SUBTOTAL(109,Table_orders[amount])",
        ),
        (&[("compact", "true")][..], "SUBTOTAL(109,B2:B2)"),
    ] {
        let sheet = sheet("orders", &[("amount", total(TotalFunction::Sum))]);
        let workbook = workbook_with(settings(sheet, options), &["id", "amount"], &[], 100);
        assert_eq!(workbook.value("Orders", (2, 0)), text("Total"));
        assert_eq!(workbook.value("Orders", (2, 1)), Data::Float(0.0));
        assert_eq!(workbook.formula("Orders", (2, 1)), expected);
    }
}

#[test]
fn the_smallest_date_and_the_largest_number_have_their_formats() {
    let displays = [
        ("day", total(TotalFunction::Min)),
        ("n", total(TotalFunction::Max)),
    ];
    let mut sheet = sheet("orders", &displays);
    sheet.number_formats.insert("n".into(), "0.00".into());
    let row = |days, n| vec![Cell::Date(Date { days }), Cell::Decimal(n)];
    let rows = [row(9, "2.5"), row(1, "10"), row(5, "-3")];
    let workbook = workbook_with(settings(sheet, &[]), &["day", "n"], &rows, 100);
    let xml = workbook.part("xl/worksheets/sheet1.xml");
    // Of 11 styles, 2 is that of dates and 10 that of the number. Those of totals begin at 22.
    for expected in [
        "<c r=\"A5\" s=\"24\"><f>SUBTOTAL(105,A2:A4)</f><v>36527</v></c>",
        "<c r=\"B5\" s=\"32\"><f>SUBTOTAL(104,B2:B4)</f><v>10</v></c>",
    ] {
        assert!(xml.contains(expected), "{expected}: {xml}");
    }
}

#[test]
fn a_total_that_a_formula_would_round_is_a_text() {
    let sheet = sheet("orders", &[("n", total(TotalFunction::Sum))]);
    let rows = [
        vec![Cell::Decimal("1234567890123456.78")],
        vec![Cell::Integer(1)],
    ];
    let workbook = workbook_with(settings(sheet, &[]), &["n"], &rows, 100);
    assert_eq!(
        workbook.value("Orders", (3, 0)),
        text("1234567890123457.78")
    );
    assert_eq!(workbook.formula("Orders", (3, 0)), "");
}

#[test]
fn a_cell_without_a_column_that_its_link_needs_is_plain() {
    let sheet = sheet("orders", &[("note", order_link())]);
    let rows = [vec![Cell::Text("a")]];
    let workbook = workbook_with(settings(sheet, &[]), &["note"], &rows, 100);
    let xml = workbook.part("xl/worksheets/sheet1.xml");
    let expected = "<c r=\"A2\" t=\"inlineStr\"><is><t>a</t></is></c>";
    assert!(xml.contains(expected) && !xml.contains("<f>"), "{xml}");
}

#[test]
fn a_text_that_is_too_long_for_a_link_is_plain_and_whole() {
    let sheet = sheet("orders", &[("note", order_link())]);
    let long = "x".repeat(256);
    let rows = [
        vec![Cell::Integer(7), Cell::Text(&long)],
        vec![Cell::Text(&long), Cell::Text("short")],
        vec![Cell::Null, Cell::Text("no id")],
    ];
    let workbook = workbook_with(settings(sheet, &[]), &["id", "note"], &rows, 100);
    for (row, expected) in [(1, long.as_str()), (2, "short"), (3, "no id")] {
        assert_eq!(workbook.value("Orders", (row, 1)), text(expected));
        assert_eq!(workbook.formula("Orders", (row, 1)), "");
    }
}

#[test]
fn a_table_has_unique_names_its_own_filter_and_its_totals() {
    let displays = [("id", order_link()), ("net", total(TotalFunction::Sum))];
    let mut sheet = sheet("orders", &displays);
    for column in ["net", "gross"] {
        sheet.labels.insert(column.into(), "Amount".into());
    }
    let row = vec![Cell::Integer(7), Cell::Integer(2), Cell::Integer(3)];
    let options = [("table", "true"), ("title_block", "true")];
    let names = ["id", "net", "gross"];
    let workbook = workbook_with(settings(sheet, &options), &names, &[row], 100);

    let mut reader = workbook.reader();
    reader.load_tables().expect("tables");
    let table = reader.table_by_name("Table_orders").expect("the table");
    assert_eq!(table.columns(), ["id", "Amount", "Amount (2)"]);
    assert_eq!(workbook.value("Orders", (3, 2)), text("Amount (2)"));
    let formula = workbook.formula("Orders", (5, 1));
    assert_eq!(formula, "SUBTOTAL(109,Table_orders[Amount])");
    assert_eq!(workbook.value("Orders", (5, 1)), Data::Float(2.0));

    let part = workbook.part("xl/tables/table1.xml");
    assert!(
        part.contains("ref=\"A4:C6\" totalsRowCount=\"1\"><autoFilter ref=\"A4:C5\"/>"),
        "{part}"
    );
    assert!(
        part.contains("name=\"Amount\" totalsRowFunction=\"sum\"/>"),
        "{part}"
    );
    let sheet = workbook.part("xl/worksheets/sheet1.xml");
    let end =
        "</sheetData><tableParts count=\"1\"><tablePart r:id=\"rId1\"/></tableParts></worksheet>";
    assert!(
        sheet.ends_with(end) && !sheet.contains("autoFilter"),
        "{sheet}"
    );
    let relationships = workbook.part("xl/worksheets/_rels/sheet1.xml.rels");
    assert!(relationships.contains("Target=\"../tables/table1.xml\""));
    assert!(!workbook.part("xl/workbook.xml").contains("definedName"));
    assert!(
        workbook
            .part("[Content_Types].xml")
            .contains("PartName=\"/xl/tables/table1.xml\"")
    );
}

#[test]
fn each_of_several_sheets_has_a_table() {
    let sheet = sheet("orders", &[("n", total(TotalFunction::Sum))]);
    let rows: Vec<Vec<Cell>> = (0..3).map(|n| vec![Cell::Integer(n)]).collect();
    let workbook = workbook_with(settings(sheet, &[("table", "true")]), &["n"], &rows, 4);
    let first = workbook.part("xl/tables/table1.xml");
    assert!(
        first.contains("displayName=\"Table_orders\" ref=\"A1:A3\" totalsRowShown=\"0\">"),
        "{first}"
    );
    let last = workbook.part("xl/tables/table2.xml");
    assert!(
        last.contains("displayName=\"Table_orders_2\" ref=\"A1:A3\" totalsRowCount=\"1\">"),
        "{last}"
    );
    let formula = "SUBTOTAL(109,'Orders'!A2:A3,A2:A2)";
    assert_eq!(workbook.formula("Orders (2)", (2, 0)), formula);
    let element =
        format!("totalsRowFunction=\"custom\"><totalsRowFormula>{formula}</totalsRowFormula>");
    assert!(last.contains(&element), "{last}");
}

#[test]
fn a_label_that_is_too_long_for_a_table_is_an_error() {
    let label = "x".repeat(256);
    let mut sheet = sheet("orders", &[]);
    sheet.labels.insert("n".into(), label);
    for (table, fits) in [("false", true), ("true", false)] {
        let settings = settings(sheet.clone(), &[("table", table)]);
        let writer = WorkbookWriter::new(&columns(&["n"]), settings);
        assert_eq!(writer.is_ok(), fits, "{table}");
    }
}

#[test]
fn each_statement_has_the_totals_of_its_own_rows() {
    let sum = || total(TotalFunction::Sum);
    let mut settings = settings(sheet("orders", &[("n", sum())]), &[]);
    settings.sheets.push(sheet("returns", &[("m", sum())]));
    settings.sheets.push(sheet("notes", &[]));
    let one = [vec![Cell::Integer(1)], vec![Cell::Integer(2)]];
    let mut writer = WorkbookWriter::new(&columns(&["n"]), settings).expect("columns that fit");
    writer.rows(&batch(1, &one)).expect("they fit");
    writer
        .next_statement(&columns(&["m", "n"]))
        .expect("columns that fit");
    let two = [vec![Cell::Integer(10), Cell::Integer(20)]];
    writer.rows(&batch(2, &two)).expect("they fit");
    writer
        .next_statement(&columns(&["n"]))
        .expect("columns that fit");
    writer.rows(&batch(1, &one)).expect("they fit");
    let workbook = Workbook(archive(writer));
    assert_eq!(workbook.value("Orders", (3, 0)), Data::Float(3.0));
    assert_eq!(workbook.value("Returns", (2, 0)), Data::Float(10.0));
    assert_eq!(workbook.value("Returns", (2, 1)), text("Total"));
    assert_eq!(workbook.formula("Returns", (2, 0)), "SUBTOTAL(109,A2:A2)");
    assert_eq!(workbook.value("Notes", (3, 0)), Data::Empty);
}

#[test]
fn without_references_every_cell_keeps_its_column() {
    let hidden = ColumnDisplay {
        is_hidden: true,
        ..ColumnDisplay::default()
    };
    let displays = [
        ("key", hidden),
        ("id", order_link()),
        ("n", total(TotalFunction::Sum)),
    ];
    let options = [("compact", "true"), ("title_block", "true")];
    let sheet = sheet("orders", &displays);
    let row = vec![Cell::Null, Cell::Integer(7), Cell::Integer(2)];
    let workbook = workbook_with(settings(sheet, &options), &["key", "id", "n"], &[row], 100);
    assert_eq!(workbook.value("Orders", (0, 1)), text("Orders"));
    assert_eq!(workbook.value("Orders", (3, 2)), text("n"));
    assert_eq!(workbook.value("Orders", (4, 1)), Data::Float(7.0));
    assert_eq!(workbook.value("Orders", (5, 1)), text("Total"));
    assert_eq!(workbook.formula("Orders", (5, 2)), "SUBTOTAL(109,C5:C5)");
}

#[test]
fn flushes_and_heartbeats_change_no_content() {
    let displays = [("id", order_link()), ("n", total(TotalFunction::Sum))];
    let options = [("table", "true"), ("title_block", "true")];
    let names = ["id", "n"];
    let rows: Vec<Vec<Cell>> = (0..3)
        .map(|n| vec![Cell::Integer(n), Cell::Integer(n)])
        .collect();
    let settings = || settings(sheet("orders", &displays), &options);
    let expected = workbook_with(settings(), &names, &rows, 6);
    let mut writer = WorkbookWriter::new(&columns(&names), settings()).expect("columns that fit");
    writer.limits.rows = 6;
    for row in &rows {
        writer
            .rows(&batch(2, std::slice::from_ref(row)))
            .expect("it fits");
        writer.flush();
        writer.heartbeat();
    }
    let workbook = Workbook(archive(writer));
    for part in ["worksheets/sheet1", "worksheets/sheet3", "tables/table3"] {
        let part = format!("xl/{part}.xml");
        assert_eq!(workbook.part(&part), expected.part(&part), "{part}");
    }
    assert_ne!(workbook.0, expected.0);
}
