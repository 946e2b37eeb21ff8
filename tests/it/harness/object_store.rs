//! Object stores with the interface of S3, started as an unprivileged user and stopped by a supervising shell.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::command::{own_by_postgres, run, unprivileged};
use super::{tool, wait_for};

const ACCESS_KEY: &str = "AKIDTEST";
const SECRET_KEY: &str = "secret of the tests";

/// A store. It stops when this value is dropped or the test process ends.
pub struct ObjectStore {
    kind: Kind,
    ports: Vec<u16>,
    folder: PathBuf,
    supervisor: Child,
    _owned: Option<TempDir>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Has all that Rowlink uses.
    SeaweedFs,
    /// Replaces objects where a request asks to create them, and has no rules for buckets.
    JuiceFs,
}

/// Runs the server until standard input is closed, which happens even if the tests are killed. SIGTERM would take 15 s.
/// SeaweedFS names its sockets by its ports, and a kill leaves them.
const SUPERVISOR: &str = r#"
folder=$1 ports=$2 shared=$3
shift 3
"$@" >>"$folder/log" 2>&1 &
echo $! >"$folder/pid"
read -r _
kill -9 $!
wait $! 2>/dev/null
for port in $ports; do rm -f /tmp/seaweedfs-*-grpc-"$port".sock; done
[ -z "$shared" ] || rm -rf "$folder"
"#;

impl ObjectStore {
    /// Returns the SeaweedFS that tests share. Each test creates its own bucket.
    pub fn seaweedfs() -> &'static ObjectStore {
        static SHARED: OnceLock<ObjectStore> = OnceLock::new();
        SHARED.get_or_init(|| ObjectStore::shared(Kind::SeaweedFs))
    }

    /// Returns the JuiceFS that tests share.
    pub fn juicefs() -> &'static ObjectStore {
        static SHARED: OnceLock<ObjectStore> = OnceLock::new();
        SHARED.get_or_init(|| ObjectStore::shared(Kind::JuiceFs))
    }

    /// Starts a SeaweedFS for one test.
    pub fn start() -> ObjectStore {
        let folder = prepare();
        let mut store = ObjectStore::start_in(Kind::SeaweedFs, folder.path(), "");
        store._owned = Some(folder);
        store
    }

    fn shared(kind: Kind) -> ObjectStore {
        ObjectStore::start_in(kind, &prepare().keep(), "shared")
    }

    fn start_in(kind: Kind, folder: &Path, shared: &str) -> ObjectStore {
        let ports: Vec<u16> = (0..8).map(|_| port_that_stays_free()).collect();
        if kind == Kind::JuiceFs {
            let mut format = unprivileged(&tool("juicefs"));
            format.args([
                "format",
                "--storage",
                "file",
                "--trash-days",
                "0",
                "--bucket",
            ]);
            format
                .arg(folder.join("data/"))
                .arg(database(folder))
                .arg("files");
            run(format.env("HOME", folder));
        }
        let store = ObjectStore {
            kind,
            supervisor: spawn(kind, folder, &ports, shared),
            ports,
            folder: folder.to_owned(),
            _owned: None,
        };
        store.wait();
        store
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().unwrap();
    }

    /// Starts a server that was killed again, with its objects.
    pub fn restart(&mut self) {
        self.supervisor = spawn(self.kind, &self.folder, &self.ports, "");
        self.wait();
    }

    /// Stops the process without closing its sockets.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.folder.join("pid")).unwrap();
        run(Command::new("kill").args([signal, pid.trim()]));
    }

    fn wait(&self) {
        let path = match self.kind {
            Kind::SeaweedFs => "healthz",
            Kind::JuiceFs => "minio/health/live",
        };
        let url = format!("{}/{path}", self.origin());
        wait_for("an object store", Duration::from_secs(60), || {
            let head = Command::new("curl")
                .args(["-fsS", "-o", "/dev/null", &url])
                .output();
            head.unwrap().status.success()
        });
    }

    /// Returns its origin.
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Creates a bucket; returns the variables with which Rowlink finds it.
    pub fn bucket(&self, name: &str) -> Vec<(String, String)> {
        self.send("PUT", name, &[]);
        self.variables(name)
    }

    /// Returns the variables of a bucket, which may not exist.
    pub fn variables(&self, bucket: &str) -> Vec<(String, String)> {
        let origin = self.origin();
        let variables = [
            ("ROWLINK_STORE_URL", format!("s3://{bucket}/rowlink")),
            ("AWS_ENDPOINT_URL", origin),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    /// Sends a signed request with further arguments of curl; returns the body.
    pub fn send(&self, method: &str, target: &str, arguments: &[&str]) -> String {
        let output = run(Command::new("curl")
            .args([
                "-fsS",
                "-X",
                method,
                "--aws-sigv4",
                "aws:amz:us-east-1:s3",
                "--user",
            ])
            .arg(format!("{ACCESS_KEY}:{SECRET_KEY}"))
            .args(arguments)
            .arg(format!("{}/{target}", self.origin())));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the names of the objects of a bucket.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        let list = self.send("GET", &format!("{bucket}?list-type=2"), &[]);
        texts_of(&list, "Key")
    }

    /// Returns the names of the uploads of a bucket that have not ended.
    pub fn unfinished_uploads(&self, bucket: &str) -> Vec<String> {
        let list = self.send("GET", &format!("{bucket}?uploads="), &[]);
        texts_of(&list, "Key")
    }
}

/// Returns the texts of the elements with this name.
fn texts_of(xml: &str, element: &str) -> Vec<String> {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let pieces = xml.split(&start).skip(1);
    pieces
        .map(|piece| piece.split(&end).next().unwrap().to_owned())
        .collect()
}

/// Returns a free port that no other test gets while the server is down: one that the system does not choose itself.
pub(super) fn port_that_stays_free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (std::process::id() as u16).wrapping_add(count) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn prepare() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("rowlink-store-")
        .tempdir()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let keys = format!(
        r#"{{"identities": [{{"name": "test", "actions": ["Admin"],
             "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}]}}]}}"#
    );
    fs::write(folder.path().join("s3.json"), keys).unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    own_by_postgres(folder.path());
    own_by_postgres(&folder.path().join("data"));
    folder
}

