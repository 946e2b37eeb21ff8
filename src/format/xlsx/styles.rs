//! Cell styles: `styles.xml` and the theme it refers to.

use super::xml;

/// Indices into `cellXfs`.
pub const DEFAULT: u32 = 0;
pub const HEADER: u32 = 1;
pub const DATE: u32 = 2;
pub const TIMESTAMP: u32 = 3;
pub const TIME: u32 = 4;
pub const DURATION: u32 = 5;
/// From one of the last three to the same with milliseconds. Without them programs round: 23:59:59.9 would be shown as
/// midnight of the next day.
pub const WITH_MILLIS: u32 = 3;
pub const TITLE: u32 = 9;
/// Index of the first custom column format.
pub const FIRST_CUSTOM: u32 = 10;
/// Fonts of the variants of all styles, in their order.
const VARIANT_FONTS: [u32; 2] = [FONT_LINK, FONT_BOLD];
const FONT_BOLD: u32 = 1;
const FONT_TITLE: u32 = 2;
const FONT_LINK: u32 = 3;

/// All styles in another font: the same number formats, at indices of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Variant {
    offset: u32,
}

impl Variant {
    /// The styles as they are.
    pub(super) const PLAIN: Variant = Variant { offset: 0 };

    /// Returns the styles of links: blue and underlined.
    pub(super) fn link(custom_formats: usize) -> Variant {
        Variant {
            offset: FIRST_CUSTOM + custom_formats as u32,
        }
    }

    /// Returns the styles of totals: bold.
    pub(super) fn total(custom_formats: usize) -> Variant {
        Variant {
            offset: 2 * (FIRST_CUSTOM + custom_formats as u32),
        }
    }

    /// Returns the variant of a style.
    pub(super) fn of(self, style: u32) -> u32 {
        style + self.offset
    }
}

/// Ids below 164 are reserved for built-in formats: ECMA-376 part 1, 18.8.30.
const FIRST_FORMAT_ID: usize = 164;
const FORMATS: [&str; 7] = [
    "yyyy\\-mm\\-dd",
    "yyyy\\-mm\\-dd\\ hh:mm:ss",
    "hh:mm:ss",
    "[h]:mm:ss",
    "yyyy\\-mm\\-dd\\ hh:mm:ss.000",
    "hh:mm:ss.000",
    "[h]:mm:ss.000",
];

/// Returns `styles.xml`, with one style per number format, and the [variants](Variant) of all styles if they are needed.
///
/// Excel reserves the first two fills. Readers look up the normal style in `cellStyleXfs` and
/// `cellStyles`: ECMA-376 part 1, 18.8.
pub(super) fn styles(custom_formats: &[&str], has_variants: bool) -> String {
    let formats: Vec<&str> = FORMATS.iter().chain(custom_formats).copied().collect();
    let number_formats: String = formats
        .iter()
        .enumerate()
        .map(|(index, code)| {
            let (id, code) = (FIRST_FORMAT_ID + index, xml::escape_attribute(code));
            format!("<numFmt numFmtId=\"{id}\" formatCode=\"{code}\"/>")
        })
        .collect();
    let mut base = vec![(0, 0), (0, FONT_BOLD)];
    base.extend((0..FORMATS.len()).map(|index| (FIRST_FORMAT_ID + index, 0)));
    base.push((0, FONT_TITLE));
    base.extend((FORMATS.len()..formats.len()).map(|index| (FIRST_FORMAT_ID + index, 0)));
    let fonts = VARIANT_FONTS.iter().filter(|_| has_variants);
    let variants = fonts.flat_map(|font| base.iter().map(move |(format, _)| (*format, *font)));
    let styles: Vec<String> = base.iter().copied().chain(variants).map(style).collect();
    let (format_count, style_count, styles) = (formats.len(), styles.len(), styles.concat());
    let (head, main) = (xml::HEAD, xml::MAIN);
    let font = |before: &str, size: u32, color: u32| {
        format!(
            "<font>{before}<sz val=\"{size}\"/><color theme=\"{color}\"/><name val=\"Calibri\"/><family val=\"2\"/>\
             <scheme val=\"minor\"/></font>"
        )
    };
    // The last two digits are colours of the theme: that of text, and that of links.
    let fonts = [
        font("", 11, 1),
        font("<b/>", 11, 1),
        font("<b/>", 14, 1),
        font("<u/>", 11, 10),
    ];
    let (font_count, fonts) = (fonts.len(), fonts.concat());
    format!(
        "{head}<styleSheet xmlns=\"{main}\">\
         <numFmts count=\"{format_count}\">{number_formats}</numFmts>\
         <fonts count=\"{font_count}\">{fonts}</fonts>\
         <fills count=\"2\"><fill><patternFill patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill></fills>\
         <borders count=\"1\"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
         <cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs>\
         <cellXfs count=\"{style_count}\">{styles}</cellXfs>\
         <cellStyles count=\"1\"><cellStyle name=\"Normal\" xfId=\"0\" builtinId=\"0\"/></cellStyles>\
         </styleSheet>"
    )
}

/// Returns a style with a number format and a font.
fn style((format, font): (usize, u32)) -> String {
    let mut applied = String::new();
    if format != 0 {
        applied.push_str(" applyNumberFormat=\"1\"");
    }
    if font != 0 {
        applied.push_str(" applyFont=\"1\"");
    }
    format!(
        "<xf numFmtId=\"{format}\" fontId=\"{font}\" fillId=\"0\" borderId=\"0\" xfId=\"0\"{applied}/>"
    )
}

/// Default Office colours and fonts, reduced to the required elements: ECMA-376 part 1, 20.1.6.9.
pub const THEME: &str = include_str!("theme1.xml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_of_a_style_has_its_number_format_in_another_font() {
        let xml = styles(&["0.0", "0%"], true);
        let list = xml.split("<cellXfs").nth(1).expect("the styles");
        let list: Vec<&str> = list.split("<xf ").skip(1).collect();
        assert_eq!(list.len(), 3 * 12);
        let start = |index: u32, font: u32| {
            let format = match index {
                DATE => 164,
                FIRST_CUSTOM => 171,
                _ => 0,
            };
            format!("numFmtId=\"{format}\" fontId=\"{font}\"")
        };
        for (variant, font) in [(Variant::link(2), 3), (Variant::total(2), 1)] {
            for style in [DEFAULT, DATE, TITLE, FIRST_CUSTOM] {
                let found = list[variant.of(style) as usize];
                assert!(found.starts_with(&start(style, font)), "{style}: {found}");
            }
        }
        assert!(list[TITLE as usize].starts_with(&start(TITLE, 2)));
        assert!(list[HEADER as usize].starts_with(&start(HEADER, 1)));
        assert!(list[FIRST_CUSTOM as usize].starts_with(&start(FIRST_CUSTOM, 0)));
        assert_eq!(styles(&[], false).matches("<xf ").count(), 1 + 10);
    }
}
