//! The list of exports, with a search.

use super::{Frame, WordedExport};
use crate::texts::{Texts, escape, fill};

/// The list of a caller's exports.
pub(in crate::http) struct ListPage<'p> {
    pub(in crate::http) frame: Frame<'p>,
    pub(in crate::http) user: Option<&'p str>,
    pub(in crate::http) exports: Vec<WordedExport<'p>>,
    /// The words of a search; empty shows all.
    pub(in crate::http) search: &'p str,
}

impl ListPage<'_> {
    pub(in crate::http) fn render(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let heading = escape(&texts.heading);
        let content = match self.exports.is_empty() {
            true => format!("<p>{}</p>\n", escape(&texts.no_exports)),
            false => format!("{}{}", self.search_form(), self.items()),
        };
        let main = format!("<h1>{heading}</h1>\n{content}");
        self.frame.document_for(self.user, &texts.heading, &main)
    }

    fn search_form(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let (root, search) = (self.frame.root, escape(self.search));
        let (label, button) = (escape(&texts.search_label), escape(&texts.search));
        format!(
            "<form role=\"search\" class=\"search\" action=\"{root}exports\">\n\
             <label for=\"search\">{label}</label>\n\
             <input type=\"search\" id=\"search\" name=\"q\" value=\"{search}\" autocomplete=\"off\" dir=\"auto\">\n\
             <button class=\"button second\">{button}</button>\n</form>\n"
        )
    }

    /// Returns all exports. Those that the search does not find are hidden, so that the script can search in all of them.
    fn items(&self) -> String {
        let words: Vec<String> = words(self.search).collect();
        let is_found = |export: &&WordedExport<'_>| has_words(export, &words);
        let found = self.exports.iter().filter(is_found).count();
        let items: String = self
            .exports
            .iter()
            .map(|export| self.item(export, has_words(export, &words)))
            .collect();
        let count = escape(&count_text(self.frame.texts, found));
        format!(
            "<p id=\"found\" class=\"hint\" role=\"status\">{count}</p>\n<ul class=\"exports\">\n{items}</ul>\n"
        )
    }

    fn item(&self, worded: &WordedExport<'_>, is_found: bool) -> String {
        let (root, name) = (self.frame.root, escape(&worded.export.name));
        let title = worded.isolated(worded.title());
        let description = worded.description().map(|description| {
            let description = worded.isolated(description);
            format!("<p>{description}</p>\n")
        });
        let description = description.unwrap_or_default();
        let formats = worded.export.formats.iter();
        let formats: Vec<String> = formats
            .map(|format| self.frame.texts.file_type(format.extension()))
            .collect();
        let formats = match formats.is_empty() {
            true => self.frame.texts.file_type("document"),
            false => formats.join(", "),
        };
        let formats = escape(&formats);
        let hidden = if is_found { "" } else { " hidden" };
        format!(
            "<li data-name=\"{name}\"{hidden}>\n<div class=\"words\">\n\
             <h2><a href=\"{root}exports/{name}\">{title}</a></h2>\n{description}</div>\n\
             <p class=\"hint\">{formats}</p>\n</li>\n"
        )
    }
}

fn words(search: &str) -> impl Iterator<Item = String> {
    search.split_whitespace().map(str::to_lowercase)
}

/// Tells whether the name, title and description of an export have all these words, which are in lower case.
fn has_words(worded: &WordedExport<'_>, words: &[String]) -> bool {
    let description = worded.description().unwrap_or_default();
    let text = [worded.export.name.as_str(), worded.title(), description];
    let text = text.join("\n").to_lowercase();
    words.iter().all(|word| text.contains(word.as_str()))
}

fn count_text(texts: &Texts, count: usize) -> String {
    let page = &texts.exports_page;
    match count {
        0 => page.found_none.clone(),
        1 => page.found_one.clone(),
        count => fill(&page.found, &[("count", &count.to_string())]),
    }
}
