//! Whatever the cells hold, a workbook and an archive of CSV are read back whole: their reader checks the checksum of each part.
#![no_main]

use std::io::{Cursor, Read as _};

use libfuzzer_sys::fuzz_target;
use rowlink::format::{EncodeError, EncoderSettings, Format};
use rowlink::row::{Cell, Column, RowBuffer};

fuzz_target!(|input: (u8, u8, Vec<Option<Result<String, i64>>>)| {
    let (columns, repeats, values) = input;
    let columns = usize::from(columns % 20) + 1;
    for format in ["xlsx", "zip"] {
        match file(format, columns, usize::from(repeats) + 1, &values) {
            Ok(file) => read(file),
            Err(EncodeError::Value { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
});

/// Encodes the values again and again, below each other in rows of some columns.
fn file(
    format: &str,
    columns: usize,
    repeats: usize,
    values: &[Option<Result<String, i64>>],
) -> Result<Vec<u8>, EncodeError> {
    let format: Format = format.parse().expect("a format");
    let names: Vec<Column> = (0..columns)
        .map(|n| Column::text(format!("c{n}")))
        .collect();
    let mut encoder = format.encoder(&names, EncoderSettings::default())?;
    let mut file = Vec::new();
    encoder.begin(&mut file)?;
    let mut buffer = RowBuffer::default();
    buffer.reset(columns);
    let cells = values.iter().cycle().take(values.len() * repeats);
    let cells = cells.map(|value| match value {
        None => Cell::Null,
        Some(Ok(text)) => Cell::Text(text),
        Some(Err(number)) => Cell::Integer(*number),
    });
    let count = values.len() * repeats / columns * columns;
    cells.take(count).for_each(|cell| buffer.push(cell));
    encoder.rows(&buffer.finish().expect("UTF-8"), &mut file)?;
    encoder.finish(&mut file)?;
    Ok(file)
}

fn read(file: Vec<u8>) {
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).expect("an archive");
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).expect("a part");
        let mut content = String::new();
        part.read_to_string(&mut content)
            .expect("its content and checksum");
    }
}
