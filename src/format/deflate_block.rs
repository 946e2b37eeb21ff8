//! Blocks of deflate with codes of their own, made from literals and matches that another part of the program has chosen:
//! RFC 1951.

/// Longest and shortest match, in bytes (section 3.2.5).
pub const MATCH_BYTES_MAX: usize = 258;
pub const MATCH_BYTES_MIN: usize = 3;
/// The farthest that a match refers back, in bytes.
pub const DISTANCE_MAX: usize = 32_768;

/// The symbols of literals, the end of the block, and lengths; then those of distances.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
/// Longest code of a symbol, and of the length of a code.
const CODE_BITS_MAX: u32 = 15;
const LENGTH_CODE_BITS_MAX: u32 = 7;
/// The order in which the lengths of the codes of code lengths are written (section 3.2.7).
const CODE_LENGTH_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
/// The smallest length of each length symbol, and the number of its extra bits.
const LENGTH_BASES: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
const LENGTH_EXTRA_BITS: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
/// The index in [`LENGTH_BASES`] of each length.
const LENGTH_INDICES: [u8; MATCH_BYTES_MAX + 1] = length_indices();

const fn length_indices() -> [u8; MATCH_BYTES_MAX + 1] {
    let mut symbols = [0; MATCH_BYTES_MAX + 1];
    let (mut length, mut symbol) = (MATCH_BYTES_MIN, 0);
    while length <= MATCH_BYTES_MAX {
        while symbol + 1 < LENGTH_BASES.len() && LENGTH_BASES[symbol + 1] as usize <= length {
            symbol += 1;
        }
        symbols[length] = symbol as u8;
        length += 1;
    }
    symbols
}

/// Returns the symbol of a distance, its extra bits, and their number.
fn distance_symbol(distance: u32) -> (usize, u32, u32) {
    let before = distance - 1;
    if before < 4 {
        return (before as usize, 0, 0);
    }
    let bits = before.ilog2() - 1;
    let symbol = 2 * (bits + 1) + ((before >> bits) & 1);
    (symbol as usize, before & ((1 << bits) - 1), bits)
}

/// A match, and the number of literals before it.
struct Match {
    literals: u32,
    length: u16,
    /// Less by 1.
    distance: u16,
}

/// The matches of one block. What is between them are literals.
#[derive(Default)]
pub struct DeflateBlock {
    matches: Vec<Match>,
    /// The end of the last match.
    end: usize,
    matched_bytes: usize,
}

impl DeflateBlock {
    /// Appends a match of at least [`MATCH_BYTES_MIN`] bytes: `length` bytes of the content from `start` on equal those
    /// `distance` bytes before. It must not start before the end of the last one.
    #[inline]
    pub fn push_match(&mut self, mut start: usize, length: usize, distance: usize) {
        debug_assert!(start >= self.end && (1..=DISTANCE_MAX.min(start)).contains(&distance));
        self.matched_bytes += length;
        let end = start + length;
        while start < end {
            // The rest must be long enough for a match of its own, or empty.
            let length = match end - start {
                left @ ..=MATCH_BYTES_MAX => left,
                left @ 259..261 => left - MATCH_BYTES_MIN,
                _ => MATCH_BYTES_MAX,
            };
            self.matches.push(Match {
                literals: (start - self.end) as u32,
                length: length as u16,
                distance: (distance - 1) as u16,
            });
            start += length;
            self.end = start;
        }
    }

    /// Returns the number of bytes in matches.
    pub fn matched_bytes(&self) -> usize {
        self.matched_bytes
    }

    /// Begins the block again.
    pub fn clear(&mut self) {
        self.matches.clear();
        self.end = 0;
        self.matched_bytes = 0;
    }

