//! The form of an export. Its buttons lead to the plain link; with script they request a link as any program does.

use super::control::Control;
use super::{Frame, WordedExport};
use crate::catalog::{ExportKind, Filter, ReasonSetting};
use crate::texts::{escape, fill};

/// The extension that stands for stored documents, whose formats are not known, in paths of the page.
pub(in crate::http) const DOCUMENTS: &str = "file";
/// The format of a preview.
const PREVIEW_FORMAT: &str = "ndjson";
/// The prefix of filters in the query of the page: the error page of a refused download adds them.
const GIVEN_PREFIX: &str = "filter.";

/// The form of an export.
pub(in crate::http) struct FormPage<'p> {
    pub(in crate::http) frame: Frame<'p>,
    pub(in crate::http) user: Option<&'p str>,
    pub(in crate::http) worded: WordedExport<'p>,
    /// The columns that the caller may choose from.
    pub(in crate::http) columns: Vec<PageColumn>,
    /// The names and values of the page's query, which fill in the form.
    pub(in crate::http) given: &'p [(String, String)],
    /// Whether files can be prepared in the store.
    pub(in crate::http) can_prepare: bool,
}

/// A column.
pub(in crate::http) struct PageColumn {
    pub(in crate::http) name: String,
    pub(in crate::http) label: String,
}

