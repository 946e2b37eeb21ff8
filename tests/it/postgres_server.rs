//! PostgreSQL deployments: roles and policies, TLS, several hosts, a Unix socket, a pooler.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rowlink::auth::JwtRules;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::command::{free_port, own_by_postgres, run, unprivileged};
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::tls::create_certificates;
use crate::harness::{
    API_KEY, Call, Deployment, TestServer, begin, hs256_issuer, sample_database, sqlite_url,
    token_for, wait_for,
};

/// Policies that show users their own notes, in the style of the PostgREST and Supabase manuals.
const POLICIES: &str = "
    create table notes (id int, owner text, org text, note text);
    insert into notes values (1, 'alice', '7', 'hers'), (2, 'bob', '7', 'his'), (3, 'bob', '8', 'other');
    create table open (id int);
    insert into open values (1);
    do $$ begin
        if not exists (select from pg_roles where rolname = 'authenticated') then
            create role authenticated nologin;
        end if;
    end $$;
    grant select on notes, open to authenticated;
    alter table notes enable row level security;
    create policy own on notes for select to authenticated
        using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub'
               or org = current_setting('request.jwt.claims', true)::json ->> 'org_id');
";

const SETTINGS: &str = "/*---\nrole = 'authenticated'\nrow_security = true\n---*/\n";

fn serve(url: &str, exports: &[(&str, &str)]) -> TestServer {
    Deployment::over(url.to_owned(), exports.to_vec()).start()
}

