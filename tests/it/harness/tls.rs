//! Keys and certificates made with OpenSSL.

use std::path::Path;
use std::process::Command;

use super::command::run;

/// Runs OpenSSL in a folder, with space-separated arguments.
pub fn openssl(folder: &Path, arguments: &str) {
    run(Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder));
}

/// Creates `server.pem` and `server.key` for localhost, signed by `ca.pem`, and `other.pem`, an unrelated root.
pub fn create_certificates(folder: &Path) {
    for name in ["ca", "other"] {
        openssl(
            folder,
            &format!(
                "req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"
            ),
        );
    }
    create_server_certificate(folder);
}

/// Creates a new `server.pem` and `server.key`, signed by the same root.
pub fn create_server_certificate(folder: &Path) {
    openssl(
        folder,
        &format!("req {NEW_KEY} -keyout server.key -out server.csr -subj /CN=localhost"),
    );
    let names = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE";
    std::fs::write(folder.join("names"), names).unwrap();
    let issuer = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
    openssl(
        folder,
        &format!("x509 -req -in server.csr {issuer} -out server.pem"),
    );
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
