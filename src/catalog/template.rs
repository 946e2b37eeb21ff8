//! Texts with names in braces: `orders-{from}`.

/// The parts of a template.
pub(super) struct Template<'t> {
    /// Each name with the text before it.
    pub(super) names: Vec<(&'t str, &'t str)>,
    /// The text after the last name.
    pub(super) rest: &'t str,
}

impl Template<'_> {
    /// Parses a template.
    ///
    /// # Errors
    /// Returns a message if a brace is not closed.
    pub(super) fn parse(text: &str) -> Result<Template<'_>, &'static str> {
        let mut names = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("expected `}` after `{`")?;
            names.push((before, name));
            rest = after;
        }
        Ok(Template { names, rest })
    }
}
