//! Settings of columns that only workbooks show: `link`, `total`, `width`, `hidden`.

use toml::Spanned;

use super::file::Reader;
use super::template::Template;
use crate::format::{
    ColumnDisplay, LINK_SCHEMES, LINK_UNITS_MAX, LinkPart, LinkTemplate, TotalFunction,
};

/// The settings as they are written.
pub(super) struct DisplaySettings {
    pub(super) link: Option<Spanned<String>>,
    pub(super) total: Option<Spanned<String>>,
    pub(super) width: Option<Spanned<i64>>,
    pub(super) hidden: bool,
}

impl Reader<'_> {
    /// Checks how workbooks show the column `name`.
    pub(super) fn display(&mut self, name: &str, settings: DisplaySettings) -> ColumnDisplay {
        let link = settings.link.and_then(|link| {
            let parsed = parse_link(link.get_ref());
            let add_error =
                |message| self.add_error(&link, format!("`link` of `{name}`: {message}"));
            parsed.map_err(add_error).ok()
        });
        let total = settings
            .total
            .and_then(|total| match total.get_ref().as_str() {
                "sum" => Some(TotalFunction::Sum),
                "count" => Some(TotalFunction::Count),
                "min" => Some(TotalFunction::Min),
                "max" => Some(TotalFunction::Max),
                _ => {
                    let message =
                        format!("`total` of `{name}`: expected `sum`, `count`, `min` or `max`");
                    self.add_error(&total, message);
                    None
                }
            });
        let width = settings.width.and_then(|width| {
            let parsed = u8::try_from(*width.get_ref()).ok().filter(|it| *it > 0);
            if parsed.is_none() {
                let message = format!("`width` of `{name}`: expected 1 to 255, in characters");
                self.add_error(&width, message);
            }
            parsed
        });
        ColumnDisplay {
            link,
            total,
            width,
            is_hidden: settings.hidden,
        }
    }
}

/// Parses `https://shop.example/orders/{id}`, or `{url}` for a column with the whole URL.
///
/// # Errors
/// Returns a message if a brace is not closed or has no name, or the rest is no start or part of a URL.
fn parse_link(text: &str) -> Result<LinkTemplate, String> {
    let Template { names, rest } = Template::parse(text)?;
    if names.iter().any(|(_, name)| name.is_empty()) {
        return Err("expected the name of a column in `{}`".to_owned());
    }
    if let ([("", name)], "") = (names.as_slice(), rest) {
        return Ok(LinkTemplate::Value((*name).to_owned()));
    }
    if !LINK_SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
        let message = "expected a URL that starts with http://, https:// or mailto:, such as \
                       https://shop.example/orders/{id}, or only a column with the URL: {url}";
        return Err(message.to_owned());
    }
    let mut parts = Vec::new();
    for (before, name) in names {
        parts.push(LinkPart::Text(before.to_owned()));
        parts.push(LinkPart::Column(name.to_owned()));
    }
    parts.push(LinkPart::Text(rest.to_owned()));
    let texts = parts.iter().filter_map(|part| match part {
        LinkPart::Text(text) => Some(text.chars()),
        LinkPart::Column(_) => None,
    });
    let mut chars = texts.flatten();
    if let Some(found) = chars.clone().find(|found| !is_of_url(*found)) {
        return Err(format!(
            "`{found}` cannot stand in a URL; percent-encode it"
        ));
    }
    if chars.nth(LINK_UNITS_MAX).is_some() {
        return Err(format!("expected at most {LINK_UNITS_MAX} characters"));
    }
    Ok(LinkTemplate::Parts(parts))
}

/// Returns whether a URL may contain a character: RFC 3986, section 2.
fn is_of_url(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_url_with_columns_or_only_a_column() {
        assert_eq!(parse_link("{url}"), Ok(LinkTemplate::Value("url".into())));
        let text = |text: &str| LinkPart::Text(text.into());
        let column = |name: &str| LinkPart::Column(name.into());
        assert_eq!(
            parse_link("mailto:{mail}?subject=Order%20{id}"),
            Ok(LinkTemplate::Parts(vec![
                text("mailto:"),
                column("mail"),
                text("?subject=Order%20"),
                column("id"),
                text(""),
            ]))
        );
        assert!(parse_link("https://shop.example/").is_ok());
        for bad in [
            "",
            "{}",
            "https://a.example/{",
            "https://a.example/{}",
            "https://a.example/}",
            "https://a.example/ x",
            "https://a.example/\"x",
            "https://ä.example/",
            "javascript:{x}",
            "{scheme}://a.example",
            "{url}/more",
            "/orders/{id}",
        ] {
            assert!(parse_link(bad).is_err(), "{bad}");
        }
        let long = format!("https://a.example/{}", "x".repeat(237));
        assert!(parse_link(&long).is_ok());
        assert!(parse_link(&format!("{long}x{{id}}")).is_err());
    }
}
