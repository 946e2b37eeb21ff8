//! The page of exports: a list, and a form for each export. A browser without script can download with it; the script adds
//! what HTML cannot do.

mod control;
mod form;
mod list;
mod sign_in;

use std::collections::BTreeMap;

use actix_web::http::header::{self, HeaderName, HeaderValue};

pub(in crate::http) use form::{DOCUMENTS, FormPage, PageColumn};
pub(in crate::http) use list::ListPage;
pub(in crate::http) use sign_in::SignInPage;

use super::headers::fixed;
use crate::catalog::{Export, Language, Text};
use crate::texts::{Texts, escape, fill};

/// The path of the list. The forms and the files of the page are below it.
pub(in crate::http) const PAGE_PATH: &str = "/exports";
/// The path of the style sheet: no export's name has a dot.
pub(in crate::http) const STYLE_PATH: &str = "/exports/page.css";
/// The path of the script.
pub(in crate::http) const SCRIPT_PATH: &str = "/exports/page.js";

/// The style sheet: what all pages share, then what this one adds.
pub(in crate::http) const STYLE: &str =
    concat!(include_str!("../page.css"), include_str!("exports.css"));
/// The script. Its second file starts it.
pub(in crate::http) const SCRIPT: &str =
    concat!(include_str!("exports.js"), include_str!("sign_in.js"));

/// Headers of every page, in any language. The policy does not restrict the targets of forms: the response to a form's request
/// is a redirect, perhaps to the store, and browsers apply `form-action` to redirects, too. A page of another site learns nothing
/// from `Referer`; the error page of a refused download finds the way back by it.
pub(in crate::http) const HEADERS: [(HeaderName, HeaderValue); 7] = [
    fixed(header::CACHE_CONTROL, "no-store"),
    fixed(header::REFERRER_POLICY, "same-origin"),
    fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    fixed(header::CONTENT_SECURITY_POLICY, POLICY),
    fixed(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    fixed(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    fixed(HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The policy: scripts and styles only as files of this server, no requests to others, no page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; frame-ancestors 'none'";

/// Tells whether a path is that of the list or of a form.
pub(in crate::http) fn is_page(path: &str) -> bool {
    let below = path.strip_prefix(PAGE_PATH);
    below.is_some_and(|below| below.is_empty() || below.starts_with('/') && !below.contains('.'))
}

/// Returns what leads from a page to the folder of all paths, so that every URL is relative: a proxy may serve them below
/// another one.
pub(in crate::http) fn root_of(path: &str) -> &'static str {
    match path == PAGE_PATH {
        true => "",
        false => "../",
    }
}

/// What every page has.
#[derive(Clone, Copy)]
pub(in crate::http) struct Frame<'p> {
    pub(in crate::http) texts: &'p Texts,
    /// What leads to the folder of all paths: see [`root_of`].
    pub(in crate::http) root: &'p str,
}

impl Frame<'_> {
    /// Returns a document. `main` is HTML, and the attributes of its element begin with a space.
    fn document(&self, title: &str, attributes: &str, main: &str) -> String {
        let Frame { texts, root } = self;
        let (language, title) = (texts.language, escape(title));
        let script_texts = script_texts(texts);
        format!(
            "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
             <link rel=\"stylesheet\" href=\"{root}exports/page.css\">\n\
             <script type=\"application/json\" id=\"texts\">{script_texts}</script>\n\
             <script type=\"module\" src=\"{root}exports/page.js\" blocking=\"render\"></script>\n\
             </head>\n<body>\n<main data-root=\"{root}\"{attributes}>\n{main}</main>\n</body>\n</html>\n"
        )
    }

    /// Returns a document for a caller, whose user id it shows, if the caller has one.
    fn document_for(&self, user: Option<&str>, title: &str, main: &str) -> String {
        let texts = &self.texts.exports_page;
        let user = user.map(|user| {
            let user = format!("<bdi>{}</bdi>", escape(user));
            fill(&escape(&texts.signed_in_as), &[("user", &user)])
        });
        let user = user.unwrap_or_default();
        let sign_out = escape(&texts.sign_out);
        let top = format!(
            "<p class=\"user\"><span>{user}</span> \
             <button type=\"button\" class=\"link\" id=\"sign-out\" hidden>{sign_out}</button></p>\n"
        );
        self.document(title, " data-signed-in", &format!("{top}{main}"))
    }
}

/// Returns the texts of the script, by name: its own, and those that the page has, too.
fn texts_of_script(texts: &Texts) -> BTreeMap<&str, &str> {
    let page = &texts.exports_page;
    let shared = [
        ("found", &page.found),
        ("found_one", &page.found_one),
        ("found_none", &page.found_none),
        ("value", &page.value),
    ];
    let shared = shared.map(|(name, text)| (name, text.as_str()));
    let own = page.script.iter();
    let own = own.map(|(name, text)| (name.as_str(), text.as_str()));
    own.chain(shared).collect()
}

/// Returns these texts as JSON that cannot end its element.
fn script_texts(texts: &Texts) -> String {
    let texts = serde_json::json!(texts_of_script(texts)).to_string();
    texts.replace('<', "\\u003c")
}

/// An export with its texts in the language of a reader.
pub(in crate::http) struct WordedExport<'e> {
    pub(in crate::http) export: &'e Export,
    language: Option<&'e Language>,
    /// The attribute of elements with its texts, if they are in another language than the page.
    lang: String,
}

