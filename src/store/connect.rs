//! From a URL to a store.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, RetryConfig};
use rustls::crypto::ring;
use url::Url;

use super::{Store, StoreError};

/// The longest time until a response begins, also that of a part of an upload, and then without a byte of it.
const READ_MAX: &str = "30s";
/// The longest time of a request with its response, which may be a file for a slow reader.
const REQUEST_MAX: &str = "24h";
/// The longest time that a request is tried again.
const RETRY_MAX: Duration = Duration::from_secs(20);

/// The URL of a store. It holds no credentials: they come from the environment variables of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    service: Service,
    bucket: String,
    /// Of all names, without slashes at its ends. For a directory its whole path.
    prefix: String,
}

/// The service that keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, or a compatible store.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// A local directory.
    Directory,
}

const SCHEMES: [(&str, Service); 4] = [
    ("s3", Service::S3),
    ("gs", Service::Gcs),
    ("az", Service::Azure),
    ("file", Service::Directory),
];
const EXPECTED: &str =
    "expected s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///PATH";

impl StoreUrl {
    /// Parses `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `file:///PATH`.
    ///
    /// # Errors
    /// Returns what was expected, never a part of the URL.
    pub fn parse(text: &str) -> Result<StoreUrl, String> {
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let service = SCHEMES.iter().find(|(scheme, _)| *scheme == url.scheme());
        let (_, service) = *service.ok_or(EXPECTED)?;
        if !url.username().is_empty() || url.password().is_some() {
            let expected = "expected no login in the URL; credentials come from the platform's own variables, such as \
                            AWS_ACCESS_KEY_ID";
            return Err(expected.into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("expected no query and no fragment".into());
        }
        let bucket = url.host_str().unwrap_or_default().to_owned();
        let path = url.path().trim_matches('/');
        let fits = match service {
            Service::Directory => bucket.is_empty() && !path.is_empty(),
            _ => !bucket.is_empty(),
        };
        if !fits {
            return Err(EXPECTED.into());
        }
        // Other characters break the signed URLs of some stores.
        let is_simple = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
        let has_dots = path
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..");
        let is_prefix = path.is_empty() || (path.chars().all(is_simple) && !has_dots);
        if service != Service::Directory && !is_prefix {
            return Err("expected a prefix of A-Z a-z 0-9 . _ - and single slashes".into());
        }
        let prefix = match service {
            Service::Directory => {
                let path = url.to_file_path().map_err(|()| EXPECTED)?;
                path.to_str().ok_or(EXPECTED)?.to_owned()
            }
            _ => path.to_owned(),
        };
        Ok(StoreUrl {
            service,
            bucket,
            prefix,
        })
    }

    /// Returns the service that keeps the objects.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service
    }

    /// Returns the bucket, or the container in Azure. Empty for a directory.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the prefix of all names, without slashes at its ends. For a directory its whole path.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the name of an object within its bucket, or the path of its file.
    #[must_use]
    pub fn full_name(&self, name: &str) -> String {
        match self.prefix() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// Returns the store. Its credentials, region and endpoint are in the variables that the platform's own tools read,
    /// such as `AWS_ACCESS_KEY_ID`. Nothing is sent to it yet.
    ///
    /// # Errors
    /// Returns [`StoreError`] if a variable is invalid, or the directory does not exist.
    pub fn connect(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Store, StoreError> {
        // An error means that there is a provider already.
        let _ = ring::default_provider().install_default();
        let bucket = self.bucket.as_str();
        match self.service {
            Service::S3 => {
                let builder = AmazonS3Builder::new().with_retry(retries());
                let set = AmazonS3Builder::with_config;
                let builder = configured(builder, "aws_", environment, set);
                // The environment may name the bucket of another program.
                Ok(self.signing(builder.with_bucket_name(bucket).build()?, true))
            }
            Service::Gcs => {
                let builder = GoogleCloudStorageBuilder::new().with_retry(retries());
                let set = GoogleCloudStorageBuilder::with_config;
                let builder = configured(builder, "google_", environment, set);
                Ok(self.signing(builder.with_bucket_name(bucket).build()?, true))
            }
            Service::Azure => {
                let builder = MicrosoftAzureBuilder::new().with_retry(retries());
                let set = MicrosoftAzureBuilder::with_config;
                let builder = configured(builder, "azure_", environment, set);
                Ok(self.signing(builder.with_container_name(bucket).build()?, false))
            }
            Service::Directory => {
                let objects = LocalFileSystem::new_with_prefix(PathBuf::from(&self.prefix))?;
                Ok(Store {
                    objects: Arc::new(objects),
                    signer: None,
                    has_attributes: false,
                    signs_overrides: false,
                    prefix: Path::default(),
                })
            }
        }
    }

    fn signing<S: ObjectStore + Signer>(&self, objects: S, signs_overrides: bool) -> Store {
        let objects = Arc::new(objects);
        Store {
            objects: objects.clone(),
            signer: Some(objects),
            has_attributes: true,
            signs_overrides,
            prefix: Path::from(self.prefix.as_str()),
        }
    }
}

/// Sets the limits of requests, then what the environment says under a prefix. Unknown variables are of other tools.
fn configured<B, K>(
    mut builder: B,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    set: impl Fn(B, K, String) -> B,
) -> B
where
    K: FromStr,
{
    let limits = [("timeout", REQUEST_MAX), ("read_timeout", READ_MAX)];
    let limits = limits.map(|(name, value)| (format!("{prefix}{name}"), value.to_owned()));
    let environment = environment.into_iter();
    let environment = environment.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let named = environment.filter(|(name, _)| name.starts_with(prefix));
    for (name, value) in limits.into_iter().chain(named) {
        if let Ok(key) = name.parse() {
            builder = set(builder, key, value);
        }
    }
    builder
}

/// By default a request is tried ten times within three minutes; a download cannot wait for that.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 3,
        retry_timeout: RETRY_MAX,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_below_the_prefix() {
        for (url, expected) in [
            ("s3://files", "a.csv"),
            ("s3://files/rowlink/prod/", "rowlink/prod/a.csv"),
            ("file:///srv/a%20b", "/srv/a b/a.csv"),
        ] {
            let url = StoreUrl::parse(url).expect("a URL");
            assert_eq!(url.full_name("a.csv"), expected);
        }
    }

    #[test]
    fn a_url_names_a_bucket_and_a_prefix_and_no_login() {
        for (text, service, bucket, prefix) in [
            ("s3://files", Service::S3, "files", ""),
            ("s3://files/", Service::S3, "files", ""),
            (
                "s3://files/rowlink/prod/",
                Service::S3,
                "files",
                "rowlink/prod",
            ),
            ("gs://files/a", Service::Gcs, "files", "a"),
            ("az://files/a", Service::Azure, "files", "a"),
            (
                "file:///var/lib/rowlink",
                Service::Directory,
                "",
                "/var/lib/rowlink",
            ),
            ("file:///srv/a%20b", Service::Directory, "", "/srv/a b"),
        ] {
            let expected = StoreUrl {
                service,
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            };
            assert_eq!(StoreUrl::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "files",
            "s3:files",
            "s3:///files",
            "file://host/path",
            "file:///",
            "https://files.s3.amazonaws.com",
            "s3://key:secret@files",
            "s3://files?region=eu",
            "s3://files#a",
            "s3://files/a//b",
            "s3://files/a b",
            "s3://files/ä",
        ] {
            assert!(StoreUrl::parse(text).is_err(), "{text}");
        }
    }
}