impl FormPage<'_> {
    pub(in crate::http) fn render(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let (root, worded) = (self.frame.root, &self.worded);
        let (back, title) = (escape(&texts.all_exports), worded.isolated(worded.title()));
        let description = worded.description().map(|text| {
            let text = worded.isolated(text);
            format!("<p>{text}</p>\n")
        });
        let description = description.unwrap_or_default();
        let (attributes, filters, options) = (self.attributes(), self.filters(), self.options());
        let (buttons, tools) = (self.buttons(), self.tools());
        let extension = self.extensions().first().copied().unwrap_or(DOCUMENTS);
        let action = self.target(extension);
        let main = format!(
            "<p><a href=\"{root}exports\">{back}</a></p>\n<h1>{title}</h1>\n{description}\
             <div id=\"exporter\"{attributes}>\n<form id=\"export\" class=\"export\" action=\"{action}\">\n\
             {filters}{options}{buttons}</form>\n</div>\n{tools}"
        );
        self.frame.document_for(self.user, worded.title(), &main)
    }

    /// Returns what the script reads. It is not in the form itself: a filter may have the name of any property.
    fn attributes(&self) -> String {
        let export = self.worded.export;
        let name = escape(&export.name);
        let estimated = match export.kind() == ExportKind::Rows && export.is_estimated {
            true => " data-estimated",
            false => "",
        };
        format!(" data-export=\"{name}\"{estimated}")
    }

    /// Returns where a button leads.
    fn target(&self, extension: &str) -> String {
        let (root, name) = (self.frame.root, escape(&self.worded.export.name));
        format!("{root}exports/{name}.{extension}")
    }

    fn filters(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let controls = self.worded.export.filters.iter().map(|filter| {
            let control = Control {
                worded: &self.worded,
                filter,
                texts,
                values: self.values_of(filter),
            };
            control.render()
        });
        let controls: String = controls.collect();
        match controls.is_empty() {
            true => controls,
            false => format!("<div class=\"fields\">\n{controls}</div>\n"),
        }
    }

    /// Returns the values that a control has first: those of the query, else the default.
    fn values_of(&self, filter: &Filter) -> Vec<String> {
        let is_of_filter = |given: &&(String, String)| {
            given.0.strip_prefix(GIVEN_PREFIX) == Some(filter.name.as_str())
        };
        let given = self.given.iter().filter(is_of_filter);
        let given: Vec<String> = given.map(|(_, value)| value.clone()).collect();
        match given.is_empty() {
            true => filter.default.iter().map(ToString::to_string).collect(),
            false => given,
        }
    }

    /// Returns what only the script can send: a plain link has only filters. The controls have no name, so that the form does
    /// not send them.
    fn options(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let reason = self.reason();
        let columns = self.columns.iter().map(|column| {
            let (name, label) = (escape(&column.name), self.worded.isolated(&column.label));
            format!(
                "<label><input type=\"checkbox\" data-column=\"{name}\" checked>{label}</label>\n"
            )
        });
        let columns: String = columns.collect();
        let columns = match self.columns.len() > 1 {
            false => String::new(),
            true => format!(
                "<details class=\"script\" hidden>\n<summary>{}</summary>\n\
                 <fieldset class=\"field\" id=\"columns\" aria-describedby=\"columns-error\">\n\
                 <legend class=\"spoken\">{}</legend>\n<div class=\"choices\">\n{columns}</div>\n\
                 <p class=\"error\" id=\"columns-error\"></p>\n</fieldset>\n</details>\n",
                escape(&texts.columns),
                escape(&texts.columns)
            ),
        };
        let prepare = match self.can_prepare {
            false => String::new(),
            true => format!(
                "<p class=\"script choices\" hidden><label><input type=\"checkbox\" id=\"prepare\">{}</label></p>\n",
                escape(&texts.prepare)
            ),
        };
        format!("{reason}{columns}{prepare}")
    }

    fn reason(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        if self.worded.export.reason != ReasonSetting::Required {
            return String::new();
        }
        let [label, hint, without] = [
            &texts.reason,
            &texts.reason_hint,
            &texts.reason_needs_script,
        ]
        .map(|text| escape(text));
        format!(
            "<noscript><p class=\"error\">{without}</p></noscript>\n\
             <div class=\"field script\" hidden>\n<label for=\"reason\">{label}</label>\n\
             <input type=\"text\" id=\"reason\" required autocomplete=\"off\" dir=\"auto\" \
             aria-describedby=\"reason-hint reason-error\">\n\
             <p class=\"hint\" id=\"reason-hint\">{hint}</p>\n\
             <p class=\"error\" id=\"reason-error\"></p>\n</div>\n"
        )
    }

    /// Returns the extensions of the formats; first the one that the query names.
    fn extensions(&self) -> Vec<&'static str> {
        let formats = self.worded.export.formats.iter();
        let mut extensions: Vec<&str> = formats.map(|format| format.extension()).collect();
        let given = self.given.iter().find(|(name, _)| name == "format");
        let given = given.map(|(_, value)| value.as_str());
        extensions.sort_by_key(|extension| Some(*extension) != given);
        extensions
    }

    /// Returns a button for each format.
    fn buttons(&self) -> String {
        let texts = self.frame.texts;
        let heading = escape(&texts.exports_page.download);
        let button = |index: usize, extension: &str, format: &str, text: &str| {
            let class = if index == 0 {
                "button"
            } else {
                "button second"
            };
            let (target, text) = (self.target(extension), escape(text));
            format!(
                "<button class=\"{class}\" formaction=\"{target}\" data-format=\"{format}\">{text}</button>\n"
            )
        };
        let extensions = self.extensions();
        let buttons: String = match extensions.is_empty() {
            true => button(0, DOCUMENTS, "", &texts.file_type("document")),
            false => extensions
                .iter()
                .enumerate()
                .map(|(index, extension)| {
                    button(index, extension, extension, &texts.file_type(extension))
                })
                .collect(),
        };
        format!(
            "<div class=\"download\" role=\"group\" aria-labelledby=\"download-heading\">\n\
             <h2 id=\"download-heading\">{heading}</h2>\n<p class=\"buttons\">\n{buttons}</p>\n\
             <p id=\"estimate\" class=\"hint\" role=\"status\"></p>\n\
             <div id=\"problem\" class=\"error\" role=\"alert\"></div>\n\
             <p id=\"progress\" class=\"hint\" role=\"status\"></p>\n</div>\n"
        )
    }

    /// Returns the buttons that need the script, and what they show.
    fn tools(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let heading = escape(&texts.tools);
        let copies = [
            ("copy-link", &texts.copy_link),
            ("copy-curl", &texts.copy_curl),
            ("copy-python", &texts.copy_python),
        ];
        let has_preview = self.extensions().contains(&PREVIEW_FORMAT);
        let preview = has_preview.then_some(("preview", &texts.preview));
        let buttons: String = preview
            .into_iter()
            .chain(copies)
            .map(|(id, text)| {
                let text = escape(text);
                format!(
                    "<button type=\"button\" class=\"button second\" id=\"{id}\">{text}</button>\n"
                )
            })
            .collect();
        let format = escape(&texts.copy_format);
        let extensions = self.extensions();
        let options: String = extensions
            .iter()
            .map(|extension| {
                let text = escape(&self.frame.texts.file_type(extension));
                format!("<option value=\"{extension}\">{text}</option>\n")
            })
            .collect();
        let formats = match extensions.len() > 1 {
            false => String::new(),
            true => format!(
                "<div class=\"field\"><label for=\"copy-format\">{format}</label>\n\
                 <select id=\"copy-format\">\n{options}</select></div>\n"
            ),
        };
        let title = fill(&escape(&texts.preview_heading), &[("count", "10")]);
        format!(
            "<section class=\"script tools\" aria-labelledby=\"tools-heading\" hidden>\n\
             <h2 id=\"tools-heading\">{heading}</h2>\n{formats}<p class=\"buttons\">\n{buttons}</p>\n\
             <div id=\"copied\" role=\"status\"></div>\n\
             <div id=\"rows\" hidden>\n<h3 id=\"rows-heading\" tabindex=\"-1\">{title}</h3>\n\
             <div class=\"scroll\" role=\"region\" aria-labelledby=\"rows-heading\" tabindex=\"0\"><table></table></div>\n\
             </div>\n</section>\n"
        )
    }
}
