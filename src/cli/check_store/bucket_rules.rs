//! The rules that an operator sets in a bucket, to paste. `docs/storage.md` has the same.

use std::fmt;

use crate::store::{Service, StoreUrl};

/// A rule.
pub(super) struct BucketRule {
    /// What it is for.
    about: &'static str,
    /// The content of the file that the command names, if it names one.
    file: Option<String>,
    command: String,
}

const LIFECYCLE: &str = "Lifecycle rule, which removes old files and parts of broken uploads. The command replaces all \
                         such rules, so add others to lifecycle.json:";
const CORS: &str = "CORS rule, for scripts that fetch stored files. The command replaces all such rules, so add others \
                    to cors.json:";
const CORS_COMMAND: &str = "CORS rule of the account, for scripts that fetch stored files:";
const CLEANING: &str =
    "A directory has no lifecycle rule. Run this every hour to remove old files:";

const S3_LIFECYCLE: &str = r#"{"Rules": [
  {"ID": "rowlink", "Status": "Enabled", "Filter": {"Prefix": "{prefix}"}, "Expiration": {"Days": 1},
   "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
]}"#;
const S3_LIFECYCLE_COMMAND: &str = "aws s3api put-bucket-lifecycle-configuration --bucket {bucket} \
                                    --lifecycle-configuration file://lifecycle.json";
const S3_CORS: &str = r#"{"CORSRules": [
  {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "HEAD"], "AllowedHeaders": ["Range", "If-Range"],
   "ExposeHeaders": ["Content-Length", "Content-Range", "Content-Disposition", "ETag", "Accept-Ranges"], "MaxAgeSeconds": 3600}
]}"#;
const S3_CORS_COMMAND: &str =
    "aws s3api put-bucket-cors --bucket {bucket} --cors-configuration file://cors.json";

const GCS_LIFECYCLE: &str = r#"{"rule": [
  {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["{prefix}"]}},
  {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1, "matchesPrefix": ["{prefix}"]}}
]}"#;
const GCS_LIFECYCLE_COMMAND: &str =
    "gcloud storage buckets update gs://{bucket} --lifecycle-file=lifecycle.json";
/// Google compares the headers of a preflight request with `responseHeader` too.
const GCS_CORS: &str = r#"[
  {"origin": ["*"], "method": ["GET", "HEAD"], "maxAgeSeconds": 3600, "responseHeader":
    ["Content-Length", "Content-Range", "Content-Disposition", "ETag", "Accept-Ranges", "Range", "If-Range"]}
]"#;
const GCS_CORS_COMMAND: &str = "gcloud storage buckets update gs://{bucket} --cors-file=cors.json";

/// Azure removes parts of broken uploads itself after a week.
const AZURE_LIFECYCLE: &str = r#"{"rules": [
  {"enabled": true, "name": "rowlink", "type": "Lifecycle", "definition": {
    "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 1}}},
    "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["{bucket}/{prefix}"]}}}
]}"#;
const AZURE_LIFECYCLE_COMMAND: &str = "az storage account management-policy create --account-name ACCOUNT \
                                       --resource-group GROUP --policy @lifecycle.json";
const AZURE_CORS_COMMAND: &str = "az storage cors add --account-name ACCOUNT --services b --origins '*' --methods GET HEAD \\
    --allowed-headers range if-range --max-age 3600 \\
    --exposed-headers content-length content-range content-disposition etag accept-ranges";

/// Returns the rules for a store.
pub(super) fn rules(url: &StoreUrl) -> Vec<BucketRule> {
    let rule = |about, file: &str, command: &str| BucketRule {
        about,
        file: (!file.is_empty()).then(|| filled(file, url)),
        command: filled(command, url),
    };
    match url.service() {
        Service::S3 => vec![
            rule(LIFECYCLE, S3_LIFECYCLE, S3_LIFECYCLE_COMMAND),
            rule(CORS, S3_CORS, S3_CORS_COMMAND),
        ],
        Service::Gcs => vec![
            rule(LIFECYCLE, GCS_LIFECYCLE, GCS_LIFECYCLE_COMMAND),
            rule(CORS, GCS_CORS, GCS_CORS_COMMAND),
        ],
        Service::Azure => vec![
            rule(LIFECYCLE, AZURE_LIFECYCLE, AZURE_LIFECYCLE_COMMAND),
            rule(CORS_COMMAND, "", AZURE_CORS_COMMAND),
        ],
        Service::Directory => vec![rule(
            CLEANING,
            "",
            "find '{directory}' -type f -mmin +1440 -delete",
        )],
    }
}