fn database(folder: &Path) -> String {
    format!("sqlite3://{}", folder.join("meta.db").display())
}

fn spawn(kind: Kind, folder: &Path, ports: &[u16], shared: &str) -> Child {
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |texts: &[&str]| arguments.extend(texts.iter().map(|it| it.to_string()));
    let program = match kind {
        Kind::SeaweedFs => {
            let data = folder.join("data").display().to_string();
            add(&[
                "-logtostderr",
                "server",
                "-filer",
                "-s3",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
            ]);
            add(&[
                "-master.telemetry=false",
                "-master.peers=none",
                "-master.volumeSizeLimitMB=64",
            ]);
            add(&["-volume.max=2000", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
            add(&["-s3.autoCreateBucket=false", &format!("-dir={data}")]);
            add(&[&format!("-s3.config={}", folder.join("s3.json").display())]);
            let flags = [
                "s3.port",
                "s3.port.grpc",
                "master.port",
                "master.port.grpc",
                "volume.port",
            ];
            let flags = flags
                .iter()
                .chain(&["volume.port.grpc", "filer.port", "filer.port.grpc"]);
            for (flag, port) in flags.zip(ports) {
                add(&[&format!("-{flag}={port}")]);
            }
            "weed"
        }
        Kind::JuiceFs => {
            let metrics = format!("127.0.0.1:{}", ports[1]);
            add(&[
                "--no-agent",
                "gateway",
                "--no-banner",
                "--multi-buckets",
                "--keep-etag",
            ]);
            add(&[
                "--object-meta",
                "--no-usage-report",
                "--no-bgjob",
                "--backup-meta",
                "0",
            ]);
            add(&[
                "--cache-size",
                "0",
                "--attr-cache",
                "0",
                "--dir-entry-cache",
                "0",
                "--metrics",
            ]);
            add(&[
                &metrics,
                &database(folder),
                &format!("127.0.0.1:{}", ports[0]),
            ]);
            "juicefs"
        }
    };
    let mut server = unprivileged(Path::new("sh"));
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    server.args(["-c", SUPERVISOR, "sh"]).arg(folder);
    server.args([&ports.join(" "), shared]).arg(tool(program));
    server
        .args(arguments)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("MINIO_ROOT_USER", ACCESS_KEY)
        .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.kill();
    }
}
