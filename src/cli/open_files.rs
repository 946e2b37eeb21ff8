//! The limit of open files, of which every connection is one.

use rlimit::{Resource, increase_nofile_limit};

use crate::http::ConnectionLimits;
use crate::service::QuotaLimits;
use crate::spool::Spool;

/// Files that a download may open: a connection to the database, or a SQLite file with its log and index.
const FILES_PER_DOWNLOAD: usize = 3;
/// Files of the process itself, and the operators' port.
const OTHER_FILES: usize = 200;

/// Raises the limit of open files as far as the system allows, and warns if that is too low for the limits of
/// connections and downloads. Without a free descriptor no client could connect any more, and no probe.
pub(super) fn raise_limit(
    connections: ConnectionLimits,
    downloads: &QuotaLimits,
    spool: Option<&Spool>,
) {
    let needed = connections.total + FILES_PER_DOWNLOAD * downloads.downloads + OTHER_FILES;
    let needed = needed as u64 + spool.map_or(0, Spool::files_max);
    // A sandbox may forbid to raise it, and then the current one counts.
    let raised = increase_nofile_limit(u64::MAX);
    let limit = raised.or_else(|_| Resource::NOFILE.get_soft());
    let limit = limit.unwrap_or(u64::MAX);
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "the limit of open files is too low: raise it (ulimit -n, LimitNOFILE), or lower ROWLINK_MAX_CONNECTIONS"
        );
    }
}