/// Fills the names in. A bucket and a prefix have no braces.
fn filled(text: &str, url: &StoreUrl) -> String {
    if url.service() == Service::Directory {
        let directory = url.prefix().replace('\'', r"'\''");
        return text.replace("{directory}", &directory);
    }
    text.replace("{bucket}", url.bucket())
        .replace("{prefix}", &url.full_name(""))
        // Without a prefix: of all objects.
        .replace(r#", "matchesPrefix": [""]"#, "")
}

impl fmt::Display for BucketRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.about)?;
        if let Some(file) = &self.file {
            writeln!(f, "{file}\n")?;
        }
        writeln!(f, "$ {}", self.command)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::cors::EXPOSED;
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/storage.md");

    fn rules_of(url: &str) -> Vec<BucketRule> {
        rules(&StoreUrl::parse(url).expect("a URL"))
    }

    #[test]
    fn the_document_has_the_rules_that_are_printed() {
        for url in [
            "s3://shop-exports/rowlink",
            "gs://shop-exports/rowlink",
            "az://shop-exports/rowlink",
            "file:///srv/rowlink",
        ] {
            for rule in rules_of(url) {
                let file = rule.file.as_deref().unwrap_or_default();
                assert!(DOCUMENT.contains(file), "{url}: {file}");
                let command = format!("$ {}\n", rule.command);
                assert!(DOCUMENT.contains(&command), "{url}: {command}");
            }
        }
    }

    #[test]
    fn a_rule_names_the_bucket_and_only_the_prefix() {
        for (url, pointer, expected) in [
            ("s3://files/a/b", "/Rules/0/Filter/Prefix", Some("a/b/")),
            ("s3://files", "/Rules/0/Filter/Prefix", Some("")),
            (
                "gs://files/a",
                "/rule/1/condition/matchesPrefix/0",
                Some("a/"),
            ),
            ("gs://files", "/rule/1/condition/matchesPrefix/0", None),
            (
                "az://files/a",
                "/rules/0/definition/filters/prefixMatch/0",
                Some("files/a/"),
            ),
            (
                "az://files",
                "/rules/0/definition/filters/prefixMatch/0",
                Some("files/"),
            ),
        ] {
            let lifecycle = &rules_of(url)[0];
            let file = lifecycle.file.as_deref().expect("a file");
            let file: Value = serde_json::from_str(file).expect("JSON");
            let prefix = file.pointer(pointer).and_then(Value::as_str);
            assert_eq!(prefix, expected, "{url}");
            assert!(url.starts_with("az") || lifecycle.command.contains("files"));
        }
        let directory = &rules_of("file:///srv/it's")[0];
        assert!(directory.command.starts_with(r"find '/srv/it'\''s' "));
    }

    #[test]
    fn the_headers_that_are_checked_are_those_of_the_rule() {
        for (url, pointer) in [
            ("s3://files", "/CORSRules/0/ExposeHeaders"),
            ("gs://files", "/0/responseHeader"),
        ] {
            let file = rules_of(url)[1].file.clone().expect("a file");
            let file: Value = serde_json::from_str(&file).expect("JSON");
            let listed = file.pointer(pointer).and_then(Value::as_array);
            let listed = listed.expect("a list").iter().filter_map(Value::as_str);
            let listed: Vec<&str> = listed.take(EXPOSED.len()).collect();
            assert_eq!(listed, EXPOSED, "{url}");
        }
    }
}
