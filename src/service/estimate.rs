//! About how much a link will give, for whoever asks before the click.

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::download::TextFile;
use super::open::PreparedDownload;
use super::{ExportService, IssuedLink};
use crate::format::Format;
use crate::source::{Passes, SourceError, causes};
use rowlink_link::ClientAddr;

/// How much a file will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// How many rows it will have.
    pub rows: u64,
    /// How many bytes, uncompressed. Nobody knows that of a workbook.
    pub bytes: Option<u64>,
    /// How sure that is.
    pub kind: EstimateKind,
}

/// How sure an estimate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EstimateKind {
    /// What the database's planner expects.
    RowEstimate,
    /// Counted, a moment ago.
    Counted,
    /// Counted for as long as was worth it: there are more.
    AtLeast,
}

impl ExportService {
    /// About how much a link gives that was issued at `now`; `None` where that cannot be known soon.
    /// It costs no link: what fails here will be said by the download, and a late answer is worse than
    /// one without it.
    pub async fn estimate(&self, issued: &IssuedLink, now: u64) -> Option<Estimate> {
        let link = &issued.link;
        let (_, query) = issued.url.split_once('?')?;
        // As if it were valid already.
        let now = link.conditions.not_before.unwrap_or(now).max(now);
        let prepared = self
            .prepare(&link.export, link.format, query, now, ClientAddr::Unchecked)
            .ok()?;
        if !prepared.query.export().is_estimated {
            return None;
        }
        let _place = self.estimates.try_acquire().ok()?;
        let deadline = Instant::now() + self.policy.estimate_max;
        let estimated = timeout_at(deadline, self.estimate_of(prepared, deadline)).await;
        let estimated = estimated.unwrap_or(Err(SourceError::TooSlow));
        let failed = |error: &SourceError| {
            tracing::warn!(link_id = %link.id, cause = causes(error), "no estimate");
        };
        estimated.inspect_err(failed).ok()
    }

    async fn estimate_of(
        &self,
        prepared: PreparedDownload,
        deadline: Instant,
    ) -> Result<Estimate, SourceError> {
        let format = prepared.link.format;
        let source = self.source_of(&prepared.query);
        let estimate = match source
            .estimate(&prepared.query, self.policy.estimate_max)
            .await?
        {
            Some(planned) => Estimate {
                rows: planned.rows,
                bytes: Some({
                    let names = planned.rows.saturating_mul(self.names_bytes(&prepared));
                    planned.bytes.saturating_add(names)
                }),
                kind: EstimateKind::RowEstimate,
            },
            None => {
                let rows = source.open(prepared.query, Passes::One).await?;
                // As long as the answer may still take, half of that.
                let until = Instant::now() + (deadline - Instant::now()) / 2;
                count(TextFile::new(rows, format, prepared.output), until).await?
            }
        };
        // Nobody knows how well a workbook compresses.
        Ok(Estimate {
            bytes: estimate.bytes.filter(|_| format.is_text()),
            ..estimate
        })
    }
}

impl ExportService {
    /// How many bytes of a row are not its values: NDJSON names each of them, `"name":`.
    fn names_bytes(&self, prepared: &PreparedDownload) -> u64 {
        if prepared.link.format != Format::Ndjson {
            return 0;
        }
        let bytes_of = |name: &String| name.len() as u64 + 3;
        match &prepared.output.columns {
            Some(names) => names.iter().map(bytes_of).sum(),
            None => {
                let columns = self.columns_of(prepared.query.export());
                columns.iter().map(|column| bytes_of(&column.name)).sum()
            }
        }
    }
}

/// Makes the file without sending it, or the beginning of a long one.
async fn count(mut file: TextFile, until: Instant) -> Result<Estimate, SourceError> {
    let mut bytes = 0;
    let kind = loop {
        match timeout_at(until, file.next_chunk()).await {
            Ok(Ok(None)) => break EstimateKind::Counted,
            Ok(Ok(Some(chunk))) => bytes += chunk.len() as u64,
            Ok(Err(error)) => return Err(error),
            Err(_) => break EstimateKind::AtLeast,
        }
        // What is ready would be counted however late it is, and before anybody else's turn.
        yield_now().await;
        if Instant::now() >= until {
            break EstimateKind::AtLeast;
        }
    };
    Ok(Estimate {
        rows: file.rows_written(),
        bytes: Some(bytes),
        kind,
    })
}
