//! Cell styles: `styles.xml` and the theme it refers to.

use super::xml;

/// Indices into `cellXfs`. Index 0 is the default style.
pub const HEADER: u32 = 1;
pub const DATE: u32 = 2;
pub const TIMESTAMP: u32 = 3;
pub const TIME: u32 = 4;
pub const DURATION: u32 = 5;
/// From one of the last three to the same with milliseconds. Without them programs round: 23:59:59.9 would be shown as
/// midnight of the next day.
pub const WITH_MILLIS: u32 = 3;
/// Index of the first custom column format.
pub const FIRST_CUSTOM: u32 = 9;

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

/// Returns `styles.xml`, with one style per number format.
///
/// Excel reserves the first two fills. Readers look up the normal style in `cellStyleXfs` and
/// `cellStyles`: ECMA-376 part 1, 18.8.
pub fn styles(custom_formats: &[&str]) -> String {
    let formats: Vec<&str> = FORMATS.iter().chain(custom_formats).copied().collect();
    let number_formats: String = formats
        .iter()
        .enumerate()
        .map(|(index, code)| {
            let (id, code) = (FIRST_FORMAT_ID + index, xml::escape_attribute(code));
            format!("<numFmt numFmtId=\"{id}\" formatCode=\"{code}\"/>")
        })
        .collect();
    let styles: String = (0..formats.len())
        .map(|index| {
            let id = FIRST_FORMAT_ID + index;
            format!("<xf numFmtId=\"{id}\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/>")
        })
        .collect();
    let (format_count, style_count) = (formats.len(), formats.len() + 2);
    let (head, main) = (xml::HEAD, xml::MAIN);
    format!(
        "{head}<styleSheet xmlns=\"{main}\">\
         <numFmts count=\"{format_count}\">{number_formats}</numFmts>\
         <fonts count=\"2\">\
         <font><sz val=\"11\"/><color theme=\"1\"/><name val=\"Calibri\"/><family val=\"2\"/><scheme val=\"minor\"/></font>\
         <font><b/><sz val=\"11\"/><color theme=\"1\"/><name val=\"Calibri\"/><family val=\"2\"/><scheme val=\"minor\"/></font>\
         </fonts>\
         <fills count=\"2\"><fill><patternFill patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill></fills>\
         <borders count=\"1\"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
         <cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs>\
         <cellXfs count=\"{style_count}\">\
         <xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\"/>\
         <xf numFmtId=\"0\" fontId=\"1\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyFont=\"1\"/>\
         {styles}</cellXfs>\
         <cellStyles count=\"1\"><cellStyle name=\"Normal\" xfId=\"0\" builtinId=\"0\"/></cellStyles>\
         </styleSheet>"
    )
}

/// Default Office colours and fonts, reduced to the required elements: ECMA-376 part 1, 20.1.6.9.
pub const THEME: &str = include_str!("theme1.xml");
