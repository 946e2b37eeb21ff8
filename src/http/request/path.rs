//! The paths below `/v1/exports`. The grammar of a download's path is [`DownloadPath`].

use rowlink_link::{DownloadPath, below_exports};

use crate::format::Format;

pub(in crate::http) use rowlink_link::EXPORTS_PATH;

/// The route of one export's description, as in `openapi.yaml`.
pub(in crate::http) const EXPORT_ROUTE: &str = "/v1/exports/{export}";
/// The route of stored documents, as in `openapi.yaml`.
pub(in crate::http) const FILES_ROUTE: &str = "/v1/files/{export}";
/// The route of downloads, as in `openapi.yaml`.
pub(in crate::http) const DOWNLOAD_ROUTE: &str = "/v1/exports/{export}.{format}";

/// What a path below `/v1/exports` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum ExportsPath {
    /// The list of exports.
    List,
    /// The description of one export.
    Export,
    /// A download, perhaps with an invalid name.
    Download,
}

impl ExportsPath {
    /// Returns the route, as in `openapi.yaml`.
    pub(in crate::http) fn route(self) -> &'static str {
        match self {
            ExportsPath::List => EXPORTS_PATH,
            ExportsPath::Export => EXPORT_ROUTE,
            ExportsPath::Download => DOWNLOAD_ROUTE,
        }
    }
}

/// Classifies a path as it was sent. A dot, escaped or not, makes it a download: no export's name has one.
pub(in crate::http) fn classify(path: &str) -> Option<ExportsPath> {
    if path == EXPORTS_PATH {
        return Some(ExportsPath::List);
    }
    let name = below_exports(path).filter(|name| !name.is_empty() && !name.contains('/'))?;
    let has_dot = name.contains('.') || name.contains("%2E") || name.contains("%2e");
    Some(match has_dot {
        true => ExportsPath::Download,
        false => ExportsPath::Export,
    })
}

/// Parses the path of a download of rows in a known format.
pub(in crate::http) fn parse_download(path: &str) -> Option<(DownloadPath<'_>, Format)> {
    let path = DownloadPath::parse(path)?;
    let format = path.format()?.parse().ok()?;
    Some((path, format))
}

/// Tells whether a path has no format, or one that is known.
pub(in crate::http) fn is_format_known(path: DownloadPath<'_>) -> bool {
    path.format()
        .is_none_or(|format| format.parse::<Format>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_one_route() {
        for (path, expected) in [
            ("/v1/exports", Some(EXPORTS_PATH)),
            ("/v1/exports/orders", Some(EXPORT_ROUTE)),
            ("/v1/exports/orders.csv", Some(DOWNLOAD_ROUTE)),
            ("/v1/exports/orders%2Ecsv", Some(DOWNLOAD_ROUTE)),
            ("/v1/exports/.csv", Some(DOWNLOAD_ROUTE)),
            ("/v1/exports/", None),
            ("/v1/exports/a/b.csv", None),
            ("/v1/exportsorders.csv", None),
            ("/v1/links", None),
        ] {
            assert_eq!(classify(path).map(ExportsPath::route), expected, "{path}");
        }
    }
}