    /// Writes the block of this content, then an empty one that ends on a byte boundary, and begins the next.
    pub fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let (literals, distances) = self.frequencies(content);
        let literals = Codes::of(&literals, CODE_BITS_MAX);
        let distances = Codes::of(&distances, CODE_BITS_MAX);
        let lengths = length_codes(&literals);
        let mut bits = BitWriter::new(out);
        write_header(&literals, &distances, &mut bits);
        let mut start = 0;
        for found in &self.matches {
            let end = start + found.literals as usize;
            bits.write_literals(&literals, &content[start..end]);
            start = end + usize::from(found.length);
            bits.add(lengths[usize::from(found.length)]);
            let (symbol, extra, extra_bits) = distance_symbol(u32::from(found.distance) + 1);
            bits.add(distances.of_symbol(symbol).followed_by(extra, extra_bits));
            bits.flush();
        }
        bits.write_literals(&literals, &content[start..]);
        bits.write(literals.of_symbol(END_OF_BLOCK));
        bits.write_empty_block();
        self.clear();
    }

    /// Returns how often each symbol of literals and lengths occurs, and each one of distances.
    fn frequencies(&self, content: &[u8]) -> ([u32; LITERALS], [u32; DISTANCES]) {
        let (mut literals, mut distances) = ([0; LITERALS], [0; DISTANCES]);
        let mut count = |bytes: &[u8]| {
            for byte in bytes {
                literals[usize::from(*byte)] += 1;
            }
        };
        let mut start = 0;
        for found in &self.matches {
            let end = start + found.literals as usize;
            count(&content[start..end]);
            start = end + usize::from(found.length);
            distances[distance_symbol(u32::from(found.distance) + 1).0] += 1;
        }
        count(&content[start..]);
        for found in &self.matches {
            literals[length_symbol(usize::from(found.length))] += 1;
        }
        literals[END_OF_BLOCK] = 1;
        (literals, distances)
    }
}

/// Returns the symbol of a length.
#[inline]
fn length_symbol(length: usize) -> usize {
    END_OF_BLOCK + 1 + usize::from(LENGTH_INDICES[length])
}

/// Returns the code of each length with its extra bits.
fn length_codes(literals: &Codes<LITERALS>) -> [Code; MATCH_BYTES_MAX + 1] {
    let mut codes = [Code::default(); MATCH_BYTES_MAX + 1];
    for (length, code) in codes.iter_mut().enumerate().skip(MATCH_BYTES_MIN) {
        let symbol = usize::from(LENGTH_INDICES[length]);
        let extra = length as u32 - u32::from(LENGTH_BASES[symbol]);
        let extra_bits = u32::from(LENGTH_EXTRA_BITS[symbol]);
        *code = literals
            .of_symbol(length_symbol(length))
            .followed_by(extra, extra_bits);
    }
    codes
}

/// Writes the start of a block with dynamic codes (section 3.2.7), without runs of code lengths: they would save some tens of
/// bytes per block.
fn write_header(
    literals: &Codes<LITERALS>,
    distances: &Codes<DISTANCES>,
    bits: &mut BitWriter<'_>,
) {
    let used = |codes: &[Code], min: usize| {
        let last = codes.iter().rposition(|code| code.count > 0);
        last.map_or(0, |last| last + 1).max(min)
    };
    let literal_count = used(&literals.0, END_OF_BLOCK + 1);
    let distance_count = used(&distances.0, 1);
    let lengths = literals.0[..literal_count]
        .iter()
        .chain(&distances.0[..distance_count])
        .map(|code| code.count);
    let mut frequencies = [0; CODE_LENGTH_ORDER.len()];
    for length in lengths.clone() {
        frequencies[length as usize] += 1;
    }
    let codes = Codes::of(&frequencies, LENGTH_CODE_BITS_MAX);
    let mut write = |value: usize, count: u32| {
        bits.write(Code {
            bits: value as u32,
            count,
        });
    };
    // Not the last block, dynamic codes.
    write(0b100, 3);
    write(literal_count - 257, 5);
    write(distance_count - 1, 5);
    write(CODE_LENGTH_ORDER.len() - 4, 4);
    for symbol in CODE_LENGTH_ORDER {
        write(codes.of_symbol(symbol).count as usize, 3);
    }
    for length in lengths {
        bits.write(codes.of_symbol(length as usize));
    }
}

/// Some bits, the first one in the lowest position.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    bits: u32,
    /// The number of bits, at most 28.
    count: u32,
}

impl Code {
    #[inline]
    fn followed_by(self, bits: u32, count: u32) -> Code {
        Code {
            bits: self.bits | bits << self.count,
            count: self.count + count,
        }
    }
}

/// The code of each symbol, which is empty for one that does not occur: section 3.2.2.
struct Codes<const N: usize>([Code; N]);

impl<const N: usize> Codes<N> {
    fn of(frequencies: &[u32; N], bits_max: u32) -> Codes<N> {
        let lengths = code_lengths(frequencies, bits_max);
        let mut counts = [0_u32; CODE_BITS_MAX as usize + 1];
        lengths
            .iter()
            .for_each(|length| counts[usize::from(*length)] += 1);
        counts[0] = 0;
        let mut next = [0_u32; CODE_BITS_MAX as usize + 1];
        for bits in 1..next.len() {
            next[bits] = (next[bits - 1] + counts[bits - 1]) << 1;
        }
        let mut codes = [Code::default(); N];
        for (code, length) in codes.iter_mut().zip(lengths) {
            let next = &mut next[usize::from(length)];
            let count = u32::from(length);
            if count > 0 {
                let bits = next.reverse_bits() >> (32 - count);
                *code = Code { bits, count };
                *next += 1;
            }
        }
        Codes(codes)
    }

