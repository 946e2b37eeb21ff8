//! How a workbook shows a column, apart from its label and its number format.

/// Longest URL of a link, in UTF-16 code units: that of a text literal in a formula, by Excel's "Specifications and limits".
pub const LINK_UNITS_MAX: usize = 255;
/// How the URL of a link starts. Other schemes could start programs, or read files.
pub const LINK_SCHEMES: [&str; 3] = ["http://", "https://", MAIL_SCHEME];
/// The scheme of mail addresses: RFC 6068.
pub const MAIL_SCHEME: &str = "mailto:";

/// The display settings of one column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnDisplay {
    /// The URL that each cell links to.
    pub link: Option<LinkTemplate>,
    /// The total below the last row.
    pub total: Option<TotalFunction>,
    /// The width in characters, from 1 to 255; `None` fits the first rows.
    pub width: Option<u8>,
    /// Whether the program hides the column. Its values are in the file all the same.
    pub is_hidden: bool,
}

/// The URL of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTemplate {
    /// The value of a column.
    Value(String),
    /// Texts, and values of columns that are percent-encoded.
    Parts(Vec<LinkPart>),
}

/// A part of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkPart {
    /// A text as it is.
    Text(String),
    /// The value of the column with this name.
    Column(String),
}

impl LinkTemplate {
    /// Iterates over the names of the columns that it needs.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let (value, parts) = match self {
            LinkTemplate::Value(name) => (Some(name.as_str()), &[][..]),
            LinkTemplate::Parts(parts) => (None, parts.as_slice()),
        };
        let names = parts.iter().filter_map(|part| match part {
            LinkPart::Column(name) => Some(name.as_str()),
            LinkPart::Text(_) => None,
        });
        value.into_iter().chain(names)
    }
}

/// What the total of a column is.
///
/// The mean is missing because it has no exact decimal form in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalFunction {
    /// The sum of its numbers.
    Sum,
    /// The number of its values that are not NULL.
    Count,
    /// Its smallest number, date or time.
    Min,
    /// Its largest number, date or time.
    Max,
}
