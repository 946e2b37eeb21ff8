//! Objects in a store: Amazon S3 and compatible ones, Google Cloud Storage, Azure Blob Storage, or a local directory. Knows
//! neither links nor formats.

mod connect;
mod upload;

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResultPayload, ObjectStore,
    ObjectStoreExt as _, PutMode, PutOptions,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use connect::{Service, StoreUrl};
pub use upload::{PART_BYTES, Upload};

/// The longest time that a request for the head of an object, or for a small one, may take. A download waits for it.
const SMALL_MAX: Duration = Duration::from_secs(5);

/// The value of `Cache-Control` that a presigned URL asks for: only its reader may have the file.
pub const CACHE_OVERRIDE: &str = "private, no-store";

/// The longest key in bytes: that of S3.
const KEY_BYTES_MAX: usize = 1024;

/// How much of a file in a directory is read at a time.
const READ_BYTES: u64 = 512 * 1024;
/// How many pieces of a file wait to be sent.
const READ_AHEAD: usize = 2;

/// A store, and the prefix of all names in it.
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// `None` for a directory.
    signer: Option<Arc<dyn Signer>>,
    has_attributes: bool,
    signs_overrides: bool,
    prefix: Path,
}

/// An object, as a request for its head tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its length in bytes.
    pub bytes: u64,
    /// The store's entity tag, which changes with the content.
    pub e_tag: Option<String>,
}

impl ObjectHead {
    /// Tells whether one of these entity tags, separated by commas, is that of the store.
    #[must_use]
    pub fn has_tag(&self, entity_tags: &str) -> bool {
        let own = self.e_tag.as_deref();
        entity_tags.split(',').any(|tag| Some(tag.trim()) == own)
    }
}

/// How browsers treat an object.
#[derive(Debug, Clone)]
pub struct MediaHeaders {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The value of `Content-Disposition`.
    pub content_disposition: String,
}

/// The bytes of an object, or of a part of it.
pub type ObjectBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// Why a request to a store failed. The messages are for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There was no answer in time.
    #[error("the store did not answer in time")]
    TimedOut,
    /// The object is no longer there, or was replaced.
    #[error("the object has changed")]
    Changed,
    /// The file is larger than an object may be.
    #[error("the file is larger than an object may be")]
    TooLarge,
    /// The store refused the request, or was not reached.
    #[error("the store refused the request, or was not reached: {0}")]
    Failed(String),
}

impl Store {
    /// Returns the object with this name, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the request fails.
    pub async fn head(&self, name: &str) -> Result<Option<ObjectHead>, StoreError> {
        let path = self.path(name);
        let found = within_small_max(self.objects.head(&path)).await?;
        Ok(found.map(|meta| ObjectHead {
            bytes: meta.size,
            e_tag: meta.e_tag,
        }))
    }

    /// Returns the content of a small object, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the request fails.
    pub async fn read_small(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(name);
        within_small_max(async { self.objects.get(&path).await?.bytes().await }).await
    }

    /// Writes a small object. Replaces another one with its name.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it may not have been written.
    pub async fn write_small(&self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        let path = self.path(name);
        let written = within_small_max(self.objects.put(&path, content.into())).await?;
        written.map(drop).ok_or(StoreError::Changed)
    }

    /// Creates a small object; returns whether there was none with its name. Some stores replace it nevertheless.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the request fails.
    pub async fn create_small(&self, name: &str, content: Vec<u8>) -> Result<bool, StoreError> {
        let path = self.path(name);
        let options = PutOptions::from(PutMode::Create);
        let created = self.objects.put_opts(&path, content.into(), options);
        match in_time(created).await? {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts to read a part of an object, unless it has changed.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it cannot be read; its stream returns the same errors.
    pub async fn read(
        &self,
        name: &str,
        head: &ObjectHead,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let path = self.path(name);
        let bytes = range.end - range.start;
        let options = GetOptions {
            if_match: head.e_tag.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let found = in_time(self.objects.get_opts(&path, options)).await?;
        let found = found.map_err(changed)?;
        if found.range != range {
            return Err(StoreError::Changed);
        }
        match found.payload {
            GetResultPayload::Stream(stream) => {
                Ok(stream.map(|next| next.map_err(changed)).boxed())
            }
            // Its stream would read 8 KiB at a time.
            GetResultPayload::File(file, _) => Ok(read_ahead(file, range.start, bytes)),
        }
    }

    /// Starts to upload an object. It appears under its name only when the upload is complete.
    #[must_use]
    pub fn upload(&self, name: &str, headers: &MediaHeaders) -> Upload {
        let mut attributes = Attributes::new();
        if self.has_attributes {
            let content_type = headers.content_type.clone();
            attributes.insert(Attribute::ContentType, content_type.into());
            let disposition = headers.content_disposition.clone();
            attributes.insert(Attribute::ContentDisposition, disposition.into());
        }
        Upload::new(self.objects.clone(), self.path(name), attributes)
    }

    /// Returns a URL by which anyone can read the object for this long; `None` if the store has none. `parameters` are
    /// added to it for the store's own log.
    ///
    /// # Errors
    /// Returns [`StoreError`] if there are no credentials.
    pub async fn presigned_url(
        &self,
        name: &str,
        headers: &MediaHeaders,
        lifetime: Duration,
        parameters: &[(&str, &str)],
    ) -> Result<Option<String>, StoreError> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let path = self.path(name);
        if !self.signs_overrides {
            // Azure: the object has its headers since its upload, and other parameters are not signed.
            let signed = signer.signed_url(Method::GET, &path, lifetime);
            let mut url = in_time(signed).await??;
            url.query_pairs_mut().extend_pairs(parameters);
            return Ok(Some(url.into()));
        }
        let overrides = [
            ("response-content-type", headers.content_type.as_str()),
            ("response-content-disposition", &headers.content_disposition),
            ("response-cache-control", CACHE_OVERRIDE),
        ];
        let query = overrides.iter().chain(parameters);
        let options = SignedUrlOptions::new().with_query(query.copied());
        let signed = signer.signed_url_opts(Method::GET, &path, lifetime, &options);
        Ok(Some(in_time(signed).await??.into()))
    }

    /// Tells whether a presigned URL decides the headers of its response. Otherwise they are those of the upload.
    #[must_use]
    pub fn signs_overrides(&self) -> bool {
        self.signs_overrides
    }

    /// Returns the path of an object, which is always below the prefix: names of documents were checked by [`check_key`], and
    /// what is nevertheless no key gets escapes.
    fn path(&self, name: &str) -> Path {
        let name = Path::parse(name).unwrap_or_else(|_| Path::from(name));
        self.prefix.parts().chain(name.parts()).collect()
    }
}

/// Checks the key of an object that another program has written: relative to the store's prefix, and with one spelling.
///
/// # Errors
/// Returns what was expected.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err("expected a key of 1 to 1024 bytes");
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("expected a key without a `/` at its start or end, `//`, `.` and `..`");
    }
    match Path::parse(key) {
        Ok(path) if path.as_ref() == key && !key.chars().any(char::is_control) => Ok(()),
        _ => Err("expected a key without control characters"),
    }
}

