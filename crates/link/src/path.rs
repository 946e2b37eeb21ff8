//! The one grammar of export paths: `/v1/exports/{export}.{format}`.

use std::fmt;

use super::error::Malformed;
use super::text::{is_export_name, is_format_name};
use super::{URL_BYTES_MAX, query::split_once};

/// The path under which exports are listed and downloaded.
pub const EXPORTS_PATH: &str = "/v1/exports";

/// The path of a download, without host or prefix: `/v1/exports/{export}.{format}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadPath<'p> {
    export: &'p str,
    format: &'p str,
}

impl<'p> DownloadPath<'p> {
    /// Creates the path of an export in a format; `None` if either name breaks its rule.
    #[must_use]
    pub fn new(export: &'p str, format: &'p str) -> Option<DownloadPath<'p>> {
        let fits = is_export_name(export) && is_format_name(format);
        fits.then_some(DownloadPath { export, format })
    }

    /// Parses a path as it was sent. It is never decoded: two decoders could disagree.
    #[must_use]
    pub fn parse(path: &'p str) -> Option<DownloadPath<'p>> {
        let (export, format) = below_exports(path)?.split_once('.')?;
        DownloadPath::new(export, format)
    }

    /// Returns the export's name.
    #[must_use]
    pub fn export(&self) -> &'p str {
        self.export
    }

    /// Returns the format's name, which is the extension.
    #[must_use]
    pub fn format(&self) -> &'p str {
        self.format
    }

    /// Returns the path in pieces, which a MAC reads without joining them.
    pub(crate) fn pieces(&self) -> [&'p str; 5] {
        [EXPORTS_PATH, "/", self.export, ".", self.format]
    }
}

impl fmt::Display for DownloadPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces()
            .iter()
            .try_for_each(|piece| f.write_str(piece))
    }
}

/// Returns what follows `/v1/exports/`.
#[must_use]
pub fn below_exports(path: &str) -> Option<&str> {
    path.strip_prefix(EXPORTS_PATH)?.strip_prefix('/')
}

/// Tells whether path and query are longer than [`URL_BYTES_MAX`].
#[must_use]
pub fn is_too_long(target: &str) -> bool {
    target.len() > URL_BYTES_MAX
}

/// A URL split at the parts that are signed.
#[derive(Debug, Clone, Copy)]
pub struct SplitUrl<'u> {
    /// The path, without scheme, host and prefix, which are not signed.
    pub path: DownloadPath<'u>,
    /// The raw query.
    pub query: &'u str,
    /// Path and query.
    pub target: &'u str,
}

impl<'u> SplitUrl<'u> {
    /// Splits a URL, or its path and query. A fragment is left out.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the URL has no path of a download.
    pub fn parse(url: &'u str) -> Result<SplitUrl<'u>, Malformed> {
        let url = split_once(url, b'#').0;
        let (before_query, query) = split_once(url, b'?');
        let slash = before_query.rfind('/').unwrap_or(0);
        let start = slash.saturating_sub(EXPORTS_PATH.len());
        let path = before_query.get(start..).and_then(DownloadPath::parse);
        let path = path.ok_or_else(|| Malformed::new("", "expected …/v1/exports/NAME.FORMAT?…"))?;
        Ok(SplitUrl {
            path,
            query: query.unwrap_or_default(),
            target: &url[start..],
        })
    }

    /// Checks the length of path and query.
    ///
    /// # Errors
    /// Returns [`Malformed`] if they are longer than [`URL_BYTES_MAX`].
    pub fn check_length(&self) -> Result<(), Malformed> {
        match is_too_long(self.target) {
            true => Err(Malformed::new("", "expected at most 4096 bytes")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        let path = DownloadPath::parse("/v1/exports/Daily_x-2.csv").expect("a path");
        assert_eq!((path.export(), path.format()), ("Daily_x-2", "csv"));
        assert_eq!(path.to_string(), "/v1/exports/Daily_x-2.csv");
        for bad in [
            "",
            "/v1/exports",
            "/v1/exports/",
            "/v1/exports/orders",
            "/v1/exports/.csv",
            "/v1/exports/orders.",
            "/v1/exports/orders.CSV",
            "/v1/exports/orders.tar.gz",
            "/v1/exports/a/orders.csv",
            "/v1/exports/orders%2Ecsv",
            "/v1/exportsorders.csv",
            "/v2/exports/orders.csv",
        ] {
            assert_eq!(DownloadPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_is_split_whatever_its_host_and_prefix_are() {
        for url in [
            "/v1/exports/orders.csv?a=b",
            "https://example.com/data/v1/exports/orders.csv?a=b#top",
            "https://example.com/v1/exports/v1/exports/orders.csv?a=b",
        ] {
            let split = SplitUrl::parse(url).expect("a link");
            assert_eq!((split.path.export(), split.query), ("orders", "a=b"));
            assert_eq!(split.target, "/v1/exports/orders.csv?a=b");
        }
        assert!(SplitUrl::parse("https://example.com/?next=/v1/exports/orders.csv").is_err());
        let long = format!("/v1/exports/orders.csv?a={}", "b".repeat(URL_BYTES_MAX));
        assert!(
            SplitUrl::parse(&long)
                .expect("a link")
                .check_length()
                .is_err()
        );
    }
}
