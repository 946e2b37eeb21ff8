//! The approximate size of a file before it is downloaded.

use futures_util::future::BoxFuture;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::encoding::InlineEncoding;
use super::errors::DownloadError;
use super::export_service::ExportService;
use super::issue::IssuedLink;
use super::open::PreparedDownload;
use crate::format::{Format, IntegrityLine, Properties};
use crate::row::Column;
use crate::source::{ConnectionTime, Passes, RowEstimate, RowStream, Rows, SourceError, causes};

/// The approximate size of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The number of rows.
    pub rows: u64,
    /// The uncompressed size in bytes; `None` for formats that compress.
    pub bytes: Option<u64>,
    /// How the numbers were found.
    pub kind: EstimateKind,
}

/// How an estimate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EstimateKind {
    /// By the database's planner.
    Planned,
    /// By counting all rows a moment ago.
    Counted,
    /// By counting until the time limit: there are more.
    AtLeast,
}

impl ExportService {
    /// Estimates the size of the file of a link that was issued at `now`, in Unix seconds; `None` if it
    /// cannot be found within the time limit. Errors are left to the download: the link is issued
    /// without an estimate.
    pub async fn estimate(&self, issued: &IssuedLink, now: u64) -> Option<Estimate> {
        let link = issued.link();
        let keyring = self.keyring.load();
        let key_id = keyring.key_ids().next().unwrap_or_default();
        let revocations = self.revocations.load();
        if revocations.is_revoked(link, key_id) {
            return None;
        }
        let prepared = self.prepare_verified(issued.verified().clone(), now).ok()?;
        if !prepared.query.export().is_estimated {
            return None;
        }
        let _permit = self.estimates.try_acquire().ok()?;
        let link_id = prepared.link.link().id;
        let deadline = Instant::now() + self.policy.estimate_max;
        let estimated = timeout_at(deadline, self.estimate_of(prepared, deadline)).await;
        let estimated = estimated.unwrap_or(Err(SourceError::TooSlow.into()));
        let failed = |error: &DownloadError| {
            tracing::warn!(%link_id, cause = causes(error), "no estimate");
        };
        estimated.inspect_err(failed).ok()
    }

    /// Returns the planner's estimate of a file, if there is one within the time limit.
    pub fn planned_estimate(
        &self,
        prepared: &PreparedDownload,
    ) -> BoxFuture<'static, Option<Estimate>> {
        let is_estimated = prepared.query.export().is_estimated;
        let (served, query) = (prepared.served.clone(), prepared.query.clone());
        let (format, name_bytes) = (prepared.format, name_bytes(prepared));
        let (time_limit, estimates) = (self.policy.estimate_max, self.estimates.clone());
        Box::pin(async move {
            if !is_estimated {
                return None;
            }
            let _permit = estimates.try_acquire().ok()?;
            let planned = served.described.estimate(&query, time_limit);
            let planned = timeout(time_limit, planned).await.ok()?;
            Some(of_planner(planned.ok()??, format, name_bytes))
        })
    }

    async fn estimate_of(
        &self,
        prepared: PreparedDownload,
        deadline: Instant,
    ) -> Result<Estimate, DownloadError> {
        let format = prepared.format;
        let described = &prepared.served.described;
        let planned = described.estimate(&prepared.query, self.policy.estimate_max);
        if let Some(planned) = planned.await? {
            return Ok(of_planner(planned, format, name_bytes(&prepared)));
        }
        let rows = described
            .open(prepared.query, Passes::One, ConnectionTime::default())
            .await?;
        // Counting may take half of the remaining time.
        let until = Instant::now() + (deadline - Instant::now()) / 2;
        if !format.is_text() {
            return Ok(count_rows(rows, until).await?);
        }
        let settings = prepared.output.settings(Properties::default());
        let encoder = format.encoder(rows.columns(), settings)?;
        let line = prepared.output.integrity_line();
        count_bytes(InlineEncoding::start(rows, encoder)?, line, until).await
    }
}

fn of_planner(planned: RowEstimate, format: Format, name_bytes: u64) -> Estimate {
    let names = planned.rows.saturating_mul(name_bytes);
    Estimate {
        rows: planned.rows,
        bytes: Some(planned.bytes.saturating_add(names)).filter(|_| format.is_text()),
        kind: EstimateKind::Planned,
    }
}

/// Returns the bytes per row that are names of columns: `"name":` for each.
fn name_bytes(prepared: &PreparedDownload) -> u64 {
    if !prepared.format.definition().is_json {
        return 0;
    }
    let bytes_of = |name: &String| name.len() as u64 + 3;
    let sheets = prepared.served.columns().iter();
    let sheets = sheets.zip(&prepared.output.columns);
    let bytes_of_sheet = |(all, chosen): (&Vec<Column>, &Option<Vec<String>>)| match chosen {
        Some(names) => names.iter().map(bytes_of).sum::<u64>(),
        None => all.iter().map(|column| bytes_of(&column.name)).sum(),
    };
    sheets.map(bytes_of_sheet).sum()
}

/// Encodes the file without sending it, up to the time limit.
async fn count_bytes(
    mut file: InlineEncoding,
    line: Option<IntegrityLine>,
    until: Instant,
) -> Result<Estimate, DownloadError> {
    let mut bytes = 0;
    let kind = loop {
        match timeout_at(until, file.next_chunk()).await {
            Ok(Ok(None)) => {
                let line = line.map(|line| line.finish(file.rows_written()));
                bytes += line.map_or(0, |line| line.len()) as u64;
                break EstimateKind::Counted;
            }
            Ok(Ok(Some(chunk))) => bytes += chunk.len() as u64,
            Ok(Err(error)) => return Err(error),
            Err(_) => break EstimateKind::AtLeast,
        }
        if has_ended(until).await {
            break EstimateKind::AtLeast;
        }
    };
    Ok(Estimate {
        rows: file.rows_written(),
        bytes: Some(bytes),
        kind,
    })
}

/// Counts rows up to the time limit.
async fn count_rows(mut stream: RowStream, until: Instant) -> Result<Estimate, SourceError> {
    let mut rows = 0;
    let kind = loop {
        match timeout_at(until, stream.next()).await {
            Ok(Ok(None)) => break EstimateKind::Counted,
            Ok(Ok(Some(Rows::Batch(batch)))) => {
                rows += batch.rows() as u64;
                stream.recycle(batch);
            }
            Ok(Ok(Some(Rows::NextStatement(_)))) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => break EstimateKind::AtLeast,
        }
        if has_ended(until).await {
            break EstimateKind::AtLeast;
        }
    };
    Ok(Estimate {
        rows,
        bytes: None,
        kind,
    })
}

/// Lets other tasks run. Rows that are always ready would starve them, and never reach the time limit.
async fn has_ended(until: Instant) -> bool {
    yield_now().await;
    Instant::now() >= until
}