/// Waits for a request; returns `None` if its object does not exist.
async fn within_small_max<T>(
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<Option<T>, StoreError> {
    match in_time(request).await? {
        Ok(found) => Ok(Some(found)),
        // Only the body of the response tells it from a missing object.
        Err(object_store::Error::NotFound { source, .. })
            if source.to_string().contains("NoSuchBucket") =>
        {
            Err(StoreError::Failed("NoSuchBucket".to_owned()))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for a request for which a download waits.
async fn in_time<T>(request: impl Future<Output = T>) -> Result<T, StoreError> {
    let answer = timeout(SMALL_MAX, request).await;
    answer.map_err(|_| StoreError::TimedOut)
}

/// Returns some bytes of a file, which a thread reads while earlier ones are sent.
fn read_ahead(mut file: File, start: u64, bytes: u64) -> ObjectBytes {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    spawn_blocking(move || {
        let mut left = bytes;
        let mut sought = file.seek(SeekFrom::Start(start)).map(drop);
        while left > 0 {
            let length = left.min(READ_BYTES);
            let mut piece = vec![0; length as usize];
            let read = sought.and_then(|()| file.read_exact(&mut piece));
            let is_read = read.is_ok();
            let sent = sender.blocking_send(read.map(|()| Bytes::from(piece)).map_err(io_error));
            if sent.is_err() || !is_read {
                return;
            }
            sought = Ok(());
            left -= length;
        }
    });
    let next = |mut receiver: mpsc::Receiver<_>| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    };
    stream::unfold(receiver, next).boxed()
}

fn io_error(error: std::io::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// Returns the error of a request for an object that was there.
fn changed(error: object_store::Error) -> StoreError {
    match error {
        object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. } => {
            StoreError::Changed
        }
        error => error.into(),
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> StoreError {
        StoreError::Failed(without_body(&error.to_string()))
    }
}

/// Returns a message without the body of the store's response, of which only the code is left: it may repeat the request with
/// its credentials.
fn without_body(message: &str) -> String {
    let start = message.find("<?xml").or_else(|| message.find("<Error"));
    let Some(start) = start else {
        return message.to_owned();
    };
    let (before, body) = message.split_at(start);
    [before, error_code(body).unwrap_or("no code")].concat()
}

/// Returns the code in the body of a store's error.
#[must_use]
pub fn error_code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    rest.split("</Code>").next()
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_the_prefix() {
        let url = StoreUrl::parse("s3://bucket/a/b").expect("a URL");
        let store = url.connect([]).expect("a store");
        for key in [
            "x",
            "x/y.pdf",
            "Ä ö/ü%2F..;?#*.pdf",
            "..x/...",
            "%2e%2e/x",
            "x\\y",
        ] {
            assert_eq!(check_key(key), Ok(()), "{key}");
            assert_eq!(store.path(key).as_ref(), format!("a/b/{key}"));
        }
        let long = "x".repeat(1025);
        for key in [
            "", "/", "/x", "x/", "x//y", ".", "..", "../x", "x/../y", "x/./y", "x\n", "\u{85}",
            &long,
        ] {
            assert!(check_key(key).is_err(), "{key:?}");
            let path = store.path(key).to_string();
            let is_below = path == "a/b" || path.starts_with("a/b/");
            assert!(is_below && !path.contains("../"), "{path}");
        }
    }

    #[test]
    fn a_message_has_the_code_of_a_response_and_not_its_body() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
                    <AWSAccessKeyId>AKID</AWSAccessKeyId><CanonicalRequest>x-amz-security-token:secret\
                    </CanonicalRequest></Error>";
        for (message, expected) in [
            (
                format!("status 403: {body}"),
                "status 403: SignatureDoesNotMatch",
            ),
            (
                "status 403: <Error><Key>secret".to_owned(),
                "status 403: no code",
            ),
            ("connection refused".to_owned(), "connection refused"),
        ] {
            assert_eq!(without_body(&message), expected);
        }
    }
}
