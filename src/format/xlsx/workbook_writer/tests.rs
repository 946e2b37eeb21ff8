//! Rows, sheets and limits of workbooks.

use std::io::Cursor;

use calamine::{Data, Reader as _, Xlsx};
use proptest::prelude::*;

use super::*;
use crate::format::deflater::Deflater;
use crate::format::encoder::{Properties, SheetSettings};
use crate::format::xlsx::OPTIONS;
use crate::row::{Cell, RowBuffer};
use indexmap::IndexMap;

fn encoder(names: &[&str], limits: SheetLimits, compact: bool) -> WorkbookWriter {
    let columns: Vec<Column> = names.iter().map(|name| Column::text(*name)).collect();
    let mut settings = EncoderSettings {
        sheets: vec![SheetSettings {
            title: "Orders <&>".into(),
            labels: IndexMap::from([("total".into(), "Total, €".into())]),
            number_formats: IndexMap::from([("total".into(), "#,##0.00 \"€\"".into())]),
            ..SheetSettings::default()
        }],
        properties: Properties {
            title: "Orders <&>".into(),
            identifier: "an id".into(),
            created: 1_767_225_600,
        },
        ..EncoderSettings::default()
    };
    let set = settings
        .options
        .set(&OPTIONS, "compact", &compact.to_string());
    set.expect("an option");
    let mut encoder = WorkbookWriter::new(&columns, settings).expect("columns that fit");
    encoder.limits = limits;
    encoder
}

