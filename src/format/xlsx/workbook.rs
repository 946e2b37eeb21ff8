//! The small parts next to the sheets: properties, workbook, relationships and content types.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};

use super::table;
use super::xml::{self, HEAD, MAIN, RELATIONSHIPS};
use crate::format::encoder::Properties;

/// A finished sheet.
pub struct Sheet {
    /// Name on the tab.
    pub name: String,
    /// Range of the header and all rows, as `$A$1:$C$9`, if the sheet has a filter of its own and no table.
    pub filter: Option<String>,
}

/// Returns `_rels/.rels`, which locates the workbook and its properties.
pub fn root_relationships() -> String {
    let kind = "http://schemas.openxmlformats.org/package/2006/relationships";
    format!(
        "{HEAD}<Relationships xmlns=\"{kind}\">\
         <Relationship Id=\"rId1\" Type=\"{RELATIONSHIPS}/officeDocument\" Target=\"xl/workbook.xml\"/>\
         <Relationship Id=\"rId2\" Type=\"{kind}/metadata/core-properties\" Target=\"docProps/core.xml\"/>\
         </Relationships>"
    )
}

/// Returns `docProps/core.xml`: ECMA-376 part 2, 11.
pub fn core_properties(properties: &Properties, time_zone: &str) -> String {
    let created = i64::try_from(properties.created).ok();
    let created = created.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let created = created
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true);
    let (title, identifier) = (
        xml::escape_text(&properties.title),
        xml::escape_text(&properties.identifier),
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

/// Returns `xl/workbook.xml`, the list of sheets. Excel adds the same hidden name for each filter.
pub fn workbook(sheets: &[Sheet]) -> String {
    let (mut list, mut names) = (String::new(), String::new());
    for (index, sheet) in sheets.iter().enumerate() {
        let (number, name) = (index + 1, xml::escape_attribute(&sheet.name));
        let _ = write!(
            list,
            "<sheet name=\"{name}\" sheetId=\"{number}\" r:id=\"rId{number}\"/>"
        );
        let Some(range) = &sheet.filter else {
            continue;
        };
        let quoted = xml::escape_text(&sheet.name.replace('\'', "''"));
        let _ = write!(
            names,
            "<definedName name=\"_xlnm._FilterDatabase\" localSheetId=\"{index}\" hidden=\"1\">'{quoted}'!{range}</definedName>"
        );
    }
    if !names.is_empty() {
        names = format!("<definedNames>{names}</definedNames>");
    }
    format!(
        "{HEAD}<workbook xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONSHIPS}\">\
         <workbookPr/><bookViews><workbookView activeTab=\"0\"/></bookViews>\
         <sheets>{list}</sheets>{names}</workbook>"
    )
}

/// Returns `xl/_rels/workbook.xml.rels`, which locates the sheets, styles and theme.
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

/// Returns `[Content_Types].xml`: ECMA-376 part 2, 10.1.2.2.
pub fn content_types(sheets: usize, tables: usize) -> String {
    let kind = "application/vnd.openxmlformats-officedocument";
    let mut list = String::new();
    for number in 1..=sheets {
        let _ = write!(
            list,
            "<Override PartName=\"/xl/worksheets/sheet{number}.xml\" ContentType=\"{kind}.spreadsheetml.worksheet+xml\"/>"
        );
    }
    for number in 1..=tables {
        let _ = write!(
            list,
            "<Override PartName=\"/{}\" ContentType=\"{kind}.spreadsheetml.table+xml\"/>",
            table::part_name(number)
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
