//! Finds the matches of deflate in lines of text, such as those of CSV and NDJSON: a cell resembles the one above it, or one
//! that starts with the same bytes.
//!
//! A cell is compared with the last one of its column. Where they differ, one earlier place with the same four bytes is tried,
//! and then the comparison goes on. So there are few searches, each with one candidate, and this is faster than a general
//! compressor and, for rows, at least as good.

use std::ops::Range;

use memchr::{memchr_iter, memchr2_iter};

use super::deflate_block::{DISTANCE_MAX, DeflateBlock};
use super::row_matcher::common_prefix;

/// Shorter matches cost more than literals.
const MATCH_BYTES_USEFUL: usize = 5;
/// The bytes by which a place is found again.
const PLACE_BYTES: usize = 4;
/// The bits of the hash of these bytes. The places of a block fit into the processor's cache.
const HASH_BITS: u32 = 14;
/// Cells that come later in a line count as being in the last column.
const COLUMNS_MAX: usize = 64;
/// What separates the cells of a line, in the formats that have lines.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];
/// Whether a separator is used shows at the start of a block.
const SAMPLE_BYTES: usize = 4096;

/// Finds matches. Its tables are large, so that they are used again.
pub struct LineMatcher {
    /// The last place of each hash.
    places: Vec<Option<u32>>,
    /// The start of the last cell of each column, with the separator before it.
    above: [Option<u32>; COLUMNS_MAX],
}

impl Default for LineMatcher {
    fn default() -> LineMatcher {
        LineMatcher {
            places: vec![None; 1 << HASH_BITS],
            above: [None; COLUMNS_MAX],
        }
    }
}

impl LineMatcher {
    /// Adds the matches of a text to a block.
    pub fn match_lines(&mut self, text: &[u8], block: &mut DeflateBlock) {
        self.places.fill(None);
        self.above.fill(None);
        let (mut column, mut start, mut matched) = (0, 0, 0);
        for end in memchr2_iter(separator(text), b'\n', text) {
            let above = self.above[column].replace(start as u32);
            let distance = above.map(|above| start - above as usize);
            // The first cell of a text that begins with a separator is empty.
            let distance = distance.filter(|distance| (1..=DISTANCE_MAX).contains(distance));
            // A match may go on in the next cells.
            let rest = start.max(matched)..end;
            matched = self.match_cell(text, rest, distance, block);
            column = match text[end] {
                b'\n' => 0,
                _ => (column + 1).min(COLUMNS_MAX - 1),
            };
            start = end;
        }
    }

    /// Adds the matches of a cell, or of what is left of it; returns where the last one ends. `distance` is that of the cell
    /// above.
    #[inline]
    fn match_cell(
        &mut self,
        text: &[u8],
        cell: Range<usize>,
        distance: Option<usize>,
        block: &mut DeflateBlock,
    ) -> usize {
        let (mut at, mut matched, mut may_search) = (cell.start, cell.start, true);
        while at + PLACE_BYTES <= cell.end {
            let above = distance.map_or(0, |distance| equal_bytes(text, at, distance));
            let found = match (above, distance) {
                (MATCH_BYTES_USEFUL.., Some(distance)) => Some((above, distance)),
                _ if may_search => self.search(text, at),
                _ => None,
            };
            match found {
                Some((length, distance)) => {
                    block.push_match(at, length, distance);
                    at += length;
                    matched = at;
                }
                None => at += above + 1,
            }
            may_search = found.is_some();
        }
        matched
    }

    /// Returns the length and the distance of a match with the last place that starts with the same bytes, if it is useful.
    #[inline]
    fn search(&mut self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        let start = text[at..].first_chunk::<PLACE_BYTES>();
        let start = u32::from_le_bytes(*start.expect("the cell has as many bytes"));
        // Knuth's multiplicative hash: the highest bits depend on all bytes.
        let hash = start.wrapping_mul(0x9E37_79B1) >> (u32::BITS - HASH_BITS);
        let place = self.places[hash as usize].replace(at as u32)?;
        let distance = at - place as usize;
        if distance > DISTANCE_MAX {
            return None;
        }
        let length = equal_bytes(text, at, distance);
        (length >= MATCH_BYTES_USEFUL).then_some((length, distance))
    }
}

