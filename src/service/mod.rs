//! The two use cases: issue a link, and open a download. The time is an argument; no HTTP.

mod begun;
mod columns;
mod documents;
mod download;
mod encoder_thread;
mod encoding;
mod errors;
mod estimate;
mod export_service;
mod exports;
mod issue;
mod lifetime;
mod mint;
mod open;
mod options;
mod policy;
mod quota;
mod readiness;
mod request;
mod single_use;
mod stored;

pub use begun::Begun;
pub use documents::{
    Document, DocumentError, Documents, FoundDocument, PreparedDocuments, ZIP_MEDIA_TYPE,
};
pub use download::Download;
pub use encoding::Measure;
pub use errors::{DownloadError, IssueError, OpenError, TooLarge};
pub use estimate::{Estimate, EstimateKind};
pub use export_service::{DocumentStores, ExportService};
pub use exports::{ExportError, ExportsToDescribe, ExportsUpdate, FailedExport, ServedExport};
pub use issue::IssuedLink;
pub use mint::mint;
pub use open::{
    Deadlines, MeasuredFile, OpenedDownload, PreparedDownload, check_link, longest_ttl_seconds,
};
pub use options::LANGUAGE;
pub use policy::Policy;
pub use quota::{QuotaError, QuotaLimits, QuotaPermit};
pub use readiness::SilentDatabases;
pub use request::LinkRequest;
pub use stored::{
    Claim, ClaimState, FileRecord, FoundFile, PreparedSoFar, REFRESH_SECONDS, StoredFile,
};
