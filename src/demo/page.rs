//! The page of the demo in each language.

use bytes::Bytes;
use serde_json::json;

use crate::texts::{Texts, all, escape, fill};

/// The page, with the names of texts in braces.
const PAGE: &str = include_str!("page/index.html");

/// Returns the pages, by the tags of their languages.
pub(super) fn by_language() -> Vec<(&'static str, Bytes)> {
    let pages = all().iter();
    pages
        .map(|texts| (texts.language, render(texts).into()))
        .collect()
}

fn render(texts: &Texts) -> String {
    let request = [("request", "<code>POST /v1/links</code>")];
    let page = texts.demo.page.iter();
    let page: Vec<(&str, String)> = page
        .map(|(name, text)| (name.as_str(), fill(&escape(text), &request)))
        .collect();
    let script = script_texts(texts);
    let button = escape(&texts.button.idle);
    let fixed = [
        ("language", texts.language),
        ("button", &button),
        ("script_texts", &script),
    ];
    let page = page.iter().map(|(name, text)| (*name, text.as_str()));
    let values: Vec<(&str, &str)> = page.chain(fixed).collect();
    fill(PAGE, &values)
}

/// Returns the texts of the page's script as JSON that cannot end its element.
fn script_texts(texts: &Texts) -> String {
    let script = json!({"page": texts.demo.script, "button": texts.button}).to_string();
    script.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex::Regex;

    use super::*;
    use crate::texts::english;

    const SCRIPT: &str = include_str!("page/page.js");

    /// Returns the first group of each match.
    fn matches<'t>(pattern: &str, text: &'t str) -> BTreeSet<&'t str> {
        let pattern = Regex::new(pattern).expect("a pattern");
        let found = pattern.captures_iter(text);
        found
            .map(|groups| groups.get(1).expect("a group").as_str())
            .collect()
    }

    #[test]
    fn the_page_and_its_script_use_exactly_the_texts_of_the_table() {
        let texts = english();
        let mut named = matches(r"\{([a-z_]+)\}", PAGE);
        for fixed in ["language", "button", "script_texts"] {
            assert!(named.remove(fixed), "{fixed}");
        }
        let known = texts.demo.page.keys().map(String::as_str).collect();
        assert_eq!(named, known);
        let named = matches(r"\btexts\.page\.([a-z_]+)", SCRIPT);
        let known = texts.demo.script.keys().map(String::as_str).collect();
        assert_eq!(named, known);
    }

    #[test]
    fn a_page_of_each_language_has_all_its_texts_and_no_placeholder() {
        for (texts, (language, page)) in all().iter().zip(by_language()) {
            let page = String::from_utf8(page.to_vec()).expect("a text");
            assert!(
                page.contains(&format!("<html lang=\"{language}\">")),
                "{page}"
            );
            let (_, data) = page.split_once("id=\"texts\">").expect("the texts");
            let (data, _) = data.split_once("</script>").expect("an end");
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(data["button"]["idle"], texts.button.idle);
            assert_eq!(data["page"]["who"], texts.demo.script["who"]);
            let (_, body) = page.split_once("<body>").expect("a body");
            assert!(!body.contains('{'), "{body}");
            assert!(
                body.contains(&escape(&texts.demo.page["heading"])),
                "{body}"
            );
            assert!(body.contains("<code>POST /v1/links</code>"), "{body}");
        }
    }

    #[test]
    fn no_text_ends_the_element_of_the_texts() {
        for texts in all() {
            assert!(!script_texts(texts).contains('<'), "{}", texts.language);
        }
    }
}
