//! Rows between a source and an encoder: the one form that both sides know.

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name the query gives it.
    pub name: String,
}

/// One value. Types live on cells, not on columns: SQLite may store an integer in one row and a
/// text in the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A binary floating-point number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes without a meaning of their own.
    Bytes(&'a [u8]),
}

/// Where a cell's value is: here, or in one of the arenas.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Null,
    Integer(i64),
    Float(f64),
    Text { start: usize, end: usize },
    Bytes { start: usize, end: usize },
}

/// Some rows, filled by a source, read by an encoder, and reused: two arenas instead of one
/// allocation a cell.
#[derive(Debug, Default)]
pub struct RowBatch {
    width: usize,
    slots: Vec<Slot>,
    text: String,
    bytes: Vec<u8>,
}

impl RowBatch {
    /// Past this many bytes of text an arena gives its memory back when it is cleared, so that one
    /// huge cell does not stay in memory for the rest of the download.
    const ARENA_BYTES_KEPT: usize = 256 * 1024;

    /// Empties the batch for rows of `width` cells, keeping its memory.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.slots.clear();
        self.text.clear();
        self.text.shrink_to(Self::ARENA_BYTES_KEPT);
        self.bytes.clear();
        self.bytes.shrink_to(Self::ARENA_BYTES_KEPT);
    }

    /// Appends the next cell of the row, from left to right.
    #[inline]
    pub fn push(&mut self, cell: Cell<'_>) {
        let slot = match cell {
            Cell::Null => Slot::Null,
            Cell::Integer(value) => Slot::Integer(value),
            Cell::Float(value) => Slot::Float(value),
            Cell::Text(value) => {
                let start = self.text.len();
                self.text.push_str(value);
                let end = self.text.len();
                Slot::Text { start, end }
            }
            Cell::Bytes(value) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value);
                let end = self.bytes.len();
                Slot::Bytes { start, end }
            }
        };
        self.slots.push(slot);
    }

    /// How many whole rows it holds.
    pub fn rows(&self) -> usize {
        self.slots.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many bytes its rows take in memory.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.text.len() + self.bytes.len()
    }

    /// The rows in order, each as its cells from left to right.
    pub fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = Cell<'_>>> {
        self.slots
            .chunks_exact(self.width.max(1))
            .map(|row| row.iter().map(|slot| self.cell(*slot)))
    }

    fn cell(&self, slot: Slot) -> Cell<'_> {
        match slot {
            Slot::Null => Cell::Null,
            Slot::Integer(value) => Cell::Integer(value),
            Slot::Float(value) => Cell::Float(value),
            Slot::Text { start, end } => Cell::Text(&self.text[start..end]),
            Slot::Bytes { start, end } => Cell::Bytes(&self.bytes[start..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_batch_gives_back_only_the_new_cells() {
        let mut batch = RowBatch::default();
        batch.reset(1);
        batch.push(Cell::Text("left from before"));
        batch.reset(2);
        let cells = [
            Cell::Text("ä"),
            Cell::Null,
            Cell::Bytes(b"\x00\xff"),
            Cell::Text(""),
        ];
        cells.iter().for_each(|cell| batch.push(*cell));

        let rows: Vec<Vec<Cell>> = batch.iter().map(Iterator::collect).collect();
        assert_eq!(rows, [cells[..2].to_vec(), cells[2..].to_vec()]);
        assert_eq!(batch.rows(), 2);
    }
}
