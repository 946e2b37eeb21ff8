//! One row: a document as its database describes it.

use std::collections::{HashMap, HashSet};

use rowlink_link::FileName;

use super::UNKNOWN_MEDIA_TYPE;
use crate::catalog::DOCUMENT_COLUMNS;
use crate::row::{Column, Row, TimeZone};
use crate::store::check_key;

/// A document, whose object may not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The key of its object, below the prefix of its store.
    pub object: String,
    /// The file name that its row suggests.
    pub file_name: FileName,
    /// Its media type.
    pub content_type: String,
    /// Its length in bytes, if its row has it.
    pub bytes: Option<u64>,
    /// The hash of its content, if its row has it.
    pub sha256: Option<[u8; 32]>,
}

/// Where the columns of [`Document`] are in a row.
pub(super) struct DocumentColumns([Option<usize>; DOCUMENT_COLUMNS.len()]);

impl DocumentColumns {
    pub(super) fn of(columns: &[Column]) -> DocumentColumns {
        let position = |name: &str| columns.iter().position(|column| column.name == name);
        DocumentColumns(DOCUMENT_COLUMNS.map(position))
    }

    /// Parses a row. Its object's key starts with `prefix`.
    ///
    /// # Errors
    /// Returns a message that names the column.
    pub(super) fn parse(&self, row: Row<'_>, prefix: &str) -> Result<Document, String> {
        let texts = row.map(|cell| {
            let mut text = Vec::new();
            cell.write_text(TimeZone::default(), &mut text);
            String::from_utf8(text).unwrap_or_default()
        });
        let mut texts: Vec<String> = texts.collect();
        let mut next = self.0.iter().map(|index| {
            let text = index.and_then(|index| texts.get_mut(index));
            text.map(std::mem::take).unwrap_or_default()
        });
        let mut take = || next.next().unwrap_or_default();
        let (object, file_name, content_type, bytes, sha256) =
            (take(), take(), take(), take(), take());
        check_key(&object).map_err(|message| format!("`object`: {message}"))?;
        if !object.starts_with(prefix) {
            return Err(format!(
                "`object`: expected a key that starts with {prefix}"
            ));
        }
        let file_name = match file_name.as_str() {
            "" => object.rsplit('/').next().unwrap_or_default(),
            name => name,
        };
        let file_name = FileName::from_lossy(file_name);
        Ok(Document {
            file_name: file_name.ok_or("`filename`: expected a name")?,
            content_type: parse_type(content_type)?,
            bytes: parse_size(&bytes)?,
            sha256: parse_hash(&sha256)?,
            object,
        })
    }
}

/// Checks a media type: RFC 9110, section 8.3.1.
fn parse_type(text: String) -> Result<String, String> {
    if text.is_empty() {
        return Ok(UNKNOWN_MEDIA_TYPE.to_owned());
    }
    let is_visible = text.len() <= 255 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match is_visible && text.contains('/') {
        true => Ok(text),
        false => Err("`content_type`: expected a media type such as application/pdf".into()),
    }
}

fn parse_size(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Err("`size`: expected a whole number of bytes".into()),
        },
    }
}

fn parse_hash(text: &str) -> Result<Option<[u8; 32]>, String> {
    let mut hash = [0; 32];
    match text {
        "" => Ok(None),
        text => match hex::decode_to_slice(text, &mut hash) {
            Ok(()) => Ok(Some(hash)),
            Err(_) => Err("`sha256`: expected 64 hex digits, or 32 bytes".into()),
        },
    }
}