fn text(server: &TestServer, export: &str) -> String {
    server
        .download(json!({"export": export, "format": "csv"}))
        .text()
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn policies_written_for_postgrest_separate_users() {
    let url = Cluster::shared().database("policies", POLICIES);
    let own = format!("{SETTINGS}select id, note from notes order by id");
    let by_org = "/*---\nrole = 'authenticated'\nrow_security = true\nclaims = ['org_id']\n---*/\n\
                  select id from notes order by id";
    let claims = "/*---\nrole = 'authenticated'\n---*/\n\
               select current_user::text as role, current_setting('request.jwt.claims') as claims \
               where :user <> ''";
    let exports = [
        ("own.sql", own.as_str()),
        ("orders.sql", by_org),
        ("by_org.sql", claims),
    ];
    let server = serve(&url, &exports);
    assert_eq!(text(&server, "own"), "id,note\r\n1,hers\r\n");
    let bob = token_for(&json!({"sub": "bob", "exp": server.now() + 60}));
    let request = json!({"export": "own", "format": "csv"});
    let link = server.issue_with(&bob, request).json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        Call::new("GET", link).send().text(),
        "id,note\r\n2,his\r\n3,other\r\n"
    );

    // A claim that the policy reads is pinned into the link; a credential without it is refused.
    let request = json!({"export": "orders", "format": "csv"});
    assert_eq!(
        server.issue(request).problem(),
        (403, "claim-missing".into())
    );
    let for_carol = json!({"export": "orders", "format": "csv", "user": "carol"});
    let answer = server.issue_with(API_KEY, for_carol);
    let link = answer.json()["url"].as_str().unwrap().to_owned();
    assert!(link.contains("rl_claim.org_id=7"));
    assert_eq!(Call::new("GET", link).send().text(), "id\r\n1\r\n2\r\n");
    let expected = "role,claims\r\nauthenticated,\"{\"\"sub\"\":\"\"alice\"\",\"\"role\"\":\"\"authenticated\"\"}\"\r\n";
    assert_eq!(text(&server, "by_org"), expected);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn claims_of_the_token_never_replace_the_user_and_the_role_that_policies_read() {
    let url = Cluster::shared().database("own_claims", POLICIES);
    let sql = format!(
        "{SETTINGS}select id, :claim.sub as sub, :claim.role as role from notes order by id"
    );
    let mut deployment = Deployment::over(url, vec![("own.sql", &sql)]);
    deployment.issuers = vec![hs256_issuer(JwtRules {
        user_claim: "email".into(),
        ..JwtRules::default()
    })];
    let server = deployment.start();
    let token = token_for(&json!({
        "email": "alice", "sub": "bob", "role": "postgres", "exp": server.now() + 60,
    }));
    let request = json!({"export": "own", "format": "csv"});
    let link = server.issue_with(&token, request).json()["url"].clone();
    let file = Call::new("GET", link.as_str().unwrap()).send().text();
    assert_eq!(file, "id,sub,role\r\n1,bob,postgres\r\n");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_export_that_relies_on_policies_is_refused_if_none_applies() {
    let url = Cluster::shared().database("no_policies", POLICIES);
    for (settings, sql, named) in [
        // A superuser bypasses policies; a table has none; a role does not exist.
        (
            "row_security = true",
            "select id from notes",
            "no policy applies",
        ),
        (
            "role = 'authenticated'\nrow_security = true",
            "select id from open",
            "no policy applies",
        ),
        (
            "role = 'nobody_here'\nrow_security = true",
            "select id from notes",
            "nobody_here",
        ),
        (
            "role = 'authenticated'",
            "select id from notes",
            "every caller would get every row",
        ),
        (
            "row_security = true\nunscoped = true",
            "select id from notes",
            "remove one of them",
        ),
        (
            "role = 'authenticated'\nrow_security = true\nclaims = ['org_id', 'sub']",
            "select id from notes",
            "use `:claim.sub`",
        ),
    ] {
        let export = format!("/*---\n{settings}\n---*/\n{sql}");
        let errors = Deployment::over(url.clone(), vec![("it.sql", &export)]).errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("it.sql:") && errors[0].contains(named),
            "{errors:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let sqlite = sqlite_url(&sample_database(folder.path()));
    let errors = Deployment::over(sqlite, vec![("it.sql", SETTINGS)]).errors();
    assert!(
        errors[0].contains("supported only by PostgreSQL"),
        "{errors:?}"
    );
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_session_names_its_export_and_is_read_only() {
    let url = Cluster::shared().database("session", "create table t (id int); create sequence s;");
    let settings = "select current_setting('application_name') as name,
        current_setting('transaction_read_only') as read_only,
        current_setting('transaction_isolation') as isolation,
        current_setting('statement_timeout') as timeout,
        current_setting('idle_in_transaction_session_timeout') as idle
        where :user = 'alice'";
    let write = "select nextval('s') as n where :user = 'alice'";
    let server = serve(&url, &[("settings.sql", settings), ("write.sql", write)]);
    let row = server
        .download(json!({"export": "settings", "format": "csv"}))
        .rows()
        .remove(1);
    assert_eq!(
        row,
        ["rowlink/settings", "on", "repeatable read", "15min", "30s"]
    );
    let link = server.link(json!({"export": "write", "format": "csv"}));
    let answer = Call::new("GET", link).send();
    assert_eq!(answer.problem(), (500, "export-failed".into()));
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_value_that_the_database_rejects_is_named() {
    let url = Cluster::shared().database(
        "rejected_values",
        "create type state as enum ('open'); create table t (id int, state state);",
    );
    let by_user = "select id from t where id = :user";
    let by_state = "/*---\n[filters.state]\ntype = 'text'\n---*/\n\
                    select id from t where :state is null or state = :state and :user <> ''";
    let server = serve(
        &url,
        &[("by_user.sql", by_user), ("by_state.sql", by_state)],
    );
    let fields = |request| {
        let answer = Call::new("GET", server.link(request)).send();
        assert_eq!(answer.problem(), (422, "invalid-values".into()));
        assert!(!answer.text().contains("enum"), "{}", answer.text());
        answer.fields()
    };
    assert_eq!(
        fields(json!({"export": "by_user", "format": "csv"})),
        ["user"]
    );
    let closed = json!({"export": "by_state", "format": "csv", "filters": {"state": "closed"}});
    assert_eq!(fields(closed), ["filters.state"]);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn exports_select_their_database_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Cluster::shared().database("warehouse", "create table t as select 5 as id");
    let here = "select count(*) as n from orders where user_id = :user";
    let there =
        "/*---\ndatabase = 'warehouse'\n---*/\nselect id from t where :user::text = 'alice'";
    let nowhere = "/*---\n\ndatabase = 'nowhere'\n---*/\nselect :user as user";
    let deployment = |exports| {
        let mut deployment = Deployment::over(sqlite_url(&sample_database(folder.path())), exports);
        deployment.databases.push(("warehouse", warehouse.clone()));
        deployment
    };
    let server = deployment(vec![("here.sql", here), ("there.sql", there)]).start();
    assert_eq!(text(&server, "there"), "id\r\n5\r\n");
    assert_eq!(text(&server, "here"), "n\r\n6\r\n");
    let _ = fs::remove_file(folder.path().join("sample.db"));
    wait_for("the outage", Duration::from_secs(5), || {
        let ready = server.call("GET", "/readyz").send();
        ready.status == 200 && ready.json()["silent_databases"] == json!(["default"])
    });
    assert_eq!(text(&server, "there"), "id\r\n5\r\n");
    let errors = deployment(vec![("nowhere.sql", nowhere)]).errors();
    assert_eq!(
        errors,
        [
            "nowhere.sql:3: `database`: unknown database `nowhere`; expected one of default, warehouse"
        ]
    );
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_trace_log_has_no_query_value_even_of_a_failed_query() {
    let url = Cluster::shared().database("logged", "");
    let filter = "/*---\n[filters.text]\ntype = 'text'\n---*/\n";
    let echo = format!("{filter}select :text::text as text, :user::text as user");
    // PostgreSQL quotes the value in its error message.
    let fails = format!("{filter}select to_tsquery(:text)::text as words where :user <> ''");
    let rowlink = Rowlink::serve_with(
        &[("echo.sql", &echo), ("fails.sql", &fails)],
        &[("ROWLINK_DATABASE_URL", &url), ("ROWLINK_LOG", "trace")],
    );
    let open = |export: &str| {
        let filters = json!({"text": "a-private value"});
        let link = rowlink.link(json!({"export": export, "format": "csv", "filters": filters}));
        Call::new("GET", link).send()
    };
    assert!(open("echo").text().contains("a-private value"));
    assert_eq!(open("fails").problem(), (500, "export-failed".into()));
    let log = rowlink.stop();
    assert!(log.contains("download ended"), "{log}");
    assert!(log.contains("SQLSTATE 42601"), "{log}");
    assert!(!log.contains("private"), "{log}");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn the_log_names_the_export_and_the_object_that_is_missing() {
    let cluster = Cluster::shared();
    let url = cluster.database(
        "missing",
        "create table gone (id int); create table kept (id int)",
    );
    let gone = "select id from gone where :user <> ''";
    let rowlink = Rowlink::serve_with(
        &[
            ("gone.sql", gone),
            ("kept.sql", &gone.replace("gone", "kept")),
        ],
        &[("ROWLINK_DATABASE_URL", &url)],
    );
    cluster.psql(
        "missing",
        "drop table gone; alter table kept rename id to number",
    );
    for export in ["gone", "kept"] {
        let link = rowlink.link(json!({"export": export, "format": "csv"}));
        assert_eq!(
            Call::new("GET", link).send().problem(),
            (500, "export-failed".into())
        );
    }
    let log = rowlink.stop();
    let line = |export: &str| {
        let named = format!("export=\"{export}\"");
        let mut lines = log.lines();
        let found = lines.find(|line| line.contains("request failed") && line.contains(&named));
        found.unwrap_or_else(|| panic!("{log}")).to_owned()
    };
    assert!(
        line("gone").contains("gone\\\" does not exist (42P01)"),
        "{log}"
    );
    assert!(
        line("kept").contains("id\\\" does not exist (42703)"),
        "{log}"
    );
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn check_finds_missing_privileges_and_columns_without_names_of_their_own() {
    let cluster = Cluster::shared();
    let url = cluster.database(
        "privileges",
        "create table secret (id int, amount int); create table open (id int, amount int);
         create role clerk login; grant select on open to clerk; grant select (id) on secret to clerk",
    );
    let url = url.replace("postgres@", "clerk@");
    let errors = |sql: &str| {
        let errors = Deployment::over(url.clone(), vec![("it.sql", sql)]).errors();
        errors.join("\n")
    };
    for (sql, expected) in [
        (
            "select *\nfrom secret where :user <> ''",
            "it.sql:1: permission denied for table secret (42501)",
        ),
        (
            "select 1 / :n as n from secret where amount = :n and :user <> ''",
            "it.sql:6: permission denied for table secret",
        ),
        (
            "select a.id, b.id from open a, open b where :user <> ''",
            "it.sql:1: two columns are named `id`: rename one with `as`",
        ),
        (
            "select sum(id), sum(amount) from open where :user <> ''",
            "it.sql:1: two columns are named `sum`: rename one with `as`",
        ),
    ] {
        let filter = match sql.contains(":n") {
            true => "/*---\n[filters.n]\ntype = 'integer'\n\n---*/\n",
            false => "",
        };
        let found = errors(&format!("{filter}{sql}"));
        assert!(found.starts_with(expected), "{found}");
    }
    // A privilege on the column is enough.
    serve(
        &url,
        &[("it.sql", "select id from secret where :user <> ''")],
    );
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_error_of_the_statement_is_not_blamed_on_the_caller() {
    let url = Cluster::shared().database("constant", "");
    let filter = "/*---\n[filters.n]\ntype = 'integer'\nrequired = true\n---*/\n";
    let divided = format!("{filter}select 1 / :n::int as n where :user <> ''");
    let exports = [
        ("constant.sql", "select 1 / 0 as n where :user <> ''"),
        ("divided.sql", divided.as_str()),
    ];
    let rowlink = Rowlink::serve_with(&exports, &[("ROWLINK_DATABASE_URL", &url)]);
    let open = |request: Value| Call::new("GET", rowlink.link(request)).send();
    let constant = open(json!({"export": "constant", "format": "csv"}));
    assert_eq!(constant.problem(), (500, "export-failed".into()));
    // With a filter the value may be the reason.
    let divided = open(json!({"export": "divided", "format": "csv", "filters": {"n": 0}}));
    assert_eq!(divided.problem(), (422, "invalid-values".into()));
    let log = rowlink.stop();
    assert!(log.contains("SQLSTATE 22012"), "{log}");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_value_that_the_encoding_of_the_database_lacks_is_refused() {
    let cluster = Cluster::shared();
    cluster.psql(
        "postgres",
        "create database latin encoding 'LATIN1' locale 'C' template template0",
    );
    let url = cluster.url("latin");
    let filter = "/*---\n[filters.word]\ntype = 'text'\n---*/\n";
    let sql =
        format!("{filter}select 'ä' as word where :user <> '' and (:word is null or :word = 'ä')");
    let all = "/*---\nunscoped = true\n---*/\nselect 'ä' as word";
    let server = serve(&url, &[("it.sql", &sql), ("all.sql", all)]);
    assert_eq!(text(&server, "it"), "word\r\nä\r\n");
    let filters = json!({"word": "日本"});
    let link = server.link(json!({"export": "it", "format": "csv", "filters": filters}));
    let refused = Call::new("GET", link).send();
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["filters.word".to_owned()])
    );
    let token = token_for(&json!({"sub": "日本", "exp": server.now() + 60}));
    for export in ["it", "all"] {
        let issued = server.issue_with(&token, json!({"export": export, "format": "csv"}));
        let refused = Call::new("GET", issued.json()["url"].as_str().unwrap()).send();
        assert_eq!(
            refused.problem(),
            (422, "invalid-values".into()),
            "{export}"
        );
        assert_eq!(refused.fields(), ["user"], "{export}");
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_unix_socket_or_the_first_reachable_host_is_used() {
    let cluster = Cluster::start();
    cluster.database("hosts", "");
    let (port, folder) = (cluster.port(), cluster.path());
    let folder = folder.display().to_string().replace('/', "%2F");
    let closed = free_port();
    let sql = "select pg_is_in_recovery() as standby where :user = 'alice'";
    for url in [
        format!("postgres://postgres@{folder}:{port}/hosts"),
        format!("postgres:///hosts?host={folder}&port={port}&user=postgres"),
        format!("postgres://postgres@127.0.0.1:{closed},127.0.0.1:{port}/hosts"),
        format!("postgres://postgres@localhost:{port}/hosts?target_session_attrs=read-write"),
        format!("postgres://postgres@localhost:{port}/hosts?target_session_attrs=prefer-standby"),
    ] {
        let server = serve(&url, &[("it.sql", sql)]);
        assert_eq!(text(&server, "it"), "standby\r\nfalse\r\n", "{url}");
    }
    for (url, named) in [
        (
            format!("postgres://postgres@127.0.0.1:{closed}/hosts"),
            "refused",
        ),
        (
            format!("postgres://postgres@127.0.0.1:{port}/missing"),
            "does not exist",
        ),
        (
            format!("postgres://postgres@127.0.0.1:{port}/hosts?target_session_attrs=standby"),
            "target_session_attrs",
        ),
    ] {
        let errors = Deployment::over(url, vec![("it.sql", sql)]).errors();
        assert!(errors.len() == 1 && errors[0].contains(named), "{errors:?}");
    }
}

#[test]
#[ignore = "needs PostgreSQL and OpenSSL: make test"]
fn tls_follows_sslmode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    create_certificates(folder.path());
    own_by_postgres(&folder.path().join("server.key"));
    run(Command::new("chmod").arg("755").arg(folder.path()));
    let cluster = Cluster::start_with(&format!(
        "ssl = on\nssl_cert_file = '{path}/server.pem'\nssl_key_file = '{path}/server.key'\n\
         password_encryption = 'scram-sha-256'"
    ));
    cluster.database(
        "tls",
        "create role reader login password 'p@ss/word'; \
         create table numbers as select generate_series(1, 200000) as n; \
         grant select on numbers to reader;",
    );
    // Only with password and TLS, like a hosted database.
    let hba = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\n\
               hostssl all reader 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.path().join("data/pg_hba.conf"), hba).unwrap();
    cluster.control(&["reload"]);

    let port = cluster.port();
    let sql = "select n, (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as tls from numbers \
               where :user = 'alice'";
    let url = |host: &str, options: &str| {
        format!("postgres://reader:p%40ss%2Fword@{host}:{port}/tls?connect_timeout=5&{options}")
    };
    let root = |name: &str| format!("sslrootcert={path}/{name}.pem");
    for (host, options) in [
        ("localhost", "sslmode=prefer".to_owned()),
        (
            "localhost",
            "sslmode=require&channel_binding=require".to_owned(),
        ),
        ("127.0.0.1", format!("sslmode=verify-ca&{}", root("ca"))),
        ("localhost", format!("sslmode=verify-full&{}", root("ca"))),
    ] {
        let server = serve(&url(host, &options), &[("it.sql", sql)]);
        let rows = server
            .download(json!({"export": "it", "format": "csv"}))
            .rows();
        assert_eq!(rows.len(), 200_001, "{host} {options}");
        assert!(
            rows[1..].iter().all(|row| row[1] == "true"),
            "{host} {options}"
        );
    }
    for (host, options, named) in [
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
        (
            "localhost",
            format!("sslmode=verify-ca&{}", root("other")),
            "UnknownIssuer",
        ),
        (
            "localhost",
            format!("sslmode=require&{}", root("other")),
            "UnknownIssuer",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{}", root("ca")),
            "not valid for name",
        ),
        (
            "localhost",
            "sslmode=verify-full".to_owned(),
            "UnknownIssuer",
        ),
    ] {
        let errors = Deployment::over(url(host, &options), vec![("it.sql", sql)]).errors();
        assert!(
            errors.len() == 1 && errors[0].contains(named),
            "{host} {options}: {errors:?}"
        );
        assert!(!errors[0].contains("p@ss"), "{errors:?}");
    }
}

/// PgBouncer in transaction mode, which rotates server connections per transaction.
struct PgBouncer {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl PgBouncer {
    fn before(cluster: &Cluster, database: &str) -> PgBouncer {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "[databases]\n{database} = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1\n\
             logfile = {}/log\n",
            cluster.port(),
            folder.path().display()
        );
        fs::write(folder.path().join("config"), config).unwrap();
        own_by_postgres(folder.path());
        let mut process = unprivileged(Path::new("/usr/sbin/pgbouncer"));
        process.arg("-q").arg(folder.path().join("config"));
        let process = process.stderr(Stdio::null()).spawn().unwrap();
        wait_for("PgBouncer", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        PgBouncer {
            process,
            port,
            _folder: folder,
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer: make test"]
fn behind_pgbouncer_in_transaction_mode_shared_connections_keep_no_state() {
    let cluster = Cluster::start();
    let schema = "create type mood as enum ('sad', 'happy');
                  create table moods as select n, case when n % 2 = 0 then 'sad' else 'happy' end::mood as mood
                  from generate_series(1, 20000) n;";
    cluster.database("pooled", schema);
    let pooler = PgBouncer::before(&cluster, "pooled");
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/pooled?sslmode=disable",
        pooler.port
    );
    let by_mood = "/*---\n[filters.mood]\ntype = 'text'\n---*/\n\
                   select n, mood, current_setting('application_name') as name from moods \
                   where (:mood is null or mood = :mood) and :user = 'alice' order by n";
    let endless =
        "select count(*) as n from (select generate_series(1, 2000000000)) g where :user = 'alice'";
    let exports = [("by_mood.sql", by_mood), ("endless.sql", endless)];
    // Two replicas, whose named statements would collide.
    let servers = [serve(&url, &exports), serve(&url, &exports)];
    for round in 0..10 {
        for server in &servers {
            let mood = ["sad", "happy"][round % 2];
            let request = json!({"export": "by_mood", "format": "csv", "filters": {"mood": mood}});
            let rows = server.download(request).rows();
            assert_eq!(rows.len(), 10_001);
            assert!(
                rows[1..]
                    .iter()
                    .all(|row| row[1] == mood && row[2] == "rowlink/by_mood")
            );
        }
    }
    // Connections keep neither prepared statements nor settings.
    let names = cluster.psql(
        "pooled",
        "select string_agg(application_name, ' ') from pg_stat_activity \
                                       where application_name like 'rowlink/%'",
    );
    assert_eq!(names, "");

    let url = servers[0].link(json!({"export": "endless", "format": "csv"}));
    let stream = begin(&url);
    wait_for("the query", Duration::from_secs(10), || {
        cluster.running("pooled") == 1
    });
    drop(stream);
    let elapsed = wait_for("the end of the query", Duration::from_secs(2), || {
        cluster.running("pooled") == 0
    });
    println!("behind PgBouncer: a query ended {elapsed:?} after its client disconnected");
}
