//! About how much a link will give, for whoever asks before the click.

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::download::TextFile;
use super::open::Accepted;
use super::{Exporter, IssuedLink};
use crate::format::Format;
use crate::link::Client;
use crate::source::{Reading, SourceError, causes};

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
    Planned,
    /// Counted, a moment ago.
    Counted,
    /// Counted for as long as was worth it: there are more.
    AtLeast,
}

impl Exporter {
    /// About how much a link gives that was issued at `now`; `None` where that cannot be known soon.
    /// It costs no link: what fails here will be said by the download, and a late answer is worse than
    /// one without it.
    pub async fn estimate(&self, issued: &IssuedLink, now: u64) -> Option<Estimate> {
        let link = &issued.link;
        let (_, query) = issued.url.split_once('?')?;
        // As if it were valid already.
        let now = link.conditions.not_before.unwrap_or(now).max(now);
        let accepted = self
            .accept(&link.export, link.format, query, now, Client::Unchecked)
            .ok()?;
        if !accepted.query.export().is_estimated {
            return None;
        }
        let _place = self.estimates.try_acquire().ok()?;
        let deadline = Instant::now() + self.policy.estimate_max;
        let estimated = timeout_at(deadline, self.estimate_of(accepted, deadline)).await;
        let estimated = estimated.unwrap_or(Err(SourceError::TooSlow));
        let failed = |error: &SourceError| {
            tracing::warn!(link_id = %link.id, cause = causes(error), "no estimate");
        };
        estimated.inspect_err(failed).ok()
    }

    async fn estimate_of(
        &self,
        accepted: Accepted,
        deadline: Instant,
    ) -> Result<Estimate, SourceError> {
        let format = accepted.link.format;
        let source = self.source_of(&accepted.query);
        let estimate = match source
            .planned(&accepted.query, self.policy.estimate_max)
            .await?
        {
            Some(planned) => Estimate {
                rows: planned.rows,
                bytes: Some({
                    let names = planned.rows.saturating_mul(self.names_bytes(&accepted));
                    planned.bytes.saturating_add(names)
                }),
                kind: EstimateKind::Planned,
            },
            None => {
                let rows = source.open(accepted.query, Reading::Once).await?;
                // As long as the answer may still take, half of that.
                let until = Instant::now() + (deadline - Instant::now()) / 2;
                count(TextFile::new(rows, format, accepted.output), until).await?
            }
        };
        // Nobody knows how well a workbook compresses.
        Ok(Estimate {
            bytes: estimate.bytes.filter(|_| format.is_text()),
            ..estimate
        })
    }
}

impl Exporter {
    /// How many bytes of a row are not its values: NDJSON names each of them, `"name":`.
    fn names_bytes(&self, accepted: &Accepted) -> u64 {
        if accepted.link.format != Format::Ndjson {
            return 0;
        }
        let bytes_of = |name: &String| name.len() as u64 + 3;
        match &accepted.output.columns {
            Some(names) => names.iter().map(bytes_of).sum(),
            None => {
                let columns = self.columns_of(accepted.query.export());
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