    #[inline]
    fn of_symbol(&self, symbol: usize) -> Code {
        self.0[symbol]
    }
}

/// Returns the lengths of Huffman codes, none of which is longer than the maximum. One symbol that occurs alone has one bit.
fn code_lengths(frequencies: &[u32], bits_max: u32) -> Vec<u8> {
    let mut lengths = vec![0; frequencies.len()];
    let mut symbols: Vec<usize> = (0..frequencies.len())
        .filter(|symbol| frequencies[*symbol] > 0)
        .collect();
    symbols.sort_by_key(|symbol| frequencies[*symbol]);
    let counts = length_counts(&symbols, frequencies, bits_max);
    // The rarest symbols have the longest codes.
    let mut rest = symbols.into_iter();
    for bits in (1..=bits_max).rev() {
        for symbol in rest.by_ref().take(counts[bits as usize]) {
            lengths[symbol] = bits as u8;
        }
    }
    lengths
}

/// Returns how many codes have each length, for symbols that are sorted by their frequency.
fn length_counts(symbols: &[usize], frequencies: &[u32], bits_max: u32) -> Vec<usize> {
    let mut counts = vec![0; bits_max as usize + 1];
    if symbols.len() < 2 {
        counts[1] = symbols.len();
        return counts;
    }
    // The two rarest of the symbols and of the pairs so far become a pair. Pairs are made in the order of their weight.
    let mut weights: Vec<u64> = symbols
        .iter()
        .map(|it| u64::from(frequencies[*it]))
        .collect();
    let leaves = weights.len();
    let mut parents = vec![0; 2 * leaves - 1];
    let (mut leaf, mut pair) = (0, leaves);
    while weights.len() < 2 * leaves - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let takes_leaf =
                leaf < leaves && (pair >= weights.len() || weights[leaf] <= weights[pair]);
            let rarest = if takes_leaf { &mut leaf } else { &mut pair };
            weight += weights[*rarest];
            parents[*rarest] = weights.len();
            *rarest += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0_u32; 2 * leaves - 1];
    for node in (0..2 * leaves - 2).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    for depth in &depths[..leaves] {
        counts[(*depth).min(bits_max) as usize] += 1;
    }
    shorten(&mut counts, bits_max);
    counts
}

/// Makes room for codes that were too long: each step takes one of the longest codes, and puts it beside a shorter one, which
/// gets longer by a bit.
fn shorten(counts: &mut [usize], bits_max: u32) {
    let room = |(bits, count): (usize, &usize)| (*count as u64) << (bits_max - bits as u32);
    let mut used: u64 = counts.iter().enumerate().skip(1).map(room).sum();
    while used > 1 << bits_max {
        let longest = bits_max as usize;
        let shorter = (1..longest).rev().find(|bits| counts[*bits] > 0);
        let shorter = shorter.expect("codes of the longest length only do not overflow");
        counts[longest] -= 1;
        counts[shorter] -= 1;
        counts[shorter + 1] += 2;
        used -= 1;
    }
}

/// Appends bits, the first one in the lowest position of a byte: section 3.1.1.
struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    pending: u64,
    /// The number of bits in `pending`.
    count: u32,
}

