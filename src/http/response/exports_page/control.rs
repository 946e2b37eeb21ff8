//! The control of a filter. Its name is that of the filter, so that the query of the form is that of a plain link.

use super::WordedExport;
use crate::catalog::{Filter, FilterType};
use crate::texts::{ExportsPageTexts, escape, fill};

/// How many values of a list without fixed ones can be entered. The script adds more.
const LIST_INPUTS: usize = 3;

/// The control of a filter.
pub(super) struct Control<'c> {
    pub(super) worded: &'c WordedExport<'c>,
    pub(super) filter: &'c Filter,
    pub(super) texts: &'c ExportsPageTexts,
    /// The values that it has first.
    pub(super) values: Vec<String>,
}

impl Control<'_> {
    pub(super) fn render(&self) -> String {
        let choices = self.choices();
        match (self.filter.list, choices.is_empty()) {
            (true, false) => self.group(&self.boxes(&choices)),
            (true, true) => self.group(&self.inputs()),
            (false, false) => self.single(&self.select(&choices)),
            (false, true) => {
                let value = self.values.first().map_or("", String::as_str);
                self.single(&self.input(&self.id(), value, self.filter.required))
            }
        }
    }

    fn id(&self) -> String {
        format!("filter-{}", self.filter.name)
    }

    /// Returns a field with one control.
    fn single(&self, control: &str) -> String {
        let (id, label, notes) = (self.id(), self.label(), self.notes());
        format!(
            "<div class=\"field\">\n<label for=\"{id}\">{label}</label>\n{control}\n{notes}</div>\n"
        )
    }

    /// Returns a field with several controls.
    fn group(&self, controls: &str) -> String {
        let (id, label, notes) = (self.id(), self.label(), self.notes());
        let described = self.described_by();
        format!(
            "<fieldset class=\"field\" id=\"{id}\"{described}>\n<legend>{label}</legend>\n{controls}{notes}</fieldset>\n"
        )
    }

    fn label(&self) -> String {
        let name = escape(&self.filter.name.replace('_', " "));
        match self.filter.required {
            true => name,
            false => fill(&escape(&self.texts.optional), &[("name", &name)]),
        }
    }

    /// Returns what can be said about the values, and the place of an error.
    fn notes(&self) -> String {
        let (id, hints) = (self.id(), self.hints());
        let hints = match hints.is_empty() {
            true => String::new(),
            false => format!(
                "<p class=\"hint\" id=\"{id}-hint\">{}</p>\n",
                hints.join(" ")
            ),
        };
        format!("{hints}<p class=\"error\" id=\"{id}-error\"></p>\n")
    }

    fn described_by(&self) -> String {
        let id = self.id();
        let hint = match self.hints().is_empty() {
            true => String::new(),
            false => format!("{id}-hint "),
        };
        format!(" aria-describedby=\"{hint}{id}-error\"")
    }

    fn hints(&self) -> Vec<String> {
        let Filter {
            description,
            min,
            max,
            max_length,
            kind,
            ..
        } = self.filter;
        let description = description.as_ref();
        let description = description.map(|text| self.worded.isolated(self.worded.text(text)));
        let [min, max] = [min, max].map(|value| value.as_ref().map(|it| escape(&it.to_string())));
        let range = match (&min, &max) {
            (Some(min), Some(max)) => Some((&self.texts.range, vec![("min", min), ("max", max)])),
            (Some(min), None) => Some((&self.texts.at_least, vec![("min", min)])),
            (None, Some(max)) => Some((&self.texts.at_most, vec![("max", max)])),
            (None, None) => None,
        };
        let range = range.map(|(text, values)| {
            let values: Vec<(&str, &str)> = values
                .into_iter()
                .map(|(name, value)| (name, value.as_str()))
                .collect();
            fill(&escape(text), &values)
        });
        let length = max_length.map(|length| {
            let length = length.to_string();
            fill(&escape(&self.texts.max_length), &[("count", &length)])
        });
        let instant = (*kind == FilterType::Timestamp).then(|| escape(&self.texts.timestamp));
        [description, range, length, instant]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Returns the values to choose from, with what is shown for them.
    fn choices(&self) -> Vec<(String, String)> {
        let Filter { kind, values, .. } = self.filter;
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        if *kind != FilterType::Boolean {
            let shown = |value: String| (value.clone(), value);
            return values.into_iter().map(shown).collect();
        }
        let both = [("true", &self.texts.yes), ("false", &self.texts.no)];
        let is_accepted = |value: &str| values.is_empty() || values.iter().any(|it| it == value);
        both.into_iter()
            .filter(|(value, _)| is_accepted(value))
            .map(|(value, text)| (value.to_owned(), text.clone()))
            .collect()
    }

    fn select(&self, choices: &[(String, String)]) -> String {
        let (id, name, described) = (self.id(), escape(&self.filter.name), self.described_by());
        let required = if self.filter.required {
            " required"
        } else {
            ""
        };
        let none = match self.filter.required {
            true => &self.texts.choose,
            false => &self.texts.any,
        };
        // A filter that is left out has its default.
        let none = match self.filter.default.is_empty() {
            true => format!("<option value=\"\">{}</option>\n", escape(none)),
            false => String::new(),
        };
        let options: String = choices
            .iter()
            .map(|(value, text)| {
                let selected = if self.has(value) { " selected" } else { "" };
                let (value, text) = (escape(value), escape(text));
                format!("<option value=\"{value}\" dir=\"auto\"{selected}>{text}</option>\n")
            })
            .collect();
        format!(
            "<select id=\"{id}\" name=\"{name}\"{required}{described}>\n{none}{options}</select>"
        )
    }

    fn boxes(&self, choices: &[(String, String)]) -> String {
        let name = escape(&self.filter.name);
        let boxes: String = choices
            .iter()
            .map(|(value, text)| {
                let checked = if self.has(value) { " checked" } else { "" };
                let (value, text) = (escape(value), escape(text));
                format!(
                    "<label><input type=\"checkbox\" name=\"{name}\" value=\"{value}\"{checked}><bdi>{text}</bdi></label>\n"
                )
            })
            .collect();
        format!("<div class=\"choices\">\n{boxes}</div>\n")
    }

    /// Returns a control for each value, of which some stay empty.
    fn inputs(&self) -> String {
        let count = LIST_INPUTS.max(self.values.len());
        let inputs: String = (0..count)
            .map(|index| {
                let number = (index + 1).to_string();
                let id = format!("{}-{number}", self.id());
                let label = fill(&escape(&self.texts.value), &[("number", &number)]);
                let value = self.values.get(index).map_or("", String::as_str);
                let is_required = self.filter.required && index == 0;
                let input = self.input(&id, value, is_required);
                format!("<label class=\"spoken\" for=\"{id}\">{label}</label>\n{input}\n")
            })
            .collect();
        format!("<div class=\"values\">\n{inputs}</div>\n")
    }

    /// Returns a control for one value. Patterns and lengths are left to the server: those of HTML have another syntax, and
    /// count other units.
    fn input(&self, id: &str, value: &str, is_required: bool) -> String {
        let Filter {
            name,
            kind,
            min,
            max,
            ..
        } = self.filter;
        let attributes = match kind {
            FilterType::Integer => "type=\"number\" step=\"1\"",
            FilterType::Date => "type=\"date\"",
            FilterType::Decimal => "type=\"text\" inputmode=\"decimal\"",
            FilterType::Text => "type=\"text\" dir=\"auto\"",
            FilterType::Timestamp => "type=\"text\" placeholder=\"2026-01-31T09:30:00Z\"",
            FilterType::Boolean | FilterType::Uuid => "type=\"text\" spellcheck=\"false\"",
        };
        let has_range = matches!(kind, FilterType::Integer | FilterType::Date);
        let range: String = [("min", min), ("max", max)]
            .into_iter()
            .filter_map(|(name, limit)| Some((name, limit.as_ref().filter(|_| has_range)?)))
            .map(|(name, limit)| format!(" {name}=\"{}\"", escape(&limit.to_string())))
            .collect();
        let required = if is_required { " required" } else { "" };
        let described = match self.filter.list {
            true => String::new(),
            false => self.described_by(),
        };
        let (name, value) = (escape(name), escape(value));
        format!(
            "<input id=\"{id}\" name=\"{name}\" {attributes} value=\"{value}\" autocomplete=\"off\"{range}{required}{described}>"
        )
    }

    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|it| it == value)
    }
}
