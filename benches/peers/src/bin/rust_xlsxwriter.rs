//! Writes SQLite rows to a workbook with `rust_xlsxwriter`, the fastest XLSX writer for Rust, in
//! constant-memory mode.
//!
//! `rust_xlsxwriter LEVEL DATABASE QUERY FILE`

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use rust_xlsxwriter::{Format, Workbook};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [level, database, query, file] = arguments.as_slice() else {
        panic!("expected LEVEL DATABASE QUERY FILE");
    };
    let mut workbook = Workbook::new();
    workbook.set_zip_compression_level(level.parse()?);
    let sheet = workbook.add_worksheet_with_constant_memory()?;
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = database.prepare(query)?;
    let header = Format::new().set_bold();
    for (column, name) in (0..).zip(statement.column_names()) {
        sheet.write_with_format(0, column, name, &header)?;
    }
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut index = 0;
    while let Some(row) = rows.next()? {
        index += 1;
        for column in 0..columns {
            let place = u16::try_from(column)?;
            match row.get_ref(column)? {
                ValueRef::Null | ValueRef::Blob(_) => {}
                ValueRef::Integer(value) => _ = sheet.write_number(index, place, value as f64)?,
                ValueRef::Real(value) => _ = sheet.write_number(index, place, value)?,
                ValueRef::Text(text) => {
                    sheet.write_string(index, place, std::str::from_utf8(text)?)?;
                }
            }
        }
    }
    workbook.save(file)?;
    Ok(())
}
