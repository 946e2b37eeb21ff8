//! The page to which a person can go back after a refusal.

use actix_web::http::header::{self, HeaderMap};
use url::Url;

use super::requested_file::RequestedFile;
use crate::http::config::HttpConfig;

/// The largest length of the configured page with all filters, in bytes. Other servers may accept less than this one.
const URL_BYTES_MAX: usize = 2000;

/// Returns the configured page, else the one with the link, if the browser tells that it is a page of the same site (W3C
/// "Fetch Metadata Request Headers", section 2.3). A page of another site gets no button: it would seem to be the
/// application.
///
/// The configured page gets the refused file as parameters, so that it can fill in its form. The other one does not
/// expect them.
pub(in crate::http) fn return_url(
    headers: &HeaderMap,
    config: &HttpConfig,
    file: Option<&RequestedFile<'_>>,
) -> Option<String> {
    match (&config.return_url, file) {
        (Some(page), Some(file)) => Some(with_file(page, file)),
        (Some(page), None) => Some(page.clone()),
        (None, _) => same_site_page(headers),
    }
}

/// Adds `export`, `format` and each filter as `filter.NAME`. Filters that make the URL too long are left out, all of
/// them: some would stand for another file.
fn with_file(page: &str, file: &RequestedFile<'_>) -> String {
    let Ok(mut url) = Url::parse(page) else {
        return page.to_owned();
    };
    let format = file.path.format().map(|format| ("format", format));
    url.query_pairs_mut()
        .append_pair("export", file.path.export())
        .extend_pairs(format);
    let without_filters = url.clone();
    for (name, value) in &file.filters {
        let name = format!("filter.{name}");
        url.query_pairs_mut().append_pair(&name, value);
    }
    match url.as_str().len() <= URL_BYTES_MAX {
        true => url.into(),
        false => without_filters.into(),
    }
}

fn same_site_page(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if !matches!(text("sec-fetch-site"), Some("same-origin" | "same-site")) {
        return None;
    }
    let page = Url::parse(text(header::REFERER.as_str())?).ok()?;
    matches!(page.scheme(), "http" | "https").then(|| page.into())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rowlink_link::DownloadPath;

    use super::*;

    fn orders(filters: &[(&str, &str)]) -> RequestedFile<'static> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        RequestedFile {
            path: DownloadPath::new("orders", "csv").expect("a path"),
            filters: filters.iter().map(owned).collect(),
            is_signed: true,
            has_plain_link: true,
        }
    }

    fn configured(page: &str) -> HttpConfig {
        HttpConfig {
            return_url: Some(page.to_owned()),
            ..HttpConfig::default()
        }
    }

    #[test]
    fn only_the_browser_names_a_page_of_the_same_site() {
        for (site, page, expected) in [
            (
                "same-origin",
                "https://a.example/x?y=1",
                Some("https://a.example/x?y=1"),
            ),
            (
                "same-site",
                "https://app.a.example/",
                Some("https://app.a.example/"),
            ),
            ("cross-site", "https://evil.example/", None),
            ("none", "https://a.example/", None),
            ("", "https://a.example/", None),
            ("same-origin", "javascript:alert(1)", None),
            ("same-origin", "a.example", None),
        ] {
            let fields = [("sec-fetch-site", site), ("referer", page)];
            let fields = fields.map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            let headers = HeaderMap::from_iter(fields);
            // It gets no parameters.
            for file in [None, Some(&orders(&[("from", "2026-01-01")]))] {
                let found = return_url(&headers, &HttpConfig::default(), file);
                assert_eq!(found.as_deref(), expected, "{site} {page}");
            }
            let found = return_url(&headers, &configured("https://set.example/"), None);
            assert_eq!(found.as_deref(), Some("https://set.example/"));
        }
    }

    #[test]
    fn the_configured_page_gets_the_file_after_its_own_parameters() {
        let filters = [
            ("from", "2026-01-01"),
            ("status", "a&b=\"c\""),
            ("status", "ü"),
        ];
        for (page, expected) in [
            ("https://a.example/", "https://a.example/?"),
            ("https://a.example/?", "https://a.example/?"),
            ("https://a.example/?tab=1", "https://a.example/?tab=1&"),
        ] {
            let url = return_url(
                &HeaderMap::new(),
                &configured(page),
                Some(&orders(&filters)),
            );
            let added = "export=orders&format=csv&filter.from=2026-01-01&filter.status=a%26b%3D%22c%22&filter.status=%C3%BC";
            assert_eq!(url, Some(format!("{expected}{added}")), "{page}");
        }
        let page = configured("https://a.example/#/orders");
        let url = return_url(&HeaderMap::new(), &page, Some(&orders(&[])));
        let expected = "https://a.example/?export=orders&format=csv#/orders";
        assert_eq!(url.as_deref(), Some(expected));
    }

    #[test]
    fn filters_that_make_the_page_s_url_too_long_are_left_out() {
        let page = configured("https://a.example/");
        let url = |length: usize| {
            let file = orders(&[("from", "2026-01-01"), ("note", &"x".repeat(length))]);
            return_url(&HeaderMap::new(), &page, Some(&file)).expect("a URL")
        };
        let rest = url(0).len();
        assert_eq!(url(URL_BYTES_MAX - rest).len(), URL_BYTES_MAX);
        let expected = "https://a.example/?export=orders&format=csv";
        assert_eq!(url(URL_BYTES_MAX - rest + 1), expected);
    }
}
