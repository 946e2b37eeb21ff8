//! Exports whose files are stored: uploaded while they are streamed, then served from the store.

use std::time::Duration;

use rowlink::spool::Spool;
use rowlink::store::{Store, StoreUrl};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::object_store::ObjectStore;
use crate::harness::{Answer, Call, TestServer, metric, wait_for};

/// A store for one test.
struct Subject {
    url: StoreUrl,
    environment: Vec<(String, String)>,
    redirects: bool,
    _folder: Option<TempDir>,
}

fn s3(store: &ObjectStore, bucket: &str) -> Subject {
    let environment = store.bucket(bucket);
    Subject {
        url: StoreUrl::parse(&environment[0].1).unwrap(),
        environment,
        redirects: true,
        _folder: None,
    }
}

fn servers(bucket: &str) -> [Subject; 2] {
    let stores = [ObjectStore::seaweedfs(), ObjectStore::juicefs()];
    stores.map(|store| s3(store, bucket))
}

fn directory() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    Subject {
        url: StoreUrl::parse(&format!("file://{}", folder.path().display())).unwrap(),
        environment: Vec::new(),
        redirects: false,
        _folder: Some(folder),
    }
}

/// Defines each test for a directory, and for the servers with a bucket of this name.
macro_rules! store_tests {
    ($($name:ident in $bucket:literal;)*) => {
        mod directory {
            $(
                #[test]
                fn $name() {
                    super::$name(super::directory());
                }
            )*
        }

        mod servers {
            $(
                #[test]
                #[ignore = "needs object stores: make test"]
                fn $name() {
                    super::servers($bucket).into_iter().for_each(super::$name);
                }
            )*
        }
    };
}

impl Subject {
    fn store(&self) -> Store {
        self.url.connect(self.environment.clone()).unwrap()
    }

    /// Serves an export whose rows differ each time, with these settings of its store.
    fn serve(&self, settings: &str) -> Replica {
        let sql = format!(
            "/*---\nformats = ['csv', 'xlsx', 'ndjson', 'json', 'tsv', 'parquet']\n[filters.below]\ntype = 'integer'\n\
             default = 60000\n[store]\n{settings}\n---*/\n\
             with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
             select i as n, hex(randomblob(30)) as word from m where :user <> ''"
        );
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::with(|deployment| {
            deployment.exports = vec![("it.sql", &sql)];
            deployment.spool = Some(Spool::new(folder.path().to_owned(), 1 << 30));
            deployment.store = Some(self.store());
        });
        Replica {
            server,
            _folder: folder,
        }
    }
}

/// A server with a store.
struct Replica {
    server: TestServer,
    _folder: TempDir,
}

impl Replica {
    fn link(&self, fields: Value) -> String {
        let mut request = json!({"export": "it", "format": "csv", "expires_in": 600});
        let fields = fields.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(fields);
        self.server.link(request)
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.server.origin, name)
    }

    fn uploads(&self, format: &str, outcome: &str) -> u64 {
        let labels = format!("export=\"it\",format=\"{format}\",outcome=\"{outcome}\"");
        self.metric(&format!("rowlink_uploads_total{{{labels}}} "))
    }

    fn queries(&self) -> u64 {
        self.metric("rowlink_download_database_seconds_count ")
    }

    fn wait_for_upload(&self, format: &str) {
        wait_for("an upload", Duration::from_secs(20), || {
            self.uploads(format, "complete") > 0
        });
    }
}

/// Downloads a file, from the store if the answer leads there.
fn fetch(url: &str) -> Answer {
    let answer = Call::new("GET", url).send();
    match answer.status {
        303 => Call::new("GET", answer.header("location")).send_elsewhere(),
        _ => answer,
    }
}

store_tests! {
    the_first_download_is_uploaded_and_later_ones_are_the_same_file_without_a_query in "first";
}

fn the_first_download_is_uploaded_and_later_ones_are_the_same_file_without_a_query(store: Subject) {
    for format in ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"] {
        let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
        let first = fetch(&replica.link(json!({"format": format})));
        assert_eq!(first.status, 200);
        replica.wait_for_upload(format);
        for _ in 0..3 {
            let again = Call::new("GET", replica.link(json!({"format": format}))).send();
            assert_eq!(again.status == 303, store.redirects);
            let again = match again.status {
                303 => Call::new("GET", again.header("location")).send_elsewhere(),
                _ => again,
            };
            assert_eq!(again.status, 200, "{}", again.text());
            assert!(again.body == first.body, "{format}");
            for name in ["content-type", "content-disposition"] {
                assert_eq!(again.header(name), first.header(name));
            }
            assert_eq!(again.header("content-length"), again.body.len().to_string());
        }
        assert_eq!(replica.queries(), 1);
    }
}
