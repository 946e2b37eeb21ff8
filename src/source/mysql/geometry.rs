//! Geometries → Well-Known Text (OGC 06-103r4). The server sends four bytes of reference system, then Well-Known
//! Binary.

use wkb::reader::read_wkb;
use wkt::to_wkt::write_geometry;

const REFERENCE_SYSTEM_BYTES: usize = 4;

/// Returns the text of a geometry, such as `POINT(1 2)`; `None` if the bytes are not a valid geometry.
pub(super) fn to_wkt(bytes: &[u8]) -> Option<String> {
    let geometry = read_wkb(bytes.get(REFERENCE_SYSTEM_BYTES..)?).ok()?;
    let mut text = String::new();
    write_geometry(&mut text, &geometry).ok()?;
    Some(text)
}