pub(super) fn batch(width: usize, rows: &[Vec<Cell<'_>>]) -> RowBatch {
    let mut buffer = RowBuffer::default();
    buffer.reset(width);
    rows.concat().iter().for_each(|cell| buffer.push(*cell));
    buffer.finish().expect("UTF-8")
}

pub(super) fn archive(mut encoder: WorkbookWriter) -> Vec<u8> {
    encoder.end();
    let mut archive = Vec::new();
    let mut deflater = Deflater::start().expect("threads");
    let pushed = deflater.push(encoder.take_pieces(), &mut archive);
    pushed.expect("no panic");
    deflater.drain(&mut archive).expect("no panic");
    archive
}

/// Returns the name and cells of each sheet, read by `calamine`.
fn sheets(archive: Vec<u8>) -> Vec<(String, Vec<Vec<Data>>)> {
    let mut workbook = Xlsx::new(Cursor::new(archive)).expect("a workbook");
    let sheets = workbook.worksheets().into_iter();
    sheets
        .map(|(name, range)| (name, range.rows().map(<[Data]>::to_vec).collect()))
        .collect()
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

#[test]
fn rows_are_read_back_below_their_labels() {
    for compact in [false, true] {
        let mut encoder = encoder(&["id", "total", "note"], SHEET_LIMITS, compact);
        let rows = [
            vec![
                Cell::Integer(1),
                Cell::Decimal("12.50"),
                Cell::Text("a <b> & \"c\"\n"),
            ],
            vec![Cell::Integer(1 << 60), Cell::Float(0.1), Cell::Text("=1+1")],
            vec![Cell::Integer(2), Cell::Null, Cell::Text("after NULL")],
        ];
        encoder.rows(&batch(3, &rows)).expect("they fit");
        let found = sheets(archive(encoder));
        let expected = vec![
            vec![text("id"), text("Total, €"), text("note")],
            vec![Data::Float(1.0), Data::Float(12.5), text("a <b> & \"c\"\n")],
            vec![text("1152921504606846976"), Data::Float(0.1), text("=1+1")],
            vec![Data::Float(2.0), Data::Empty, text("after NULL")],
        ];
        assert_eq!(found, [("Orders <&>".to_owned(), expected)]);
    }
}

#[test]
fn without_rows_there_is_one_sheet_with_the_header() {
    let found = sheets(archive(encoder(&["id"], SHEET_LIMITS, false)));
    assert_eq!(found, [("Orders <&>".to_owned(), vec![vec![text("id")]])]);
}

#[test]
fn a_full_sheet_is_followed_by_another_with_the_same_header() {
    let rows: Vec<Vec<Cell>> = (0..8).map(|n| vec![Cell::Integer(n)]).collect();
    for (limits, rows_each) in [
        (
            SheetLimits {
                rows: 4,
                ..SHEET_LIMITS
            },
            3,
        ),
        (
            SheetLimits {
                bytes: 1,
                ..SHEET_LIMITS
            },
            1,
        ),
    ] {
        let mut encoder = encoder(&["n"], limits, true);
        encoder.rows(&batch(1, &rows)).expect("they fit");
        let found = sheets(archive(encoder));
        let mut names = SheetNames::of(["Orders <&>"].into_iter());
        let expected: Vec<(String, Vec<Vec<Data>>)> = rows
            .chunks(rows_each)
            .enumerate()
            .map(|(index, rows)| {
                let first = index * rows_each;
                let numbers = (first..first + rows.len()).map(|n| vec![Data::Float(n as f64)]);
                let cells = [vec![text("n")]].into_iter().chain(numbers).collect();
                (names.take(0, index + 1), cells)
            })
            .collect();
        assert_eq!(found, expected, "{limits:?}");
    }
}

#[test]
fn each_statement_has_sheets_of_its_own() {
    let mut encoder = encoder(
        &["total"],
        SheetLimits {
            rows: 3,
            ..SHEET_LIMITS
        },
        false,
    );
    let returns = SheetSettings {
        title: "ORDERS <&>".into(),
        labels: IndexMap::from([("id".into(), "Return".into())]),
        ..SheetSettings::default()
    };
    let titles = ["Orders <&>", "ORDERS <&>", "Orders <&> (2)"];
    encoder.names = SheetNames::of(titles.into_iter());
    encoder.settings.sheets.push(returns);
    let rows: Vec<Vec<Cell>> = (0..3).map(|n| vec![Cell::Integer(n)]).collect();
    encoder.rows(&batch(1, &rows)).expect("they fit");
    let columns = ["id", "note"].map(Column::text);
    encoder.next_statement(&columns).expect("columns that fit");
    encoder.heartbeat();
    let row = vec![Cell::Integer(7), Cell::Text("seven")];
    encoder.rows(&batch(2, &[row])).expect("it fits");
    encoder.next_statement(&columns).expect("columns that fit");
    let number = |n: f64| vec![Data::Float(n)];
    let found = sheets(archive(encoder));
    let expected = [
        (
            "Orders <&>",
            vec![vec![text("Total, €")], number(0.0), number(1.0)],
        ),
        (
            "Orders <&> (2, 2)",
            vec![vec![text("Total, €")], number(2.0)],
        ),
        (
            "ORDERS <&> (sheet 2)",
            vec![
                vec![text("Return"), text("note")],
                vec![Data::Float(7.0), text("seven")],
            ],
        ),
        ("Orders <&> (2)", vec![vec![text("id"), text("note")]]),
    ];
    let expected = expected.map(|(name, rows)| (name.to_owned(), rows));
    assert_eq!(found, expected);
}

#[test]
fn a_value_that_does_not_fit_is_an_error_and_never_truncated() {
    let long = "x".repeat(32_768);
    let mut encoder = encoder(&["id", "note"], SHEET_LIMITS, false);
    encoder
        .rows(&batch(2, &[vec![Cell::Integer(1), Cell::Null]]))
        .expect("it fits");
    let error = encoder.rows(&batch(2, &[vec![Cell::Integer(2), Cell::Text(&long)]]));
    assert_eq!(
        error.expect_err("too long").to_string(),
        "row 2, column `note`: the text has 32768 UTF-16 code units; a cell holds at most 32767"
    );
    let columns = vec![Column::text("c"); 16_385];
    let error = WorkbookWriter::new(&columns, EncoderSettings::default()).err();
    let message = "16385 columns: a sheet holds at most 16384";
    assert_eq!(error, Some(EncodeError::Columns(message.into())));
    let column = Column::text("x".repeat(32_768));
    let error = WorkbookWriter::new(&[column], EncoderSettings::default()).err();
    assert!(matches!(error, Some(EncodeError::Label { .. })));
}

#[test]
fn a_row_that_exceeds_the_maximum_sheet_size_is_an_error() {
    let limits = SheetLimits {
        bytes_max: 10_000,
        ..SHEET_LIMITS
    };
    let mut encoder = encoder(&["note"], limits, false);
    let (short, long) = ("x".repeat(1_000), "x".repeat(9_000));
    let rows = [vec![Cell::Text(&short)], vec![Cell::Text(&long)]];
    let error = encoder.rows(&batch(1, &rows));
    assert!(matches!(error, Err(EncodeError::Row { row: 2, .. })));
}

#[derive(Debug, Clone)]
enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

fn cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(value) => Cell::Boolean(*value),
        Value::Integer(value) => Cell::Integer(*value),
        Value::Float(value) => Cell::Float(*value),
        Value::Text(value) => Cell::Text(value),
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        (-999_999_999_999_999..=999_999_999_999_999_i64).prop_map(Value::Integer),
        (-1e300..1e300_f64).prop_map(Value::Float),
        // No carriage return: calamine does not decode `_x000D_` consistently.
        "[a-zA-Z0-9 <>&'\"äöü€𝄞\t\n.,;=+@-]{1,40}".prop_map(Value::Text),
    ]
}

proptest! {
    #[test]
    fn any_rows_are_read_back_unchanged(
        rows in prop::collection::vec([any_value(), any_value()], 1..60),
        rows_max in 2..40_u32,
    ) {
        // The first column is never NULL: calamine skips empty rows.
        let cells: Vec<Vec<Cell>> = rows.iter().enumerate()
            .map(|(index, [b, c])| vec![Cell::Integer(index as i64), cell(b), cell(c)])
            .collect();
        let mut encoder = encoder(&["a", "b", "c"], SheetLimits { rows: rows_max, ..SHEET_LIMITS }, false);
        encoder.rows(&batch(3, &cells)).expect("they fit");
        let found = sheets(archive(encoder));
        let found: Vec<&Vec<Data>> = found.iter().flat_map(|(_, rows)| rows.iter().skip(1)).collect();

        let data = |value: &Value| match value {
            Value::Null => Data::Empty,
            Value::Boolean(value) => Data::Bool(*value),
            Value::Integer(value) => Data::Float(*value as f64),
            Value::Float(value) => Data::Float(*value),
            Value::Text(value) => text(value),
        };
        let expected = |(index, [b, c]): (usize, &[Value; 2])| vec![Data::Float(index as f64), data(b), data(c)];
        let expected: Vec<Vec<Data>> = rows.iter().enumerate().map(expected).collect();
        prop_assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
}
