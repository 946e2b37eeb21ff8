//! Geometries → Well-Known Text (OGC 06-103r4). The server keeps Well-Known Binary after four bytes of reference system.

use wkb::reader::read_wkb;
use wkt::to_wkt::write_geometry;

const REFERENCE_SYSTEM_BYTES: usize = 4;

/// The text of a geometry, `POINT(1 2)`; `None` where it is none.
pub(super) fn to_wkt(bytes: &[u8]) -> Option<String> {
    let geometry = read_wkb(bytes.get(REFERENCE_SYSTEM_BYTES..)?).ok()?;
    let mut text = String::new();
    write_geometry(&mut text, &geometry).ok()?;
    Some(text)
}
