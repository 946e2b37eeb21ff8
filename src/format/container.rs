//! ZIP archives for output that cannot seek.
//!
//! Section numbers refer to PKWARE, "APPNOTE.TXT", 6.3.10. ECMA-376 part 2 ("Open Packaging
//! Conventions") and Excel restrict a workbook further: version 20, deflate, no ZIP64 sizes. Its parts therefore
//! end before 4 GiB; the archive may be larger.

use std::borrow::Cow;

use flate2::{Compress, Compression, FlushCompress};

use super::deflate_pool::{Deflated, LAST_BLOCK};
use super::row_matcher::Mark;
use crate::format::heartbeat::EMPTY_DEFLATE_BLOCK;
use crate::zip::{
    DATE, HAS_DATA_DESCRIPTOR, VERSION_ZIP64, ZIP32_MAX, put_u16s, put_u32, put_u64, write_end,
};

/// How much a part is compressed. Readers of streams, such as that of Java, expect every part of unknown size in deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// At the fastest level.
    Fastest,
    /// Not at all, in blocks of deflate: for content that is compressed already.
    Stored,
}

impl Level {
    fn compressor(self) -> Compress {
        let level = match self {
            Level::Fastest => Compression::fast(),
            Level::Stored => Compression::none(),
        };
        Compress::new(level, false)
    }
}

const VERSION: u16 = 20;
const METHOD_DEFLATE: u16 = 8;
/// Free output space per call of deflate, in bytes.
const OUTPUT_BYTES_MIN: usize = 32 * 1024;

/// Writes a ZIP archive. The caller fetches its output with [`take`](Self::take).
pub struct Container {
    out: Vec<u8>,
    /// Bytes that `take` has returned.
    taken: u64,
    parts: Vec<Part>,
    /// Of the content of the open part.
    checksum: crc32fast::Hasher,
}

/// A part's entry in the central directory.
struct Part {
    name: String,
    flags: u16,
    offset: u64,
    checksum: u32,
    compressed_size: u64,
    uncompressed_size: u64,
}

/// Content of a part.
#[derive(Debug, Default)]
pub struct Content {
    pub bytes: Vec<u8>,
    /// Of its cells, if it has rows of cells.
    pub marks: Vec<Mark>,
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content {
            bytes,
            marks: Vec::new(),
        }
    }
}

/// What follows in an archive. Content is compressed before it is written to a [`Container`].
pub enum Piece {
    /// A complete small part: name and content.
    Part(Cow<'static, str>, String),
    /// Opens the named part; its content follows.
    Begin(String, Level),
    /// Opens the first part, whose start and heartbeats were sent before.
    Resume {
        name: String,
        level: Level,
        heartbeats: u64,
    },
    /// Content of the open part, which is compressed as a block.
    Content(Content),
    /// A heartbeat in the open part.
    Heartbeat,
    /// Closes the open part.
    End,
    /// Completes the archive.
    Finish,
}

impl Default for Container {
    /// Returns an empty archive.
    fn default() -> Container {
        Container {
            out: Vec::new(),
            taken: 0,
            parts: Vec::new(),
            checksum: crc32fast::Hasher::new(),
        }
    }
}

impl Container {
    /// Returns the bytes written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Writes a complete small part, with its sizes in the local header.
    pub fn part(&mut self, name: &str, content: &[u8]) {
        let deflated = deflate(Level::Fastest, &[], content, FlushCompress::Finish);
        let part = Part {
            name: name.to_owned(),
            flags: 0,
            offset: self.offset(),
            checksum: crc32fast::hash(content),
            compressed_size: deflated.len() as u64,
            uncompressed_size: content.len() as u64,
        };
        part.write_local_header(&mut self.out);
        self.out.extend_from_slice(&deflated);
        self.parts.push(part);
    }

    /// Returns the start of an archive whose first part has this name.
    pub fn start_of(name: &str) -> Vec<u8> {
        let mut start = Vec::new();
        Part::of_unknown_size(name, 0).write_local_header(&mut start);
        start
    }

    /// Opens the first part, whose [start](Self::start_of) was sent, with some heartbeats after it.
    pub fn resume(&mut self, name: &str, heartbeats: u64) {
        self.begin(name);
        (0..heartbeats).for_each(|_| self.heartbeat());
        self.take();
    }

    /// Opens a part of unknown size.
    pub fn begin(&mut self, name: &str) {
        let part = Part::of_unknown_size(name, self.offset());
        part.write_local_header(&mut self.out);
        self.parts.push(part);
        self.checksum = crc32fast::Hasher::new();
    }

