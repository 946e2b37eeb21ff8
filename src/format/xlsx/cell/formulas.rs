//! Cells with a formula: links and totals.

use super::{CellWriter, RowNumber, write_style, write_style_unless_default};
use crate::format::xlsx::links::{self, LinkText};
use crate::format::xlsx::styles::{self, Variant};
use crate::format::xlsx::text::write_text;
use crate::format::xlsx::totals::{TotalCell, TotalStyle, TotalValue};

impl CellWriter {
    /// Writes a cell that links to a URL. What it shows is a literal of a formula.
    pub(in crate::format::xlsx) fn write_link(
        &self,
        url: &str,
        shown: &LinkText,
        variant: Variant,
        reference: Option<&RowNumber>,
        out: &mut Vec<u8>,
    ) {
        self.write_reference(reference, out);
        let text = match shown {
            LinkText::Number(number, style) => {
                write_style(variant.of(self.style.unwrap_or(*style)), out);
                number
            }
            LinkText::Text(text) => {
                write_style(variant.of(styles::DEFAULT), out);
                out.extend_from_slice(b" t=\"str\"");
                text
            }
        };
        out.extend_from_slice(b"><f>");
        links::write_formula(url, shown, out);
        out.extend_from_slice(b"</f><v>");
        write_text(text, out);
        out.extend_from_slice(b"</v></c>");
    }

    /// Writes a cell of the totals row.
    pub(in crate::format::xlsx) fn write_total(
        &self,
        total: &TotalCell,
        variant: Variant,
        reference: Option<&RowNumber>,
        out: &mut Vec<u8>,
    ) {
        let (formula, value) = match total {
            TotalCell::Empty if reference.is_none() => return out.extend_from_slice(b"<c/>"),
            TotalCell::Empty => return,
            TotalCell::Text(text) => {
                let style = variant.of(styles::DEFAULT);
                return self.write_label(text, style, reference, out);
            }
            TotalCell::Formula { formula, value } => (formula, value),
        };
        self.write_reference(reference, out);
        let text = match value {
            TotalValue::Number { text, style } => {
                let style = match style {
                    TotalStyle::Fixed(style) => *style,
                    TotalStyle::OfColumn(style) => self.style.unwrap_or(*style),
                };
                write_style_unless_default(variant.of(style), out);
                text
            }
            TotalValue::Error => {
                write_style_unless_default(variant.of(styles::DEFAULT), out);
                out.extend_from_slice(b" t=\"e\"");
                "#NUM!"
            }
        };
        out.extend_from_slice(b"><f>");
        write_text(formula, out);
        out.extend_from_slice(b"</f><v>");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"</v></c>");
    }
}
