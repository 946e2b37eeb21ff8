//! Where files wait or stay: the spool and the store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Variables;
use super::errors::ConfigErrors;
use crate::spool::Spool;
use crate::store::StoreUrl;
use rowlink_link::is_bare_name;

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

/// Parses `documents=s3://…,archive=gs://…`.
pub(super) fn document_stores(
    variables: &mut Variables,
    errors: &mut ConfigErrors,
) -> BTreeMap<String, StoreUrl> {
    let mut stores = BTreeMap::new();
    let text = variables.stores.take().unwrap_or_default();
    let entries = text.split([',', '\n']).map(str::trim);
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let named = entry.split_once('=');
        let Some((name, url)) = named.filter(|(name, _)| is_bare_name(name, 64)) else {
            errors.add("STORES", "expected name=URL, separated by commas");
            continue;
        };
        let url = StoreUrl::parse(url).map_err(|error| format!("{name}: {error}"));
        let before = errors
            .check("STORES", url)
            .and_then(|url| stores.insert(name.to_owned(), url));
        if before.is_some() {
            errors.add("STORES", format!("{name}: duplicate name"));
        }
    }
    stores
}
