//! Records of ZIP archives for output that cannot seek, and archives of files as they are.
//!
//! Section numbers refer to PKWARE, "APPNOTE.TXT", 6.3.10.

mod archive;

pub use archive::Archive;

/// The version needed to extract a file with ZIP64 fields (4.4.3).
pub const VERSION_ZIP64: u16 = 45;
/// Flag: a data descriptor follows the data (4.4.4, bit 3).
pub const HAS_DATA_DESCRIPTOR: u16 = 1 << 3;
/// 1 January 1980, the earliest MS-DOS date (4.4.6). The content must not depend on the current time.
pub const DATE: u16 = 0x0021;
/// Largest 32-bit value that does not refer to a ZIP64 field (4.4.1.4).
pub const ZIP32_MAX: u64 = 0xffff_fffe;
/// Largest number of files without ZIP64 records.
const COUNT_MAX: u64 = 0xfffe;

/// Writes what follows the central directory, which begins at `start` and has `size` bytes: the ZIP64 records, if they are
/// needed (4.3.14, 4.3.15), and the end record (4.3.16).
pub fn write_end(out: &mut Vec<u8>, count: u64, start: u64, size: u64) {
    let end = start.saturating_add(size);
    if end > ZIP32_MAX || count > COUNT_MAX {
        out.extend_from_slice(b"PK\x06\x06");
        put_u64(out, 44);
        put_u16s(out, [VERSION_ZIP64, VERSION_ZIP64, 0, 0, 0, 0]);
        [count, count, size, start]
            .into_iter()
            .for_each(|value| put_u64(out, value));
        out.extend_from_slice(b"PK\x06\x07");
        put_u16s(out, [0, 0]);
        put_u64(out, end);
        put_u16s(out, [1, 0]);
    }
    out.extend_from_slice(b"PK\x05\x06");
    put_u16s(out, [0, 0]);
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    put_u16s(out, [count, count]);
    put_u32(out, size);
    put_u32(out, start);
    put_u16s(out, [0]);
}

/// Appends 16-bit numbers.
pub fn put_u16s<const N: usize>(out: &mut Vec<u8>, values: [u16; N]) {
    values
        .into_iter()
        .for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// Appends a 32-bit number. A larger one becomes `0xffffffff`, which refers to its ZIP64 field.
pub fn put_u32(out: &mut Vec<u8>, value: u64) {
    let value = if value > ZIP32_MAX {
        u32::MAX
    } else {
        value as u32
    };
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a 64-bit number.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}
