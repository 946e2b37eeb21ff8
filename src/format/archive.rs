//! A ZIP archive with a file per statement of a book. An archive without its end cannot be opened, so a truncated file is
//! detected.

use super::container::{Container, Level, Piece};
use super::deflater::Deflater;
use super::encoder::{EncodeError, Encoder, EncoderSettings, SheetSettings};
use super::heartbeat::{EMPTY_DEFLATE_BLOCK, Heartbeats};
use super::options::OptionDefinition;
use super::{Capacity, Definition, Format, FormatOptions, csv, json, ndjson, parquet, tsv};
use crate::row::{Column, RowBatch};

/// The registry entry. IANA registered the media type.
pub(super) const FORMAT: Definition = Definition {
    extension: "zip",
    is_default: true,
    capacity: Capacity::Book(entry_format),
    is_text: false,
    is_json: false,
    integrity_line: None,
    heartbeats: Some(heartbeats),
    options: &OPTIONS,
    media_type: |_| "application/zip",
    encoder: |columns, settings| Ok(Box::new(ArchiveEncoder::new(columns, settings)?)),
};

/// A book sets them under `[zip]`; a link overrides them by `rl_zip.*`.
const OPTIONS: [OptionDefinition; 1] = [OptionDefinition {
    name: "entries",
    expected: "csv, tsv, ndjson, json or parquet",
    accepts: |text| ENTRY_FORMATS.iter().any(|it| it.extension() == text),
    sets: &[],
}];

/// The formats of the files in an archive.
const ENTRY_FORMATS: [Format; 5] = [
    Format(&csv::FORMAT),
    Format(&tsv::FORMAT),
    Format(&ndjson::FORMAT),
    Format(&json::FORMAT),
    Format(&parquet::FORMAT),
];

/// Returns the format of the files in an archive with these options.
fn entry_format(options: &FormatOptions) -> Format {
    let chosen = options.get("entries");
    let mut formats = ENTRY_FORMATS.into_iter();
    let found = formats.find(|format| Some(format.extension()) == chosen);
    found.unwrap_or(ENTRY_FORMATS[0])
}

/// Returns the start of the first file.
fn heartbeats(settings: &EncoderSettings) -> Heartbeats {
    let format = entry_format(&settings.options);
    Heartbeats {
        start: Container::start_of(&entry_name(format, settings, 0)),
        beat: EMPTY_DEFLATE_BLOCK,
    }
}

/// Returns the name of a statement's file.
fn entry_name(format: Format, settings: &EncoderSettings, statement: usize) -> String {
    let sheet = settings.sheets.get(statement);
    let name = sheet.map_or("export", |sheet| &sheet.name);
    format!("{name}.{format}")
}

/// Content that is compressed together, in bytes.
const BLOCK_BYTES: usize = 128 * 1024;

/// What happens to content that does not fill a block.
#[derive(Clone, Copy)]
enum Last {
    /// It waits for more.
    Waits,
    /// It is a block, too.
    IsSent,
}

/// Encodes an archive.
struct ArchiveEncoder {
    settings: EncoderSettings,
    format: Format,
    deflater: Deflater,
    /// The index of the statement whose file is written.
    statement: usize,
    /// Encodes that file.
    entry: Box<dyn Encoder>,
    /// What it has written, and is in no block yet.
    content: Vec<u8>,
}

impl ArchiveEncoder {
    fn new(columns: &[Column], settings: EncoderSettings) -> Result<ArchiveEncoder, EncodeError> {
        let format = entry_format(&settings.options);
        let entry = entry_encoder(format, columns, &settings, 0)?;
        Ok(ArchiveEncoder {
            settings,
            format,
            deflater: Deflater::start()?,
            statement: 0,
            entry,
            content: Vec::new(),
        })
    }

    fn begin_entry(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let name = entry_name(self.format, &self.settings, self.statement);
        // Text becomes much smaller; other formats are compressed already.
        let level = match self.format.is_text() {
            true => Level::Fastest,
            false => Level::Stored,
        };
        let begin = match self.settings.heartbeats.take() {
            Some(heartbeats) => Piece::Resume {
                name,
                level,
                heartbeats,
            },
            None => Piece::Begin(name, level),
        };
        self.deflater.push(vec![begin], out)?;
        self.entry.begin(&mut self.content)?;
        self.push_blocks(Last::Waits, out)
    }

    fn end_entry(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.entry.finish(&mut self.content)?;
        self.push_blocks(Last::IsSent, out)?;
        self.deflater.push(vec![Piece::End], out)
    }

    /// Hands the content over in blocks, whose size does not depend on how the rows were batched.
    fn push_blocks(&mut self, last: Last, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let whole = self.content.len() / BLOCK_BYTES * BLOCK_BYTES;
        let end = match last {
            Last::Waits => whole,
            Last::IsSent => self.content.len(),
        };
        let blocks = self.content[..end].chunks(BLOCK_BYTES);
        let pieces = blocks
            .map(|block| Piece::Content(block.to_vec().into()))
            .collect();
        self.content.drain(..end);
        self.deflater.push(pieces, out)
    }
}

