//! The one grammar of paths: `/v1/exports/{export}.{format}` for rows, `/v1/files/{export}` for stored documents.

use std::fmt;

use super::error::Malformed;
use super::text::{is_export_name, is_format_name};
use super::{Link, URL_BYTES_MAX, query::split_once};

/// The path under which exports are listed and downloaded.
pub const EXPORTS_PATH: &str = "/v1/exports";

/// The path under which stored documents are downloaded.
pub const FILES_PATH: &str = "/v1/files";

/// The path of a download, without host or prefix: `/v1/exports/{export}.{format}` or `/v1/files/{export}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadPath<'p> {
    export: &'p str,
    format: Option<&'p str>,
}

impl<'p> DownloadPath<'p> {
    /// Creates the path of an export's rows in a format; `None` if either name breaks its rule.
    #[must_use]
    pub fn new(export: &'p str, format: &'p str) -> Option<DownloadPath<'p>> {
        DownloadPath::checked(export, Some(format))
    }

    /// Creates the path of an export's stored documents; `None` if the name breaks its rule.
    #[must_use]
    pub fn of_files(export: &'p str) -> Option<DownloadPath<'p>> {
        DownloadPath::checked(export, None)
    }

    /// Returns the path of a link; `None` if a name breaks its rule.
    pub(crate) fn of(link: &'p Link) -> Option<DownloadPath<'p>> {
        DownloadPath::checked(&link.export, link.format.as_deref())
    }

    fn checked(export: &'p str, format: Option<&'p str>) -> Option<DownloadPath<'p>> {
        let fits = is_export_name(export) && format.is_none_or(is_format_name);
        fits.then_some(DownloadPath { export, format })
    }

    /// Parses a path as it was sent. It is never decoded: two decoders could disagree.
    #[must_use]
    pub fn parse(path: &'p str) -> Option<DownloadPath<'p>> {
        if let Some(export) = below(path, FILES_PATH) {
            return DownloadPath::of_files(export);
        }
        let (export, format) = below_exports(path)?.split_once('.')?;
        DownloadPath::new(export, format)
    }

    /// Returns the export's name.
    #[must_use]
    pub fn export(&self) -> &'p str {
        self.export
    }

    /// Returns the format's name, which is the extension; `None` for stored documents.
    #[must_use]
    pub fn format(&self) -> Option<&'p str> {
        self.format
    }

    /// Returns the path in pieces, which a MAC reads without joining them.
    pub(crate) fn pieces(&self) -> [&'p str; 5] {
        match self.format {
            Some(format) => [EXPORTS_PATH, "/", self.export, ".", format],
            None => [FILES_PATH, "/", self.export, "", ""],
        }
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
    below(path, EXPORTS_PATH)
}

fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
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

const EXPECTED: &str = "expected …/v1/exports/NAME.FORMAT?… or …/v1/files/NAME?…";

impl<'u> SplitUrl<'u> {
    /// Splits a URL, or its path and query. A fragment is left out.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the URL has no path of a download.
    pub fn parse(url: &'u str) -> Result<SplitUrl<'u>, Malformed> {
        let url = split_once(url, b'#').0;
        let (before_query, query) = split_once(url, b'?');
        let slash = before_query.rfind('/').unwrap_or(0);
        let below = |folder: &str| {
            let start = slash.checked_sub(folder.len())?;
            let path = DownloadPath::parse(before_query.get(start..)?)?;
            Some((path, start))
        };
        let found = below(EXPORTS_PATH).or_else(|| below(FILES_PATH));
        let (path, start) = found.ok_or_else(|| Malformed::new("", EXPECTED))?;
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
        assert_eq!((path.export(), path.format()), ("Daily_x-2", Some("csv")));
        assert_eq!(path.to_string(), "/v1/exports/Daily_x-2.csv");
        let path = DownloadPath::parse("/v1/files/invoice").expect("a path");
        assert_eq!((path.export(), path.format()), ("invoice", None));
        assert_eq!(path.to_string(), "/v1/files/invoice");
        for bad in [
            "",
            "/v1/files",
            "/v1/files/",
            "/v1/files/invoice.pdf",
            "/v1/files/a/invoice",
            "/v1/files/inv%6Fice",
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
        for url in [
            "/v1/files/invoice?a=b",
            "https://example.com/data/v1/files/invoice?a=b#top",
            "/v1/files/v1/files/invoice?a=b",
        ] {
            let split = SplitUrl::parse(url).expect("a link");
            assert_eq!(
                (split.path.export(), split.path.format()),
                ("invoice", None)
            );
            assert_eq!(split.target, "/v1/files/invoice?a=b");
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
