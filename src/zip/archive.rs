//! An archive whose files are stored without compression.

use super::{
    DATE, HAS_DATA_DESCRIPTOR, VERSION_ZIP64, ZIP32_MAX, put_u16s, put_u32, put_u64, write_end,
};

const VERSION: u16 = 20;
/// Flag: the name is UTF-8 (4.4.4, bit 11).
const IS_UTF8: u16 = 1 << 11;
const FLAGS: u16 = HAS_DATA_DESCRIPTOR | IS_UTF8;
/// Method: stored (4.4.5).
const METHOD: u16 = 0;
/// The header of the ZIP64 field (4.5.3), before its numbers.
const ZIP64_FIELD: u16 = 1;

/// Frames the files of an archive. The caller sends what the methods return, and each file's content after its
/// [header](Archive::begin).
#[derive(Default)]
pub struct Archive {
    /// How many bytes of the archive there are so far.
    offset: u64,
    files: Vec<File>,
}

/// A file's entry in the central directory.
struct File {
    name: String,
    offset: u64,
    size: u64,
    checksum: u32,
}

impl Archive {
    /// Returns the length of an archive of files with these names and sizes, in bytes; `u64::MAX` if it is larger.
    pub fn length<'n>(files: impl IntoIterator<Item = (&'n str, u64)>) -> u64 {
        let mut archive = Archive::default();
        for (name, size) in files {
            archive.begin(name, size);
            archive.end(0);
        }
        archive.finish();
        archive.offset
    }

    /// Begins a file; returns its local header (4.3.7). Its content of `size` bytes follows.
    pub fn begin(&mut self, name: &str, size: u64) -> Vec<u8> {
        let file = File {
            name: name.to_owned(),
            offset: self.offset,
            size,
            checksum: 0,
        };
        let mut out = Vec::with_capacity(64 + name.len());
        out.extend_from_slice(b"PK\x03\x04");
        put_u16s(&mut out, [file.version(), FLAGS, METHOD, 0, DATE]);
        // They follow the content: 4.4.4, bit 3.
        [0, 0, 0]
            .into_iter()
            .for_each(|value| put_u32(&mut out, value));
        // With this field the numbers after the content have 64 bits: 4.3.9.2.
        let extra = if file.is_large() { 20 } else { 0 };
        put_u16s(&mut out, [name.len() as u16, extra]);
        out.extend_from_slice(name.as_bytes());
        if file.is_large() {
            put_u16s(&mut out, [ZIP64_FIELD, 16]);
            put_u64(&mut out, 0);
            put_u64(&mut out, 0);
        }
        self.advance(size);
        self.advance(out.len() as u64);
        self.files.push(file);
        out
    }

    /// Ends the file that was begun last; returns its data descriptor (4.3.9).
    pub fn end(&mut self, checksum: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        if let Some(file) = self.files.last_mut() {
            file.checksum = checksum;
            out.extend_from_slice(b"PK\x07\x08");
            out.extend_from_slice(&checksum.to_le_bytes());
            let put = if file.is_large() { put_u64 } else { put_u32 };
            put(&mut out, file.size);
            put(&mut out, file.size);
        }
        self.advance(out.len() as u64);
        out
    }

    /// Completes the archive; returns the central directory (4.3.12).
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for file in &self.files {
            file.write_central_header(&mut out);
        }
        let size = out.len() as u64;
        write_end(&mut out, self.files.len() as u64, self.offset, size);
        self.advance(out.len() as u64);
        out
    }

    /// Sizes of files that do not exist yet may exceed all limits.
    fn advance(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
    }
}

impl File {
    fn is_large(&self) -> bool {
        self.size > ZIP32_MAX
    }

    fn version(&self) -> u16 {
        if self.is_large() {
            VERSION_ZIP64
        } else {
            VERSION
        }
    }

    fn write_central_header(&self, out: &mut Vec<u8>) {
        let mut large = Vec::new();
        if self.is_large() {
            put_u64(&mut large, self.size);
            put_u64(&mut large, self.size);
        }
        if self.offset > ZIP32_MAX {
            put_u64(&mut large, self.offset);
        }
        let version = match large.is_empty() {
            true => VERSION,
            false => VERSION_ZIP64,
        };
        let extra = match large.len() as u16 {
            0 => 0,
            bytes => bytes + 4,
        };
        out.extend_from_slice(b"PK\x01\x02");
        put_u16s(out, [version, version, FLAGS, METHOD, 0, DATE]);
        out.extend_from_slice(&self.checksum.to_le_bytes());
        put_u32(out, self.size);
        put_u32(out, self.size);
        put_u16s(out, [self.name.len() as u16, extra, 0, 0, 0, 0, 0]);
        put_u32(out, self.offset);
        out.extend_from_slice(self.name.as_bytes());
        if !large.is_empty() {
            put_u16s(out, [ZIP64_FIELD, large.len() as u16]);
            out.extend_from_slice(&large);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_archive_has_its_files_and_the_length_that_was_computed(
            files in prop::collection::vec(("[a-zäö 0-9]{1,20}", prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        ) {
            let mut archive = Archive::default();
            let mut bytes = Vec::new();
            let named = |index: usize, name: &str| format!("{index} {name}");
            for (index, (name, content)) in files.iter().enumerate() {
                bytes.extend(archive.begin(&named(index, name), content.len() as u64));
                bytes.extend(content);
                bytes.extend(archive.end(crc32fast::hash(content)));
            }
            bytes.extend(archive.finish());
            let names: Vec<String> = files.iter().enumerate().map(|(index, (name, _))| named(index, name)).collect();
            let sizes = names.iter().zip(&files).map(|(name, (_, content))| (name.as_str(), content.len() as u64));
            prop_assert_eq!(Archive::length(sizes), bytes.len() as u64);
            let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an archive");
            prop_assert_eq!(archive.len(), files.len());
            for (index, (_, content)) in files.iter().enumerate() {
                let mut file = archive.by_index(index).expect("a file");
                prop_assert_eq!(file.name().expect("UTF-8").into_owned(), names[index].clone());
                let mut read = Vec::new();
                file.read_to_end(&mut read).expect("its content");
                prop_assert_eq!(&read, content);
            }
        }
    }

    #[test]
    fn large_files_and_archives_have_zip64_fields() {
        let large = ZIP32_MAX + 1;
        let one = Archive::length([("a", 1)]);
        // The local field, the descriptor's and the central one; the end records, because the directory is beyond 4 GiB.
        let expected = one + (large - 1) + 20 + 8 + 20 + 76;
        assert_eq!(Archive::length([("a", large)]), expected);
        let many = Archive::length((0..0xffff).map(|_| ("a", 0)));
        let each = Archive::length([("a", 0), ("a", 0)]) - Archive::length([("a", 0)]);
        assert_eq!(many, each * 0xffff + 22 + 76);
    }
}
