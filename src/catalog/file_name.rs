//! File names with the values of filters: `filename = "orders-{from}-{to}"`.

use rowlink_link::FileName;

use super::template::Template;

/// A template of a file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNameTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The values of a filter.
    Filter(String),
}

impl FileNameTemplate {
    /// Parses a template. `is_filter` tells which names are filters.
    ///
    /// # Errors
    /// Returns a message if a brace is not closed, a name is no filter, or the name is not a [`FileName`].
    pub(super) fn parse(
        text: &str,
        is_filter: impl Fn(&str) -> bool,
    ) -> Result<FileNameTemplate, String> {
        let mut parts = Vec::new();
        let Template { names, rest } = Template::parse(text)?;
        for (before, name) in names {
            if !is_filter(name) {
                return Err(format!("`{{{name}}}`: no filter has this name"));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Filter(name.to_owned()));
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = FileNameTemplate(parts);
        let example = template.join(|_| "1".to_owned());
        FileName::parse(example).map_err(|error| error.to_string())?;
        Ok(template)
    }

    /// Returns the name for the values of a link. What no file name may have becomes `_`, several values of a list are
    /// joined by `-`, and a name that is too long is shortened. `None` if no name is left.
    pub fn render(&self, filters: &[(String, String)]) -> Option<FileName> {
        let values = |name: &str| {
            let of_filter = filters.iter().filter(|(other, _)| other == name);
            let texts: Vec<&str> = of_filter.map(|(_, value)| value.as_str()).collect();
            texts.join("-")
        };
        FileName::from_lossy(&self.join(values))
    }

    /// Joins the parts. Without a value the separator before it is left out, too.
    fn join(&self, values: impl Fn(&str) -> String) -> String {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Filter(filter) => match values(filter) {
                    value if value.is_empty() => {
                        let end = name.strip_suffix(['-', '_', ' ', '.']).map(str::len);
                        name.truncate(end.unwrap_or(name.len()));
                    }
                    value => name.push_str(&value),
                },
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_values_and_no_separators_of_missing_ones() {
        let is_filter = |name: &str| ["from", "to", "status"].contains(&name);
        let template = FileNameTemplate::parse("orders-{from}-{to} {status}", is_filter);
        let template = template.expect("a template");
        let long = "ü".repeat(300);
        for (filters, expected) in [
            (
                vec![("from", "2026-01-01"), ("to", "2026-01-31")],
                "orders-2026-01-01-2026-01-31",
            ),
            (vec![("from", "2026-01-01")], "orders-2026-01-01"),
            (
                vec![("to", "2026-01-31"), ("status", "a"), ("status", "b")],
                "orders-2026-01-31 a-b",
            ),
            (vec![], "orders"),
            (
                vec![("from", "../../etc/passwd\n\u{202e}")],
                "orders-.._.._etc_passwd__",
            ),
            (vec![("from", "x"), ("to", "...")], "orders-x-"),
            (
                vec![("from", &long)],
                &format!("orders-{}", "ü".repeat(111)),
            ),
        ] {
            let filters = filters
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            let filters: Vec<(String, String)> = filters.collect();
            let name = template.render(&filters).expect("a name");
            assert_eq!(name.as_str(), expected);
        }
        let device = FileNameTemplate::parse("{from}", is_filter).expect("a template");
        let named = device
            .render(&[("from".into(), "con".into())])
            .expect("a name");
        assert_eq!(named.as_str(), "_con");
        assert_eq!(device.render(&[]), None);
        for bad in ["{from", "{nothing}", "a/b", "con.{}", ""] {
            assert!(FileNameTemplate::parse(bad, is_filter).is_err(), "{bad}");
        }
    }
}