    /// Appends a block to the open part.
    pub fn write_block(&mut self, block: &Deflated) {
        self.checksum.combine(&block.checksum);
        self.append(&block.bytes, block.content_bytes);
    }

    /// Appends a heartbeat to the open part. It is at the end of a block, on a byte boundary.
    pub fn heartbeat(&mut self) {
        self.append(EMPTY_DEFLATE_BLOCK, 0);
    }

    fn append(&mut self, compressed: &[u8], content_bytes: u64) {
        self.out.extend_from_slice(compressed);
        let part = self.parts.last_mut().expect("a part was begun");
        part.compressed_size += compressed.len() as u64;
        part.uncompressed_size += content_bytes;
    }

    /// Closes the open part with a data descriptor (4.3.9).
    pub fn end(&mut self) {
        self.append(LAST_BLOCK, 0);
        let part = self.parts.last_mut().expect("a part was begun");
        part.checksum = self.checksum.clone().finalize();
        part.write_descriptor(&mut self.out);
    }

    /// Completes the archive with the central directory (4.3.12, 4.3.16).
    pub fn finish(&mut self) {
        let start = self.offset();
        for part in &self.parts {
            part.write_central_header(&mut self.out);
        }
        let size = self.offset() - start;
        let count = self.parts.len() as u64;
        write_end(&mut self.out, count, start, size);
    }

    fn offset(&self) -> u64 {
        self.taken + self.out.len() as u64
    }
}

impl Part {
    fn of_unknown_size(name: &str, offset: u64) -> Part {
        Part {
            name: name.to_owned(),
            flags: HAS_DATA_DESCRIPTOR,
            offset,
            checksum: 0,
            compressed_size: 0,
            uncompressed_size: 0,
        }
    }

    /// Writes the local header (4.3.7).
    fn write_local_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PK\x03\x04");
        put_u16s(out, [VERSION, self.flags, METHOD_DEFLATE, 0, DATE]);
        self.write_sizes(out);
        put_u16s(out, [self.name.len() as u16, 0]);
        out.extend_from_slice(self.name.as_bytes());
    }

    /// Writes the data descriptor (4.3.9). Its sizes have 64 bits only if one needs them, and the local header has no ZIP64
    /// field, because readers of streams, such as that of Java, expect 32 bits for small parts whatever the header says.
    fn write_descriptor(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PK\x07\x08");
        if self.is_large() {
            out.extend_from_slice(&self.checksum.to_le_bytes());
            put_u64(out, self.compressed_size);
            put_u64(out, self.uncompressed_size);
        } else {
            self.write_sizes(out);
        }
    }

    fn is_large(&self) -> bool {
        self.compressed_size.max(self.uncompressed_size) > ZIP32_MAX
    }

    /// Writes the central directory header (4.3.12).
    fn write_central_header(&self, out: &mut Vec<u8>) {
        let large = [self.uncompressed_size, self.compressed_size, self.offset];
        let large: Vec<u64> = large.into_iter().filter(|it| *it > ZIP32_MAX).collect();
        let version = match large.is_empty() {
            true => VERSION,
            false => VERSION_ZIP64,
        };
        let bytes = 8 * large.len() as u16;
        let extra = if large.is_empty() { 0 } else { 4 + bytes };
        out.extend_from_slice(b"PK\x01\x02");
        put_u16s(out, [version, version, self.flags, METHOD_DEFLATE, 0, DATE]);
        self.write_sizes(out);
        put_u16s(out, [self.name.len() as u16, extra, 0, 0, 0, 0, 0]);
        put_u32(out, self.offset);
        out.extend_from_slice(self.name.as_bytes());
        if !large.is_empty() {
            // The ZIP64 field (4.5.3) has only the numbers that the header refers to it for, in this order.
            put_u16s(out, [1, bytes]);
            large.into_iter().for_each(|number| put_u64(out, number));
        }
    }

    fn write_sizes(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.checksum.to_le_bytes());
        put_u32(out, self.compressed_size);
        put_u32(out, self.uncompressed_size);
    }
}