impl Encoder for ArchiveEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.begin_entry(out)
    }

    fn next_statement(&mut self, columns: &[Column], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.end_entry(out)?;
        self.statement += 1;
        self.entry = entry_encoder(self.format, columns, &self.settings, self.statement)?;
        self.begin_entry(out)
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.entry.rows(batch, &mut self.content)?;
        self.push_blocks(Last::Waits, out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.entry.flush(&mut self.content)?;
        self.push_blocks(Last::IsSent, out)?;
        self.deflater.drain(out)
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.deflater.push(vec![Piece::Heartbeat], out)?;
        self.deflater.drain(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.end_entry(out)?;
        self.deflater.push(vec![Piece::Finish], out)?;
        self.deflater.drain(out)
    }

    fn wants_thread(&self) -> bool {
        true
    }
}

/// Creates the encoder of a statement's file.
fn entry_encoder(
    format: Format,
    columns: &[Column],
    settings: &EncoderSettings,
    statement: usize,
) -> Result<Box<dyn Encoder>, EncodeError> {
    let sheet: Option<SheetSettings> = settings.sheets.get(statement).cloned();
    let settings = EncoderSettings {
        options: settings.entry_options.clone(),
        entry_options: FormatOptions::default(),
        sheets: sheet.into_iter().collect(),
        heartbeats: None,
        ..settings.clone()
    };
    format.encoder(columns, settings)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use indexmap::IndexMap;

    use super::*;
    use crate::row::{Cell, RowBuffer};

    fn batch(numbers: &[i64]) -> RowBatch {
        let mut buffer = RowBuffer::default();
        buffer.reset(1);
        numbers.iter().for_each(|n| buffer.push(Cell::Integer(*n)));
        buffer.finish().expect("UTF-8")
    }

    fn sheet(name: &str) -> SheetSettings {
        SheetSettings {
            name: name.to_owned(),
            labels: IndexMap::from([("n".into(), format!("{name}, number"))]),
            ..SheetSettings::default()
        }
    }

    /// Returns the files of an archive with the rows of two statements, after some heartbeats.
    fn archive(entries: &str, heartbeats: Option<u64>) -> Vec<(String, Vec<u8>)> {
        let mut settings = EncoderSettings {
            sheets: vec![sheet("orders"), sheet("returns")],
            heartbeats,
            ..EncoderSettings::default()
        };
        let set = settings.options.set(&OPTIONS, "entries", entries);
        set.expect("an option");
        let mut out = Vec::new();
        if let Some(count) = heartbeats {
            let of_file = super::heartbeats(&settings);
            out.extend(of_file.start);
            (0..count).for_each(|_| out.extend(of_file.beat));
        }
        let columns = [Column::text("n")];
        let encoder = (FORMAT.encoder)(&columns, settings);
        let mut encoder = encoder.expect("columns that fit");
        encoder.begin(&mut out).expect("a start");
        encoder.rows(&batch(&[1, 2]), &mut out).expect("rows");
        encoder.flush(&mut out).expect("a flush");
        encoder.heartbeat(&mut out).expect("a heartbeat");
        encoder.rows(&batch(&[3]), &mut out).expect("rows");
        let next = encoder.next_statement(&columns, &mut out);
        next.expect("columns that fit");
        encoder.heartbeat(&mut out).expect("a heartbeat");
        encoder.rows(&batch(&[4]), &mut out).expect("rows");
        encoder.finish(&mut out).expect("an end");
        let mut archive = zip::ZipArchive::new(Cursor::new(out)).expect("an archive");
        let files = (0..archive.len()).map(|index| {
            let mut file = archive.by_index(index).expect("a file");
            let mut content = Vec::new();
            file.read_to_end(&mut content).expect("its content");
            (file.name().expect("UTF-8").into_owned(), content)
        });
        files.collect()
    }

    #[test]
    fn each_statement_is_a_file_of_the_chosen_format() {
        for (entries, first, second) in [
            (
                "csv",
                "\"orders, number\"\r\n1\r\n2\r\n3\r\n",
                "\"returns, number\"\r\n4\r\n",
            ),
            ("ndjson", "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", "{\"n\":4}\n"),
            (
                "json",
                "[\n{\"n\":1},\n{\"n\":2},\n{\"n\":3}\n]\n",
                "[\n{\"n\":4}\n]\n",
            ),
        ] {
            let expected = [
                (format!("orders.{entries}"), first.as_bytes().to_vec()),
                (format!("returns.{entries}"), second.as_bytes().to_vec()),
            ];
            assert_eq!(archive(entries, None), expected);
            assert_eq!(archive(entries, Some(3)), expected);
        }
    }

    #[test]
    fn parquet_files_are_complete() {
        let files = archive("parquet", None);
        assert_eq!(archive("parquet", Some(3)), files);
        for (name, content) in files {
            assert!(name.ends_with(".parquet"));
            assert!(content.starts_with(b"PAR1") && content.ends_with(b"PAR1"));
        }
    }
}
