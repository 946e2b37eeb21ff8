//! JSON (RFC 8259): one array with an object per row. Readers refuse an array without its end, so that
//! a truncated file is detected.

use super::encoder::{EncodeError, Encoder};
use super::json_object::{OPTIONS, ObjectWriter};
use super::{Capacity, Definition};
use crate::row::RowBatch;

/// The registry entry.
pub(super) const FORMAT: Definition = Definition {
    extension: "json",
    is_default: true,
    capacity: Capacity::One,
    is_text: true,
    is_json: true,
    integrity_line: None,
    heartbeats: None,
    options: &OPTIONS,
    media_type: |_| "application/json",
    encoder: |columns, settings| {
        Ok(Box::new(JsonEncoder {
            objects: ObjectWriter::new(columns, &settings),
            has_rows: false,
        }))
    },
};

/// Encodes a JSON array.
struct JsonEncoder {
    objects: ObjectWriter,
    has_rows: bool,
}

impl Encoder for JsonEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(b'[');
        Ok(())
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let first = out.len();
        self.objects.write(batch, out, b",\n", b"}");
        if !self.has_rows && out.len() > first {
            // No comma precedes the first object.
            out[first] = b'\n';
            out.remove(first + 1);
            self.has_rows = true;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(if self.has_rows { b"\n]\n" } else { b"]\n" });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encoder::EncoderSettings;
    use crate::format::encoder::tests::encode_rows;
    use crate::row::{Cell, Column, RowBuffer};
    use proptest::prelude::*;
    use serde_json::Value;

    fn encode(columns: &[&str], rows: &[&[Cell<'_>]]) -> String {
        encode_rows(&FORMAT, &[], columns, rows)
    }

    #[test]
    fn rows_are_objects_of_one_array() {
        let rows: &[&[Cell]] = &[
            &[Cell::Integer(1), Cell::Text("a\n")],
            &[Cell::Integer(2), Cell::Null],
        ];
        let expected = "[\n{\"id\":1,\"b\":\"a\\n\"},\n{\"id\":2,\"b\":null}\n]\n";
        assert_eq!(encode(&["id", "b"], rows), expected);
        assert_eq!(encode(&["id"], &[]), "[]\n");
    }

    #[test]
    fn batches_make_no_difference_and_a_truncated_array_is_refused() {
        let columns = [Column::text("n")];
        let encoder = (FORMAT.encoder)(&columns, EncoderSettings::default());
        let mut encoder = encoder.expect("columns that fit");
        let mut file = Vec::new();
        encoder.begin(&mut file).expect("a start");
        for batch in [0, 2, 1] {
            let mut buffer = RowBuffer::default();
            buffer.reset(1);
            (0..batch).for_each(|n| buffer.push(Cell::Integer(n)));
            let batch = buffer.finish().expect("UTF-8");
            encoder.rows(&batch, &mut file).expect("rows that fit");
        }
        encoder.finish(&mut file).expect("an end");
        let text = String::from_utf8(file).expect("UTF-8");
        assert_eq!(text, "[\n{\"n\":0},\n{\"n\":1},\n{\"n\":0}\n]\n");
        for end in 0..text.len() - 1 {
            assert!(
                serde_json::from_str::<Value>(&text[..end]).is_err(),
                "{end}"
            );
        }
    }

    proptest! {
        #[test]
        fn another_reader_gets_every_text_back(texts in prop::collection::vec(".*", 1..9)) {
            let cells: Vec<[Cell; 1]> = texts.iter().map(|text| [Cell::Text(text)]).collect();
            let rows: Vec<&[Cell]> = cells.iter().map(|row| &row[..]).collect();
            let read: Value = serde_json::from_str(&encode(&["t"], &rows)).expect("JSON");
            let back: Vec<&str> = read.as_array().expect("an array").iter()
                .map(|row| row["t"].as_str().expect("a text")).collect();
            prop_assert_eq!(back, texts);
        }
    }
}
