//! The options of formats: declared per format, set by an export, overridden by a link.

use std::collections::BTreeMap;

/// An option of a format.
pub struct OptionDefinition {
    /// Its name within the format: `delimiter`.
    pub name: &'static str,
    /// What its value must be, for error texts: `true or false`.
    pub expected: &'static str,
    /// Tells whether a text is a value of it.
    pub accepts: fn(&str) -> bool,
    /// The options that it sets, unless they are set beside it: a link that has it replaces those of the export, too.
    pub sets: &'static [&'static str],
}

impl OptionDefinition {
    /// Declares an option that is `true` or `false`.
    pub const fn boolean(name: &'static str) -> OptionDefinition {
        OptionDefinition {
            name,
            expected: "true or false",
            accepts: |text| matches!(text, "true" | "false"),
            sets: &[],
        }
    }
}

/// Options of one format that were checked against its declarations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatOptions(BTreeMap<&'static str, String>);

impl FormatOptions {
    /// Sets an option from its text, the form it has in a catalog, a request and a link.
    ///
    /// # Errors
    /// Returns [`OptionError::Unknown`] if no declaration has the name, and
    /// [`OptionError::Expected`] if the value does not fit.
    pub fn set(
        &mut self,
        declared: &'static [OptionDefinition],
        name: &str,
        value: &str,
    ) -> Result<(), OptionError> {
        let option = declared.iter().find(|option| option.name == name);
        let option = option.ok_or_else(|| OptionError::unknown(declared))?;
        if !(option.accepts)(value) {
            return Err(OptionError::Expected(option.expected));
        }
        self.0.insert(option.name, value.to_owned());
        Ok(())
    }

    /// Returns these options, replaced by those of a link.
    #[must_use]
    pub fn overridden_by(
        mut self,
        of_link: FormatOptions,
        declared: &'static [OptionDefinition],
    ) -> FormatOptions {
        let options = declared.iter();
        let named = options.filter(|option| of_link.0.contains_key(option.name));
        for name in named.flat_map(|option| option.sets) {
            self.0.remove(name);
        }
        self.0.extend(of_link.0);
        self
    }

    /// Returns the value of an option, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns an option that is `true` or `false`.
    #[must_use]
    pub fn get_bool(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |text| text == "true")
    }
}

/// An option is unknown or has an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The format has no option of that name; holds those it has.
    #[error("unknown option; {0}")]
    Unknown(String),
    /// The value does not fit; holds what would.
    #[error("expected {0}")]
    Expected(&'static str),
}

impl OptionError {
    fn unknown(declared: &[OptionDefinition]) -> OptionError {
        let names: Vec<&str> = declared.iter().map(|option| option.name).collect();
        OptionError::Unknown(match names.as_slice() {
            [] => "this format has none".to_owned(),
            names => format!("the options are {}", names.join(", ")),
        })
    }
}

/// Parses `true` or `false`.
///
/// # Errors
/// Returns [`OptionError::Expected`] for any other text.
pub fn parse_bool(value: &str) -> Result<bool, OptionError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(OptionError::Expected("true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: [OptionDefinition; 3] = [
        OptionDefinition {
            name: "preset",
            expected: "a text",
            accepts: |_| true,
            sets: &["bom"],
        },
        OptionDefinition::boolean("bom"),
        OptionDefinition::boolean("header"),
    ];

    #[test]
    fn an_option_of_a_link_that_sets_others_replaces_those_of_the_export() {
        let options = |pairs: &[(&str, &str)]| {
            let mut options = FormatOptions::default();
            for (name, value) in pairs {
                options.set(&DECLARED, name, value).expect("an option");
            }
            options
        };
        let of_export = options(&[("bom", "true"), ("header", "false")]);
        for (of_link, expected) in [
            (&[][..], &[("bom", "true"), ("header", "false")][..]),
            (
                &[("bom", "false")],
                &[("bom", "false"), ("header", "false")],
            ),
            (&[("preset", "x")], &[("preset", "x"), ("header", "false")]),
            (
                &[("preset", "x"), ("bom", "false")],
                &[("preset", "x"), ("bom", "false"), ("header", "false")],
            ),
        ] {
            let merged = of_export.clone().overridden_by(options(of_link), &DECLARED);
            assert_eq!(merged, options(expected), "{of_link:?}");
        }
    }
}
