//! Buffers that collect rows, and batches that encoders read.

use std::slice;

use uuid::Uuid;

use super::{Cell, Date, Interval, Time, Timestamp};

/// A stored cell: the value itself, or its range in one of the arenas.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Decimal(Range),
    Text(Range),
    Bytes(Range),
    Date(Date),
    Time(Time),
    Timestamp(Timestamp),
    /// `Interval` and `Uuid` are in the arena: inline they would make the slot larger or unaligned.
    Interval(Range),
    Uuid(Range),
    Json(Range),
}

impl Slot {
    /// Returns the range in the text arena, if the cell is text.
    fn text_range(&self) -> Option<Range> {
        match self {
            Slot::Decimal(range) | Slot::Text(range) | Slot::Json(range) => Some(*range),
            _ => None,
        }
    }
}

/// A byte range of an arena. 32 bits are enough for a batch, because sources refuse rows beyond `ROWLINK_MAX_ROW_BYTES`,
/// which is 1 GiB at most, and keep a slot at 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u32,
    end: u32,
}

impl Range {
    #[inline]
    fn new(start: usize, end: usize) -> Range {
        let end = u32::try_from(end).expect("sources refuse rows beyond 1 GiB");
        // Cannot truncate: `start` is at most `end`.
        let start = start as u32;
        Range { start, end }
    }

    #[inline]
    fn bytes(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Collects rows from a source, in two arenas instead of one allocation per cell.
#[derive(Debug, Default)]
pub struct RowBuffer {
    width: usize,
    slots: Vec<Slot>,
    text: Vec<u8>,
    bytes: Vec<u8>,
}

/// The position of a text that is not UTF-8, counted from 0 in the collected rows.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUtf8 {
    /// The row.
    pub row: usize,
    /// The column.
    pub column: usize,
}

impl RowBuffer {
    /// The capacity that an arena keeps when it is cleared, so that one huge cell does not occupy memory
    /// for the rest of the download.
    const ARENA_BYTES_KEPT: usize = 64 * 1024;

    /// Clears the buffer for rows of `width` cells.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.slots.clear();
        for arena in [&mut self.text, &mut self.bytes] {
            arena.clear();
            arena.shrink_to(Self::ARENA_BYTES_KEPT);
        }
    }

    /// Appends the next cell of a row, from left to right.
    #[inline(always)]
    pub fn push(&mut self, cell: Cell<'_>) {
        let slot = match cell {
            Cell::Null => Slot::Null,
            Cell::Boolean(value) => Slot::Boolean(value),
            Cell::Integer(value) => Slot::Integer(value),
            Cell::Float(value) => Slot::Float(value),
            Cell::Decimal(value) => return self.push_decimal(value.as_bytes()),
            Cell::Text(value) => return self.push_text(value.as_bytes()),
            Cell::Bytes(value) => Slot::Bytes(store(value, &mut self.bytes)),
            Cell::Date(value) => Slot::Date(value),
            Cell::Time(value) => Slot::Time(value),
            Cell::Timestamp(value) => Slot::Timestamp(value),
            Cell::Interval(value) => Slot::Interval(store(&value.to_bytes(), &mut self.bytes)),
            Cell::Uuid(value) => Slot::Uuid(store(value.as_bytes(), &mut self.bytes)),
            Cell::Json(value) => return self.push_json(value.as_bytes()),
        };
        self.slots.push(slot);
    }

    /// Appends a [`Cell::Text`] that is not checked as UTF-8 yet.
    #[inline(always)]
    pub fn push_text(&mut self, text: &[u8]) {
        self.slots.push(Slot::Text(store(text, &mut self.text)));
    }

    /// Appends a [`Cell::Decimal`] that is not checked as UTF-8 yet.
    #[inline(always)]
    pub fn push_decimal(&mut self, text: &[u8]) {
        self.slots.push(Slot::Decimal(store(text, &mut self.text)));
    }

    /// Appends a [`Cell::Json`] that is not checked as UTF-8 yet.
    #[inline(always)]
    pub fn push_json(&mut self, text: &[u8]) {
        self.slots.push(Slot::Json(store(text, &mut self.text)));
    }

    /// Returns the number of complete rows.
    pub fn rows(&self) -> usize {
        self.slots.len().checked_div(self.width).unwrap_or(0)
    }

    /// Returns whether the buffer has no cell.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the size of the rows in memory, in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.text.len() + self.bytes.len()
    }

    /// Converts the rows into a readable batch. Checks all texts as UTF-8 in one pass, which takes a
    /// fraction of the time of a check per text.
    ///
    /// # Errors
    /// Returns [`NotUtf8`] with the position of the first text that is not UTF-8.
    pub fn finish(mut self) -> Result<RowBatch, NotUtf8> {
        let text = match String::from_utf8(self.text) {
            // The end of one text and the start of the next could form a character together.
            Ok(text) if text.is_ascii() || starts_at_char_boundaries(&self.slots, &text) => text,
            Ok(text) => return Err(first_not_utf8(&self.slots, self.width, text.as_bytes())),
            Err(error) => return Err(first_not_utf8(&self.slots, self.width, error.as_bytes())),
        };
        self.text = Vec::new();
        Ok(RowBatch { rows: self, text })
    }
}