/// Returns how many bytes from `at` on equal those at a distance before.
#[inline]
fn equal_bytes(text: &[u8], at: usize, distance: usize) -> usize {
    common_prefix(&text[at..], &text[at - distance..text.len() - distance])
}

/// Returns the separator of a text: the one that is most frequent at its start.
fn separator(text: &[u8]) -> u8 {
    let sample = &text[..text.len().min(SAMPLE_BYTES)];
    let count = |separator: &u8| memchr_iter(*separator, sample).count();
    let most = SEPARATORS.into_iter().max_by_key(count);
    most.expect("there are separators")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::deflate_block::tests::inflate;
    use proptest::prelude::*;

    /// Returns what two inflaters make of the block of a text, and the bytes that were in no match.
    fn written(text: &[u8], matcher: &mut LineMatcher) -> (Vec<u8>, usize) {
        let mut block = DeflateBlock::default();
        matcher.match_lines(text, &mut block);
        let literals = text.len() - block.matched_bytes();
        let mut out = Vec::new();
        block.write(text, &mut out);
        (inflate(&out), literals)
    }

    /// Lines of cells, some of them long, with separators in cells, lines of other lengths, and a rest without an end.
    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let cell = prop_oneof![
            4 => "[0-9]{1,12}",
            4 => "(paid|pending|\"a note, long\")",
            1 => "[a-c,;\t\n\"]{0,9}",
        ];
        let long = (0..2 * DISTANCE_MAX).prop_map(|count| "x".repeat(count));
        let line = prop_oneof![
            9 => prop::collection::vec(cell, 0..80),
            1 => long.prop_map(|cell| vec![cell; 2]),
        ];
        let lines = prop::collection::vec(line, 0..30);
        let separator = prop::sample::select(vec![",", ";", "\t"]);
        (lines, separator, prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(lines, separator, rest)| {
                let lines = lines.iter().map(|cells| cells.join(separator) + "\r\n");
                [lines.collect::<String>().into_bytes(), rest].concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn two_libraries_decompress_any_text(texts in prop::collection::vec(any_text(), 1..3)) {
            let mut matcher = LineMatcher::default();
            for text in texts {
                prop_assert!(written(&text, &mut matcher).0 == text);
            }
        }
    }

    fn literals(text: &str) -> usize {
        let (read, literals) = written(text.as_bytes(), &mut LineMatcher::default());
        assert_eq!(read, text.as_bytes());
        literals
    }

    #[test]
    fn only_what_differs_from_the_cell_above_is_literal() {
        let lines = (100_001..100_010).map(|number| format!("{number},customer {number},paid\n"));
        let lines: Vec<String> = lines.collect();
        let found = literals(&lines.concat());
        // The first two lines, since no separator is before the first cell; two digits of each other line; the last separator.
        let expected = 2 * lines[0].len() + 7 * 2 + 1;
        assert!(found <= expected, "{found} {expected}");
    }

    #[test]
    fn a_value_that_is_not_above_is_found_where_it_was_last() {
        let text = "refunded;1\nin transit;2\nrefunded;3\nin transit;4\n".repeat(20);
        assert!(literals(&text) < text.len() / 5, "{}", literals(&text));
    }

    #[test]
    fn what_is_too_far_above_is_not_referred_to() {
        let line = format!("value,{}\n", "x".repeat(DISTANCE_MAX));
        let numbers: String = (0..9000).map(|n| format!("{n};")).collect();
        for text in [line.repeat(2), format!("value,{numbers},value,1\n")] {
            literals(&text);
        }
    }
}