impl<'e> WordedExport<'e> {
    /// Chooses the language, for a reader who accepts these and sees a page with these texts.
    pub(in crate::http) fn new(
        export: &'e Export,
        accepted: &[Language],
        texts: &Texts,
    ) -> WordedExport<'e> {
        let language = export.languages.best(accepted);
        let shown = export.shown_language(language);
        let is_other = |shown: &&Language| !shown.with_general().any(|tag| tag == texts.language);
        let lang = shown.filter(is_other);
        let lang = lang.map(|shown| format!(" lang=\"{}\"", escape(shown.as_str())));
        WordedExport {
            export,
            language,
            lang: lang.unwrap_or_default(),
        }
    }

    /// Returns a text.
    pub(in crate::http) fn text<'t>(&'t self, text: &'t Text) -> &'t str {
        self.export.text(text, self.language).as_str()
    }

    /// Returns a text as HTML, which cannot change the direction of what surrounds it.
    fn isolated(&self, text: &str) -> String {
        format!("<bdi{}>{}</bdi>", self.lang, escape(text))
    }

    fn title(&self) -> &str {
        self.text(&self.export.title)
    }

    fn description(&self) -> Option<&str> {
        let description = self.export.description.as_ref();
        description.map(|text| self.text(text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex::Regex;

    use super::*;
    use crate::texts::all;

    #[test]
    fn the_script_uses_exactly_its_texts_and_they_cannot_end_its_element() {
        let pattern = Regex::new(r"\btexts\.([a-z_]+)").expect("a pattern");
        let used: BTreeSet<&str> = pattern
            .captures_iter(SCRIPT)
            .map(|groups| groups.get(1).expect("a group").as_str())
            .collect();
        for texts in all() {
            let known = texts_of_script(texts).into_keys().collect();
            assert_eq!(used, known, "{}", texts.language);
            assert!(!script_texts(texts).contains('<'), "{}", texts.language);
        }
    }

    #[test]
    fn only_the_list_and_the_forms_are_pages() {
        for (path, expected) in [
            ("/exports", true),
            ("/exports/orders", true),
            ("/exports/page.js", false),
            ("/exports/orders.csv", false),
            ("/exportsx", false),
            ("/v1/exports", false),
        ] {
            assert_eq!(is_page(path), expected, "{path}");
        }
        assert_eq!(
            (root_of("/exports"), root_of("/exports/orders")),
            ("", "../")
        );
    }

    #[test]
    fn the_files_of_the_page_load_nothing_and_write_no_html() {
        for elsewhere in ["http:", "https:", "@import", "innerHTML", "eval("] {
            for file in [STYLE, SCRIPT] {
                assert!(!file.contains(elsewhere), "{elsewhere}");
            }
        }
        assert!(!STYLE.contains("url("));
    }
}