#[inline(always)]
fn store(value: &[u8], arena: &mut Vec<u8>) -> Range {
    let start = arena.len();
    arena.extend_from_slice(value);
    Range::new(start, arena.len())
}

fn starts_at_char_boundaries(slots: &[Slot], text: &str) -> bool {
    let mut texts = slots.iter().filter_map(Slot::text_range);
    texts.all(|range| text.is_char_boundary(range.bytes().start))
}

#[cold]
fn first_not_utf8(slots: &[Slot], width: usize, text: &[u8]) -> NotUtf8 {
    let is_invalid = |slot: &Slot| {
        let range = slot.text_range();
        range.is_some_and(|range| std::str::from_utf8(&text[range.bytes()]).is_err())
    };
    let index = slots.iter().position(is_invalid);
    let index = index.expect("valid texts are valid together and start at character boundaries");
    NotUtf8 {
        row: index / width,
        column: index % width,
    }
}

/// Rows whose texts are checked as UTF-8, ready for an encoder.
#[derive(Debug, Default)]
pub struct RowBatch {
    /// The slots and the byte arena; the text arena is in `text`.
    rows: RowBuffer,
    text: String,
}

impl RowBatch {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows.rows()
    }

    /// Returns the size of the rows in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.text.len()
    }

    /// Iterates over the rows in order, each an iterator over its cells from left to right.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let rows = self.rows.slots.chunks_exact(self.rows.width.max(1));
        rows.map(|slots| Row {
            batch: self,
            slots: slots.iter(),
        })
    }

    /// Returns a buffer that reuses the memory. It must be [reset](RowBuffer::reset).
    pub fn into_buffer(self) -> RowBuffer {
        RowBuffer {
            text: self.text.into_bytes(),
            ..self.rows
        }
    }

    #[inline(always)]
    fn cell(&self, slot: Slot) -> Cell<'_> {
        match slot {
            Slot::Null => Cell::Null,
            Slot::Boolean(value) => Cell::Boolean(value),
            Slot::Integer(value) => Cell::Integer(value),
            Slot::Float(value) => Cell::Float(value),
            Slot::Decimal(range) => Cell::Decimal(self.text(range)),
            Slot::Text(range) => Cell::Text(self.text(range)),
            Slot::Bytes(range) => Cell::Bytes(&self.rows.bytes[range.bytes()]),
            Slot::Date(value) => Cell::Date(value),
            Slot::Time(value) => Cell::Time(value),
            Slot::Timestamp(value) => Cell::Timestamp(value),
            Slot::Interval(range) => Cell::Interval(Interval::from_bytes(self.bytes_16(range))),
            Slot::Uuid(range) => Cell::Uuid(Uuid::from_bytes(self.bytes_16(range))),
            Slot::Json(range) => Cell::Json(self.text(range)),
        }
    }

    fn bytes_16(&self, range: Range) -> [u8; 16] {
        let bytes = self.rows.bytes[range.bytes()].try_into();
        bytes.expect("an interval or UUID is stored as 16 bytes")
    }

    #[inline]
    fn text(&self, range: Range) -> &str {
        &self.text[range.bytes()]
    }
}

/// A row of a batch, iterated over its cells from left to right.
#[derive(Clone)]
pub struct Row<'a> {
    batch: &'a RowBatch,
    slots: slice::Iter<'a, Slot>,
}

impl<'a> Iterator for Row<'a> {
    type Item = Cell<'a>;

    // Inlined, so that the encoder matches the cell in registers. Without the attribute the compiler
    // stops inlining when unrelated code changes, and CSV takes a third longer.
    #[inline(always)]
    fn next(&mut self) -> Option<Cell<'a>> {
        self.slots.next().map(|slot| self.batch.cell(*slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_buffer_returns_only_new_cells() {
        let mut buffer = RowBuffer::default();
        buffer.reset(1);
        buffer.push(Cell::Text("left from before"));
        let mut buffer = buffer.finish().expect("UTF-8").into_buffer();
        buffer.reset(2);
        let cells = [
            Cell::Text("ä"),
            Cell::Null,
            Cell::Bytes(b"\x00\xff"),
            Cell::Uuid(Uuid::max()),
        ];
        cells.iter().for_each(|cell| buffer.push(*cell));

        let batch = buffer.finish().expect("UTF-8");
        let rows: Vec<Vec<Cell>> = batch.iter().map(Iterator::collect).collect();
        assert_eq!(rows, [cells[..2].to_vec(), cells[2..].to_vec()]);
        assert_eq!(batch.rows(), 2);
    }

    #[test]
    fn invalid_utf_8_is_found_even_where_two_texts_form_a_character() {
        let halves = "ä".as_bytes().split_at(1);
        for (texts, column) in [([halves.0, halves.1], 0), ([b"whole", b"\xff"], 1)] {
            let mut buffer = RowBuffer::default();
            buffer.reset(3);
            (0..3).for_each(|_| buffer.push(Cell::Text("ö")));
            buffer.push(Cell::Bytes(b"\xff"));
            texts.iter().for_each(|text| buffer.push_text(text));
            let column = column + 1;
            assert_eq!(buffer.finish().err(), Some(NotUtf8 { row: 1, column }));
        }
    }
}