/// Compresses all of `content`, with `dictionary` before it. The compressor is a new one: `zlib-rs` does not reset all that
/// decides about matches with the end of a dictionary, and the bytes must depend on nothing else.
pub(super) fn deflate(
    level: Level,
    dictionary: &[u8],
    content: &[u8],
    flush: FlushCompress,
) -> Vec<u8> {
    let mut deflate = level.compressor();
    if !dictionary.is_empty() {
        let set = deflate.set_dictionary(dictionary);
        set.expect("deflate takes a dictionary before the first byte");
    }
    let mut out = Vec::new();
    let mut rest = content;
    loop {
        out.reserve(OUTPUT_BYTES_MIN);
        let before = deflate.total_in();
        let status = deflate.compress_vec(rest, &mut out, flush);
        status.expect("deflate fails only if called in the wrong order");
        rest = &rest[(deflate.total_in() - before) as usize..];
        // Free output space remains: nothing is left to write.
        if rest.is_empty() && out.len() < out.capacity() {
            return out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::deflate_pool::{Block, compress};
    use proptest::prelude::*;
    use std::io::{Cursor, Read as _};
    use std::sync::Arc;

    /// Reads the parts with the `zip` crate, from the central directory.
    fn read(archive: Vec<u8>) -> Vec<(String, Vec<u8>)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive");
        (0..archive.len())
            .map(|index| {
                let mut part = archive.by_index(index).expect("a part");
                let mut content = Vec::new();
                part.read_to_end(&mut content).expect("its content");
                (part.name().expect("UTF-8").into_owned(), content)
            })
            .collect()
    }

    /// Appends content to the open part as a block of its own.
    fn write(container: &mut Container, level: Level, content: &[u8]) {
        let block = Block {
            content: Arc::new(content.to_vec().into()),
            before: None,
            level,
        };
        container.write_block(&compress(&block));
    }

    #[test]
    fn heartbeats_are_no_content() {
        let mut container = Container::default();
        let mut archive = Container::start_of("first.xml");
        (0..3).for_each(|_| archive.extend_from_slice(EMPTY_DEFLATE_BLOCK));
        container.resume("first.xml", 3);
        write(&mut container, Level::Fastest, b"<first/>");
        container.end();
        container.begin("second.xml");
        container.heartbeat();
        for _ in 0..200 {
            write(&mut container, Level::Fastest, b"<row/>");
            container.heartbeat();
            container.heartbeat();
        }
        container.end();
        container.part("third.xml", b"<third/>");
        container.finish();
        archive.extend(container.take());
        let found = read(archive);
        let expected = [
            ("first.xml".to_owned(), b"<first/>".to_vec()),
            ("second.xml".to_owned(), b"<row/>".repeat(200)),
            ("third.xml".to_owned(), b"<third/>".to_vec()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn stored_parts_are_read_back_between_compressed_ones() {
        let mut container = Container::default();
        container.begin("a.csv");
        write(&mut container, Level::Fastest, b"a");
        container.end();
        container.begin("b.parquet");
        for part in [&b"PAR1"[..], b"", b"PAR1"] {
            write(&mut container, Level::Stored, part);
            container.heartbeat();
        }
        container.end();
        container.begin("c.parquet");
        container.end();
        container.begin("d.csv");
        container.heartbeat();
        container.end();
        container.finish();
        let expected = [
            ("a.csv".to_owned(), b"a".to_vec()),
            ("b.parquet".to_owned(), b"PAR1PAR1".to_vec()),
            ("c.parquet".to_owned(), Vec::new()),
            ("d.csv".to_owned(), Vec::new()),
        ];
        assert_eq!(read(container.take()), expected);
    }

    #[test]
    fn sizes_beyond_4_gib_have_64_bits() {
        let part = |uncompressed_size, offset| Part {
            compressed_size: 1,
            uncompressed_size,
            ..Part::of_unknown_size("a.csv", offset)
        };
        let small = part(ZIP32_MAX, 0);
        let large = part(ZIP32_MAX + 1, 1 << 33);
        let descriptor = |part: &Part| {
            let mut out = Vec::new();
            part.write_descriptor(&mut out);
            out
        };
        assert_eq!(descriptor(&small).len(), 16);
        assert_eq!(descriptor(&large).len(), 24);
        assert_eq!(descriptor(&large)[8..16], 1_u64.to_le_bytes());
        let mut central = Vec::new();
        large.write_central_header(&mut central);
        let mut field = vec![1, 0, 16, 0];
        field.extend((ZIP32_MAX + 1).to_le_bytes());
        field.extend((1_u64 << 33).to_le_bytes());
        assert!(central.ends_with(&field));
        assert_eq!(central[20..24], 1_u32.to_le_bytes());
        assert_eq!(central[24..28], [0xff; 4]);
    }

    #[test]
    fn parts_of_known_and_unknown_size_are_read_back() {
        let small = b"<x/>".repeat(1000);
        let large: Vec<u8> = (0..300_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let mut container = Container::default();
        let mut archive = Vec::new();
        container.part("a/small.xml", &small);
        container.begin("large.xml");
        for piece in large.chunks(70_001) {
            write(&mut container, Level::Fastest, piece);
            archive.extend(container.take());
        }
        container.end();
        container.part("empty", b"");
        container.finish();
        archive.extend(container.take());
        let expected = [
            ("a/small.xml".to_owned(), small),
            ("large.xml".to_owned(), large),
            ("empty".to_owned(), Vec::new()),
        ];
        assert!(read(archive) == expected);
    }

    /// Pieces of a part, and whether each is followed by a heartbeat.
    type Content = Vec<(Vec<u8>, bool)>;

    fn any_content() -> impl Strategy<Value = Content> {
        let noise = prop::collection::vec(any::<u8>(), 0..3000);
        let repeats = (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]);
        prop::collection::vec((prop_oneof![noise, repeats], any::<bool>()), 0..5)
    }

    /// Decompresses the parts with `miniz_oxide`.
    fn inflate(archive: &[u8]) -> Vec<Vec<u8>> {
        let mut parts = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive");
        (0..parts.len())
            .map(|index| {
                let mut deflated = Vec::new();
                let mut part = parts.by_index_raw(index).expect("a part");
                part.read_to_end(&mut deflated).expect("its bytes");
                miniz_oxide::inflate::decompress_to_vec(&deflated).expect("deflated bytes")
            })
            .collect()
    }

    proptest! {
        #[test]
        fn two_libraries_decompress_any_parts_to_the_same_content(
            parts in prop::collection::vec((any::<bool>(), any_content()), 0..6),
        ) {
            let (mut container, mut archive) = (Container::default(), Vec::new());
            let mut expected = Vec::new();
            for (index, (known, content)) in parts.iter().enumerate() {
                let name = format!("part{index}");
                let whole: Vec<u8> = content.iter().flat_map(|(piece, _)| piece.clone()).collect();
                if *known {
                    container.part(&name, &whole);
                } else {
                    container.begin(&name);
                    for (piece, has_heartbeat) in content {
                        write(&mut container, Level::Fastest, piece);
                        if *has_heartbeat {
                            container.heartbeat();
                            archive.extend(container.take());
                        }
                    }
                    container.end();
                }
                expected.push((name, whole));
            }
            container.finish();
            archive.extend(container.take());
            let contents: Vec<Vec<u8>> = expected.iter().map(|(_, it)| it.clone()).collect();
            prop_assert!(inflate(&archive) == contents);
            prop_assert!(read(archive) == expected);
        }
    }

    #[test]
    fn headers_have_the_form_that_excel_reads() {
        let mut container = Container::default();
        container.begin("s");
        write(&mut container, Level::Fastest, b"sheet");
        container.end();
        container.finish();
        let archive = container.take();
        // Version 20, bit 3, deflate; sizes only in the 16-byte data descriptor with its signature.
        assert_eq!(archive[..10], *b"PK\x03\x04\x14\0\x08\0\x08\0");
        assert_eq!(archive[14..26], [0; 12]);
        let descriptor = archive
            .windows(4)
            .position(|it| it == b"PK\x07\x08")
            .expect("one");
        let central = archive
            .windows(4)
            .position(|it| it == b"PK\x01\x02")
            .expect("one");
        assert_eq!(central - descriptor, 16);
        assert_eq!(
            archive[descriptor + 4..][..4],
            crc32fast::hash(b"sheet").to_le_bytes()
        );
        assert_eq!(archive[descriptor + 12..][..4], 5_u32.to_le_bytes());
        assert!(!archive.windows(4).any(|it| it == b"PK\x06\x06"));
    }

    #[test]
    fn an_archive_over_4_gib_has_zip64_records_only_for_large_offsets() {
        let mut container = Container::default();
        container.part("near", b"1");
        let near = container.take();
        // Simulates 5 GiB of earlier output.
        container.taken = 5 << 30;
        container.part("far", b"2");
        container.finish();
        let rest = container.take();
        let central = rest
            .windows(4)
            .position(|it| it == b"PK\x01\x02")
            .expect("one");
        let second = central + 46 + 4;
        assert_eq!(rest[second + 42..][..4], [0xff; 4]);
        assert_eq!(rest[second + 46 + 3..][..4], [1, 0, 8, 0]);
        assert_eq!(rest[second + 46 + 7..][..8], (5_u64 << 30).to_le_bytes());
        let record = rest
            .windows(4)
            .position(|it| it == b"PK\x06\x06")
            .expect("one");
        assert_eq!(
            rest[record + 48..][..8],
            ((5_u64 << 30) + central as u64).to_le_bytes()
        );
        let locator = &rest[record + 56..];
        assert_eq!(locator[..4], *b"PK\x06\x07");
        assert_eq!(
            locator[8..16],
            ((5_u64 << 30) + record as u64).to_le_bytes()
        );
        assert!(near.len() > 30);
    }
}
