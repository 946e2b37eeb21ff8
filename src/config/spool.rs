//! The spool: where downloads wait for slow readers.

use super::Variables;
use super::errors::ConfigErrors;
use crate::spool::Spool;

/// Parses the folder and its budget: both or none.
pub(super) fn spool(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Spool> {
    let bytes = variables.spool_bytes.take();
    let Some(folder) = variables.spool_dir.take() else {
        if bytes.is_some() {
            errors.add("SPOOL_BYTES", "has no effect without ROWLINK_SPOOL_DIR");
        }
        return None;
    };
    let bytes = errors.required("SPOOL_BYTES", bytes);
    let bytes = errors.number("SPOOL_BYTES", bytes, 0, 1 << 20..=1 << 50);
    Some(Spool::new(folder, bytes))
}