impl<'o> BitWriter<'o> {
    fn new(out: &'o mut Vec<u8>) -> BitWriter<'o> {
        BitWriter {
            out,
            pending: 0,
            count: 0,
        }
    }

    /// Appends bits, at most 56 of them before they are [flushed](Self::flush).
    #[inline]
    fn add(&mut self, code: Code) {
        self.pending |= u64::from(code.bits) << self.count;
        self.count += code.count;
    }

    /// Writes whole bytes. At most seven bits are left. There is no condition, which the processor could not predict.
    #[inline]
    fn flush(&mut self) {
        let end = self.out.len() + (self.count / 8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes());
        self.out.truncate(end);
        self.pending >>= self.count & !7;
        self.count &= 7;
    }

    #[inline]
    fn write(&mut self, code: Code) {
        self.add(code);
        self.flush();
    }

    /// Appends the codes of bytes, three at a time: more might not fit.
    #[inline(always)]
    fn write_literals(&mut self, codes: &Codes<LITERALS>, bytes: &[u8]) {
        let triples = bytes.chunks_exact(3);
        let rest = triples.remainder();
        for triple in triples {
            for byte in triple {
                self.add(codes.of_symbol(usize::from(*byte)));
            }
            self.flush();
        }
        for byte in rest {
            self.add(codes.of_symbol(usize::from(*byte)));
        }
        self.flush();
    }

    /// Ends on a byte boundary with an empty stored block (section 3.2.4).
    fn write_empty_block(&mut self) {
        let padding = (5 + 8 - self.count) % 8;
        self.write(Code {
            bits: 0,
            count: 3 + padding,
        });
        self.out.extend_from_slice(&[0x00, 0x00, 0xff, 0xff]);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    /// Decompresses blocks by two libraries, and checks that they agree.
    pub fn inflate(blocks: &[u8]) -> Vec<u8> {
        let mut whole = blocks.to_vec();
        whole.extend([0x03, 0x00]);
        let content = miniz_oxide::inflate::decompress_to_vec(&whole).expect("deflate");
        let mut other = Vec::with_capacity(content.len() + 1);
        let mut inflater = Decompress::new(false);
        let inflated = inflater.decompress_vec(&whole, &mut other, FlushDecompress::Finish);
        inflated.expect("deflate");
        assert!(content == other, "two inflaters differ");
        content
    }

    /// A literal run, or a match by length and distance, which is reduced to what there is.
    fn any_steps() -> impl Strategy<Value = Vec<(Vec<u8>, usize, usize)>> {
        let literals = prop::collection::vec(any::<u8>(), 0..40);
        let lengths = prop_oneof![0..20_usize, 250..270_usize, 0..3000_usize];
        let distances = prop_oneof![1..20_usize, 1..40_000_usize];
        prop::collection::vec((literals, lengths, distances), 0..200)
    }

    proptest! {
        #[test]
        fn two_libraries_decompress_any_literals_and_matches(
            blocks in prop::collection::vec(any_steps(), 0..4),
        ) {
            let (mut whole, mut out) = (Vec::new(), Vec::new());
            let mut block = DeflateBlock::default();
            for steps in blocks {
                let mut content = Vec::new();
                for (literals, length, distance) in steps {
                    content.extend(literals);
                    let distance = distance.min(DISTANCE_MAX).min(content.len());
                    if distance == 0 || length < MATCH_BYTES_MIN {
                        continue;
                    }
                    let start = content.len();
                    for index in start..start + length {
                        content.push(content[index - distance]);
                    }
                    block.push_match(start, length, distance);
                }
                block.write(&content, &mut out);
                whole.extend(content);
            }
            prop_assert!(inflate(&out) == whole);
        }

        #[test]
        fn codes_of_any_frequencies_are_complete_and_not_too_long(
            frequencies in prop::collection::vec(
                prop_oneof![Just(0_u32), 1..5_u32, any::<u32>()], 1..286,
            ),
            bits_max in prop_oneof![Just(15_u32), Just(9)],
        ) {
            let lengths = code_lengths(&frequencies, bits_max);
            let used = lengths.iter().filter(|length| **length > 0);
            prop_assert_eq!(used.clone().count(), frequencies.iter().filter(|it| **it > 0).count());
            prop_assert!(used.clone().all(|length| u32::from(*length) <= bits_max));
            let room: u64 = used.clone().map(|length| 1 << (bits_max - u32::from(*length))).sum();
            match used.count() {
                0 => prop_assert_eq!(room, 0),
                1 => prop_assert_eq!(room, 1 << (bits_max - 1)),
                _ => prop_assert_eq!(room, 1 << bits_max),
            }
        }
    }

    #[test]
    fn fibonacci_frequencies_do_not_exceed_the_longest_code() {
        let mut frequencies = vec![1_u32, 1];
        while frequencies.len() < 40 {
            frequencies.push(frequencies[frequencies.len() - 2..].iter().sum());
        }
        let lengths = code_lengths(&frequencies, 15);
        assert_eq!(lengths.iter().max(), Some(&15));
        let room: u64 = lengths.iter().map(|length| 1_u64 << (15 - length)).sum();
        assert_eq!(room, 1 << 15);
    }

    #[test]
    fn every_length_and_distance_is_read_back() {
        let mut content: Vec<u8> = (0..DISTANCE_MAX as u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let mut block = DeflateBlock::default();
        let distances = (0..15).flat_map(|bits| [1 << bits, (1 << bits) + 1, 2 << bits]);
        let lengths = MATCH_BYTES_MIN..=MATCH_BYTES_MAX + 5;
        for (length, distance) in lengths.zip(distances.cycle()) {
            let start = content.len();
            for index in start..start + length {
                content.push(content[index - distance]);
            }
            block.push_match(start, length, distance);
        }
        let mut out = Vec::new();
        block.write(&content, &mut out);
        assert!(inflate(&out) == content);
    }
}
