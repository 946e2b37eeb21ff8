//! The file that a refused request asked for, as far as a page may show it.

use actix_web::HttpRequest;
use actix_web::http::Method;
use rowlink_link::{DownloadPath, is_too_long, percent_encode};

use super::path::is_format_known;
use super::plain_query::PlainQuery;
use crate::http::state::AppState;

/// The file of a plain link, or of a link with a valid signature: what a forged link says is not repeated.
#[derive(Debug)]
pub(in crate::http) struct RequestedFile<'r> {
    /// The export and the format.
    pub(in crate::http) path: DownloadPath<'r>,
    /// The filters; empty if the link is sealed.
    pub(in crate::http) filters: Vec<(String, String)>,
    /// Whether it is the file of a signed link.
    pub(in crate::http) is_signed: bool,
    /// Whether a plain link with these filters stands for the same file.
    pub(in crate::http) has_plain_link: bool,
}

/// The options of a link that do not change the content of its file. A plain link has no options.
const OPTIONS_OF_DELIVERY: [&str; 2] = ["delivery", "length"];

impl<'r> RequestedFile<'r> {
    /// Returns the file that a `GET` asks for, or the `POST` of a signed link.
    pub(in crate::http) fn of(
        request: &'r HttpRequest,
        state: &AppState,
    ) -> Option<RequestedFile<'r>> {
        let path =
            DownloadPath::parse(request.uri().path()).filter(|path| is_format_known(*path))?;
        let query = request.uri().query().unwrap_or_default();
        let is_get = request.method() == Method::GET;
        if !(is_get || request.method() == Method::POST) || is_too_long(query) {
            return None;
        }
        match PlainQuery::parse(query, &state.config).ok()? {
            Some(_) if !is_get => None,
            Some(plain) => Some(RequestedFile {
                path,
                filters: plain.filters,
                is_signed: false,
                has_plain_link: true,
            }),
            None => RequestedFile::of_link(path, query, state),
        }
    }

    fn of_link(path: DownloadPath<'r>, query: &str, state: &AppState) -> Option<RequestedFile<'r>> {
        let inspection = state.service.inspect(path, query).ok()?;
        if !inspection.signature_valid {
            return None;
        }
        // A sealed link hides its contents also from its holder.
        let open = inspection.link.filter(|_| !inspection.is_sealed);
        let is_of_delivery = |name: &String| OPTIONS_OF_DELIVERY.contains(&name.as_str());
        // A plain link has neither other options nor a reason.
        let has_plain_link = open.as_ref().is_some_and(|link| {
            link.options.keys().all(is_of_delivery) && link.conditions.reason.is_none()
        });
        Some(RequestedFile {
            path,
            filters: open.map(|link| link.filters).unwrap_or_default(),
            is_signed: true,
            has_plain_link,
        })
    }

    /// Returns the plain link, relative to the URL of the request: RFC 3986, section 4.2. So it has the host and the
    /// prefix under which the browser knows this server.
    pub(in crate::http) fn plain_link(&self) -> String {
        let pairs = self.filters.iter().map(|(name, value)| {
            let (name, value) = (percent_encode(name), percent_encode(value));
            format!("{name}={value}")
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn plain_link(filters: &[(&str, &str)]) -> String {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let file = RequestedFile {
            path: DownloadPath::new("orders", "csv").expect("a path"),
            filters: filters.iter().map(owned).collect(),
            is_signed: true,
            has_plain_link: true,
        };
        file.plain_link()
    }

    #[test]
    fn a_plain_link_keeps_host_prefix_path_and_filters() {
        let page = "https://shop.example.com/data/v1/exports/orders.csv?from=x&rl_signature=y#z";
        let page = Url::parse(page).expect("a URL");
        let join = |filters: &[(&str, &str)]| {
            String::from(page.join(&plain_link(filters)).expect("a URL"))
        };
        assert_eq!(
            join(&[("from", "2026-01-01"), ("note", "a&b=c #1"), ("note", "ü")]),
            "https://shop.example.com/data/v1/exports/orders.csv?from=2026-01-01&note=a%26b%3Dc%20%231&note=%C3%BC"
        );
        assert_eq!(
            join(&[]),
            "https://shop.example.com/data/v1/exports/orders.csv?"
        );
    }
}
