//! `rowlink check --store`: tries all that Rowlink needs of its store, and prints the rules to set in its bucket.

mod bucket_rules;
mod client;
mod clock;
mod cors;
mod presigned;
mod report;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::errors::{ErrorLines, error_line, error_lines};
use super::load::connect_store;
use crate::config::StoreConfig;
use crate::source::causes;
use crate::store::{MediaHeaders, PART_BYTES, Service, Store, StoreError, StoreUrl};
use bucket_rules::rules;
use client::Client;
use presigned::Presigned;
use report::{Problem, Report, StepResult};

/// The content of the small object.
const CONTENT: &[u8] = b"id,name\n1,probe\n";
/// How long the presigned URL works. Longer than all steps, and than the difference of clocks that is only a warning.
const PRESIGNED_FOR: Duration = Duration::from_secs(600);

/// Runs the steps, and prints their results. The exit code is 1 if one has failed.
///
/// # Errors
/// Returns every variable that is missing or invalid.
pub(super) async fn check_store() -> Result<ExitCode, ErrorLines> {
    let config = StoreConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let store = connect_store("ROWLINK_STORE_URL", &config.url)?;
    let random = getrandom::u64().map_err(error_line)?;
    let mut probe = Probe {
        store,
        id: format!("probe-{random:016x}"),
        written: Vec::new(),
    };
    let mut report = Report::default();
    probe.check(&config.page_origins, &mut report).await;
    if let Some(problem) = prefix_problem(&config.url) {
        report.add("prefix", Err(problem));
    }
    remove(&config.url, &probe.written);
    for rule in rules(&config.url) {
        println!("\n{rule}");
    }
    println!(
        "Objects must stay at least as long as any link works (ROWLINK_MAX_TTL_SECONDS), or a single-use link works again, and as any \
         `reuse_seconds`."
    );
    Ok(match report.failed() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Returns why the lifecycle rule would remove more than Rowlink's objects.
fn prefix_problem(url: &StoreUrl) -> Option<Problem> {
    let is_whole_bucket = url.service() != Service::Directory && url.prefix().is_empty();
    let text = "ROWLINK_STORE_URL has none, so that the lifecycle rule removes all objects of the bucket; add one unless \
                the bucket is only Rowlink's";
    is_whole_bucket.then(|| Problem::Warning(text.to_owned()))
}

/// Removes the files of a directory. Prints the names of other objects: Rowlink has no permission to remove them.
fn remove(url: &StoreUrl, names: &[String]) {
    let names: Vec<String> = names.iter().map(|name| url.full_name(name)).collect();
    match url.service() {
        Service::Directory => {
            for path in names {
                if let Err(error) = fs::remove_file(&path) {
                    eprintln!("rowlink: warning: {path}: {error}");
                }
            }
        }
        _ if names.is_empty() => {}
        _ => {
            let names = names.join(", ");
            println!("\nThe lifecycle rule removes the objects of this check: {names}");
        }
    }
}

/// Objects with fresh names.
struct Probe {
    store: Arc<Store>,
    id: String,
    /// The names of those that are in the store.
    written: Vec<String>,
}

impl Probe {
    async fn check(&mut self, page_origins: &[String], report: &mut Report) {
        report.add("upload in parts", self.upload_in_parts().await);
        report.add("small object", self.small_object().await);
        report.add("missing object", self.missing_object().await);
        report.add("conditional create", self.conditional_create().await);
        match self.presigned().await {
            Ok(Some(presigned)) => presigned.check(page_origins, report),
            Ok(None) => {
                let text = "a directory has no URLs; replicas send its files";
                let skipped = Err(Problem::Skipped(text.to_owned()));
                report.add("presigned URL, ranges, CORS, clock", skipped);
            }
            Err(error) => {
                let advice = "check the permission of these credentials to sign";
                report.add("presigned URL", Err(failed(&error, advice)));
            }
        }
    }

    /// Uploads one part and a byte: the least that is two parts.
    async fn upload_in_parts(&mut self) -> StepResult {
        let content: Vec<u8> = (0..=PART_BYTES).map(|i| (i ^ (i >> 8)) as u8).collect();
        let name = self.name("parts");
        let mut upload = self.store.upload(&name, &uploaded_headers());
        if let Err(error) = upload.whole(content.clone()).await {
            // Otherwise its parts wait for the lifecycle rule. The first error is the reason.
            let _ = upload.abort().await;
            return Err(failed(&error, "check bucket, region, key and permissions"));
        }
        self.written.push(name.clone());
        let read = self.read_whole(&name).await;
        let read = read.map_err(|error| failed(&error, "check the permission to read objects"))?;
        equal(read.as_deref(), &content)?;
        Ok("two parts are read back as one object".to_owned())
    }

    async fn small_object(&mut self) -> StepResult {
        let name = self.name("csv");
        let mut upload = self.store.upload(&name, &uploaded_headers());
        let uploaded = upload.whole(CONTENT.to_vec()).await;
        uploaded.map_err(|error| failed(&error, "check bucket, region, key and permissions"))?;
        self.written.push(name.clone());
        let read = self.store.read_small(&name).await;
        let read = read.map_err(|error| failed(&error, "check the permission to read objects"))?;
        equal(read.as_deref(), CONTENT)?;
        Ok("it is read back".to_owned())
    }

    /// Before a file is stored, Rowlink asks for it.
    async fn missing_object(&self) -> StepResult {
        let advice = "if that is 403, allow to list the bucket: S3 answers 404 only then";
        let read = self.store.read_small(&self.name("missing")).await;
        match read.map_err(|error| failed(&error, advice))? {
            None => Ok("it is reported as missing".to_owned()),
            Some(_) => {
                let text = "the store answers with an object that was not written";
                Err(Problem::Failed(text.to_owned()))
            }
        }
    }

    async fn conditional_create(&mut self) -> StepResult {
        let name = self.name("once");
        let create = async || self.store.create_small(&name, CONTENT.to_vec()).await;
        let advice = "prepared files need `If-None-Match`; use a store that has it";
        let is_first = create().await.map_err(|error| failed(&error, advice))?;
        let is_second = create().await.map_err(|error| failed(&error, advice));
        self.written.push(name);
        match (is_first, is_second?) {
            (true, false) => Ok("an object that exists is not replaced".to_owned()),
            (true, true) => Err(Problem::Warning(
                "the store overwrites; single-use links need ROWLINK_REDIS_URL".to_owned(),
            )),
            (false, _) => {
                let text = "the store refuses to create an object that does not exist";
                Err(Problem::Failed(text.to_owned()))
            }
        }
    }

    /// Returns a presigned URL of the small object. `None` for a directory.
    async fn presigned(&self) -> Result<Option<Presigned<'static>>, StoreError> {
        let has_overrides = self.store.signs_overrides();
        let headers = match has_overrides {
            true => overriding_headers(),
            false => uploaded_headers(),
        };
        let parameters = [("rowlink-link", self.id.as_str())];
        let name = self.name("csv");
        let url = self
            .store
            .presigned_url(&name, &headers, PRESIGNED_FOR, &parameters);
        Ok(url.await?.map(|url| Presigned {
            client: Client::new(),
            url,
            content: CONTENT,
            headers,
            has_cache_override: has_overrides,
        }))
    }

    async fn read_whole(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(head) = self.store.head(name).await? else {
            return Ok(None);
        };
        let bytes = self.store.read(name, &head, 0..head.bytes).await?;
        let pieces: Vec<Bytes> = bytes.try_collect().await?;
        Ok(Some(pieces.concat()))
    }

    fn name(&self, extension: &str) -> String {
        format!("{}.{extension}", self.id)
    }
}

fn uploaded_headers() -> MediaHeaders {
    MediaHeaders {
        content_type: "application/octet-stream".to_owned(),
        content_disposition: "attachment; filename=\"uploaded\"".to_owned(),
    }
}

/// Returns other headers than those of the upload, in the form that downloads have.
fn overriding_headers() -> MediaHeaders {
    MediaHeaders {
        content_type: "text/csv; charset=utf-8; header=present".to_owned(),
        content_disposition: "attachment; filename=\"probe.csv\"; filename*=UTF-8''pr%C3%B6be.csv"
            .to_owned(),
    }
}

fn equal(read: Option<&[u8]>, written: &[u8]) -> Result<(), Problem> {
    if read == Some(written) {
        return Ok(());
    }
    let text = match read {
        Some(_) => "another content is read back; check what is between here and the store",
        None => {
            "it is not there after its upload; use a store that shows an object when it is uploaded"
        }
    };
    Err(Problem::Failed(text.to_owned()))
}

fn failed(error: &StoreError, advice: &str) -> Problem {
    Problem::Failed(format!("{}; {advice}", causes(error)))
}