/// Gives each document of an archive a name of its own, also on file systems that ignore case.
pub(super) fn make_names_unique(documents: &mut [Document]) {
    let mut taken: HashSet<String> = HashSet::new();
    // The number at which the search for a free one begins, by name: otherwise many documents of one name would take long.
    let mut next: HashMap<String, usize> = HashMap::new();
    for document in documents {
        let name = document.file_name.as_str();
        let folded = name.to_lowercase();
        if taken.insert(folded.clone()) {
            continue;
        }
        let number = next.entry(folded).or_insert(2);
        let other = (*number..).find_map(|candidate| {
            *number = candidate + 1;
            let name = document.file_name.numbered(candidate);
            taken.insert(name.as_str().to_lowercase()).then_some(name)
        });
        document.file_name = other.expect("there are more numbers than documents");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Cell, RowBuffer};

    fn parse(cells: [Cell<'_>; 5], prefix: &str) -> Result<Document, String> {
        let mut buffer = RowBuffer::default();
        buffer.reset(cells.len());
        cells.into_iter().for_each(|cell| buffer.push(cell));
        let batch = buffer.finish().expect("UTF-8");
        let columns = DOCUMENT_COLUMNS.map(Column::text);
        let row = batch.iter().next().expect("a row");
        DocumentColumns::of(&columns).parse(row, prefix)
    }

    #[test]
    fn a_row_is_a_document_or_names_the_column_that_is_wrong() {
        let key = Cell::Text("7/a.pdf");
        let whole = parse(
            [
                key,
                Cell::Text("Rechnung 1/2.pdf"),
                Cell::Text("application/pdf"),
                Cell::Integer(12),
                Cell::Bytes(&[7; 32]),
            ],
            "7/",
        );
        let whole = whole.expect("a document");
        assert_eq!(whole.file_name.as_str(), "Rechnung 1_2.pdf");
        assert_eq!((whole.bytes, whole.sha256), (Some(12), Some([7; 32])));
        let least = [key, Cell::Null, Cell::Null, Cell::Null, Cell::Null];
        let found = parse(least, "").expect("a document");
        assert_eq!(found.file_name.as_str(), "a.pdf");
        assert_eq!(
            (found.content_type.as_str(), found.bytes),
            (UNKNOWN_MEDIA_TYPE, None)
        );
        for (index, cell, column) in [
            (0, Cell::Null, "object"),
            (0, Cell::Text("7/../8/a.pdf"), "object"),
            (0, Cell::Text("8/a.pdf"), "object"),
            (0, Cell::Text("70/a.pdf"), "object"),
            (0, Cell::Text("/7/a.pdf"), "object"),
            (1, Cell::Text("..."), "filename"),
            (2, Cell::Text("pdf"), "content_type"),
            (2, Cell::Text("a/b\r\nx: y"), "content_type"),
            (3, Cell::Integer(-1), "size"),
            (3, Cell::Text("many"), "size"),
            (4, Cell::Text("abc"), "sha256"),
        ] {
            let mut cells = least;
            cells[index] = cell;
            let message = parse(cells, "7/").expect_err("an error");
            assert!(message.starts_with(&format!("`{column}`: ")), "{message}");
        }
    }

    #[test]
    fn names_in_an_archive_differ_also_without_their_case() {
        let document = |name: &str| Document {
            object: "x".into(),
            file_name: FileName::parse(name).expect("a name"),
            content_type: UNKNOWN_MEDIA_TYPE.into(),
            bytes: None,
            sha256: None,
        };
        let long = format!("{}.pdf", "x".repeat(146));
        let names = [
            "a.pdf",
            "A.pdf",
            "a (2).pdf",
            "a.pdf",
            "b",
            "B",
            &long,
            &long,
            &long,
        ];
        let mut documents = names.map(document);
        make_names_unique(&mut documents);
        let names: Vec<&str> = documents.iter().map(|it| it.file_name.as_str()).collect();
        let expected = [
            "a.pdf",
            "A (2).pdf",
            "a (2) (2).pdf",
            "a (3).pdf",
            "b",
            "B (2)",
        ];
        assert_eq!(names[..6], expected);
        assert!(names[7].ends_with(" (2).pdf") && names[8].ends_with(" (3).pdf"));
    }
}
