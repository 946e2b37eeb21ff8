//! The small parts around the sheets: what the file says about itself.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};

use super::xml::{self, HEAD, MAIN, RELATIONSHIPS};

/// What a sheet may be called: ECMA-376 part 1, 18.2.19, and Excel's "Rename a worksheet".
const NAME_UNITS_MAX: usize = 31;

/// What a file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The title, from which sheets have their names.
    pub title: String,
    /// What tells this file from all others.
    pub identifier: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
}

/// A sheet that is written.
pub struct Sheet {
    /// What its tab says.
    pub name: String,
    /// The cells with the header and all rows, as `$A$1:$C$9`.
    pub area: String,
}

/// The first part, which says where the others are.
pub fn root_relationships() -> String {
    let kind = "http://schemas.openxmlformats.org/package/2006/relationships";
    format!(
        "{HEAD}<Relationships xmlns=\"{kind}\">\
         <Relationship Id=\"rId1\" Type=\"{RELATIONSHIPS}/officeDocument\" Target=\"xl/workbook.xml\"/>\
         <Relationship Id=\"rId2\" Type=\"{kind}/metadata/core-properties\" Target=\"docProps/core.xml\"/>\
         </Relationships>"
    )
}

/// The document's properties: ECMA-376 part 2, 11.
pub fn core_properties(properties: &Properties, time_zone: &str) -> String {
    let created = i64::try_from(properties.created).ok();
    let created = created.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let created = created
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true);
    let (title, identifier) = (
        xml::content(&properties.title),
        xml::content(&properties.identifier),
    );
    format!(
        "{HEAD}<cp:coreProperties \
         xmlns:cp=\"http://schemas.openxmlformats.org/package/2006/metadata/core-properties\" \
         xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:dcterms=\"http://purl.org/dc/terms/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <dc:title>{title}</dc:title><dc:creator>Rowlink</dc:creator>\
         <dc:description>Time zone: {time_zone}</dc:description>\
         <dc:identifier>{identifier}</dc:identifier>\
         <dcterms:created xsi:type=\"dcterms:W3CDTF\">{created}</dcterms:created>\
         </cp:coreProperties>"
    )
}

/// The workbook, which lists the sheets; the hidden names are what Excel adds for each filter.
pub fn workbook(sheets: &[Sheet]) -> String {
    let (mut list, mut names) = (String::new(), String::new());
    for (index, sheet) in sheets.iter().enumerate() {
        let (number, name) = (index + 1, xml::attribute(&sheet.name));
        let _ = write!(
            list,
            "<sheet name=\"{name}\" sheetId=\"{number}\" r:id=\"rId{number}\"/>"
        );
        let quoted = xml::content(&sheet.name.replace('\'', "''"));
        let _ = write!(
            names,
            "<definedName name=\"_xlnm._FilterDatabase\" localSheetId=\"{index}\" hidden=\"1\">'{quoted}'!{}</definedName>",
            sheet.area
        );
    }
    format!(
        "{HEAD}<workbook xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONSHIPS}\">\
         <workbookPr/><bookViews><workbookView activeTab=\"0\"/></bookViews>\
         <sheets>{list}</sheets><definedNames>{names}</definedNames></workbook>"
    )
}

/// Where the workbook's parts are.
pub fn workbook_relationships(sheets: usize) -> String {
    let mut list = String::new();
    for number in 1..=sheets {
        let _ = write!(
            list,
            "<Relationship Id=\"rId{number}\" Type=\"{RELATIONSHIPS}/worksheet\" Target=\"worksheets/sheet{number}.xml\"/>"
        );
    }
    let (styles, theme) = (sheets + 1, sheets + 2);
    format!(
        "{HEAD}<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">{list}\
         <Relationship Id=\"rId{styles}\" Type=\"{RELATIONSHIPS}/styles\" Target=\"styles.xml\"/>\
         <Relationship Id=\"rId{theme}\" Type=\"{RELATIONSHIPS}/theme\" Target=\"theme/theme1.xml\"/>\
         </Relationships>"
    )
}

/// The last part: ECMA-376 part 2, 10.1.2.2.
pub fn content_types(sheets: usize) -> String {
    let kind = "application/vnd.openxmlformats-officedocument";
    let mut list = String::new();
    for number in 1..=sheets {
        let _ = write!(
            list,
            "<Override PartName=\"/xl/worksheets/sheet{number}.xml\" ContentType=\"{kind}.spreadsheetml.worksheet+xml\"/>"
        );
    }
    format!(
        "{HEAD}<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
         <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
         <Default Extension=\"xml\" ContentType=\"application/xml\"/>\
         <Override PartName=\"/xl/workbook.xml\" ContentType=\"{kind}.spreadsheetml.sheet.main+xml\"/>{list}\
         <Override PartName=\"/xl/styles.xml\" ContentType=\"{kind}.spreadsheetml.styles+xml\"/>\
         <Override PartName=\"/xl/theme/theme1.xml\" ContentType=\"{kind}.theme+xml\"/>\
         <Override PartName=\"/docProps/core.xml\" ContentType=\"application/vnd.openxmlformats-package.core-properties+xml\"/>\
         </Types>"
    )
}

/// What the tab of the sheet with this number, from 1, says: `Orders`, `Orders (2)`, ….
pub fn sheet_name(title: &str, number: usize) -> String {
    let suffix = if number > 1 {
        format!(" ({number})")
    } else {
        String::new()
    };
    let allowed = |c: char| {
        if "[]:*?/\\".contains(c) || c.is_control() {
            '_'
        } else {
            c
        }
    };
    let mut room = NAME_UNITS_MAX - suffix.len();
    let mut name = String::new();
    for c in title.chars().map(allowed) {
        if c.len_utf16() > room {
            break;
        }
        room -= c.len_utf16();
        name.push(c);
    }
    // No apostrophe at an edge; a name of spaces alone cannot be seen.
    let name = name.trim_matches(|c: char| c == '\'' || c.is_whitespace());
    // Excel keeps one name for itself.
    let name = if name.is_empty() || name.eq_ignore_ascii_case("history") {
        "Export"
    } else {
        name
    };
    format!("{name}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sheets_are_named_as_excel_allows() {
        for (title, number, expected) in [
            ("Orders", 1, "Orders"),
            ("Orders", 2, "Orders (2)"),
            ("'a/b [c]: d?*\\'", 1, "a_b _c__ d___"),
            ("  ", 3, "Export (3)"),
            ("History", 1, "Export"),
            (
                "A very long title of an export, longer than tabs",
                1,
                "A very long title of an export,",
            ),
            (
                "A very long title of an export, longer than tabs",
                12,
                "A very long title of an ex (12)",
            ),
        ] {
            assert_eq!(sheet_name(title, number), expected);
        }
    }

    proptest! {
        #[test]
        fn no_title_makes_a_name_that_excel_repairs(title in "\\PC*", number in 1..5000_usize) {
            let name = sheet_name(&title, number);
            prop_assert!(!name.is_empty() && name.encode_utf16().count() <= 31);
            prop_assert!(!name.contains(['[', ']', ':', '*', '?', '/', '\\']));
            prop_assert!(!name.starts_with('\'') && !name.ends_with('\''));
        }
    }
}
