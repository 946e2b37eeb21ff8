//! A download after its response has started: its body, its log line, how it ended.

pub(super) mod archive_reader;
pub(super) mod audit_log;
pub(super) mod claim_refresh;
pub(super) mod coded_file;
mod expiring;
pub(super) mod file_upload;
pub(super) mod kept_files;
pub(super) mod object_reader;
pub(super) mod outcome;
pub(super) mod receipt;
pub(super) mod single_use;
mod spooled_file;
pub(super) mod stream;
pub(super) mod uploads;
