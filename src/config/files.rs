//! Where files wait or stay: the spool and the store.

use std::time::Duration;

use super::Variables;
use super::errors::ConfigErrors;
use crate::spool::Spool;
use crate::store::StoreUrl;

/// Parses the folder, its budget, and how long files are kept in it.
pub(super) fn spool(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Spool> {
    let bytes = variables.spool_bytes.take();
    let keep = variables.spool_keep_seconds.take();
    let Some(folder) = variables.spool_dir.take() else {
        for (name, value) in [("SPOOL_BYTES", &bytes), ("SPOOL_KEEP_SECONDS", &keep)] {
            if value.is_some() {
                errors.add(name, "has no effect without ROWLINK_SPOOL_DIR");
            }
        }
        return None;
    };
    let bytes = errors.required("SPOOL_BYTES", bytes);
    let bytes = errors.number("SPOOL_BYTES", bytes, 0, 1 << 20..=1 << 50);
    let keep = errors.number("SPOOL_KEEP_SECONDS", keep, 0, 0..=86_400);
    Some(Spool::new(folder, bytes).with_keep(Duration::from_secs(keep)))
}

/// Parses the URL of the store for files of exports.
pub(super) fn store(
    variables: &mut Variables,
    errors: &mut ConfigErrors,
    has_spool: bool,
) -> Option<StoreUrl> {
    let url = variables.store_url.take()?;
    if !has_spool {
        errors.add(
            "STORE_URL",
            "requires ROWLINK_SPOOL_DIR, from which files are uploaded",
        );
    }
    errors.check("STORE_URL", StoreUrl::parse(&url))
}
