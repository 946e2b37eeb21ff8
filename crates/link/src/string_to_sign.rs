//! The string to sign, and the associated data of sealed contents.

use super::path::DownloadPath;
use super::query::{Pair, canonical_query};
use super::seal;

/// The first line of the string to sign. It names version and algorithm, so that a string of another
/// protocol never equals one of these.
const LABEL: &str = "ROWLINK1-HMAC-SHA256\n";

/// Returns the string to sign in pieces, which the MAC reads without joining them.
pub(super) fn string_to_sign<'a>(path: DownloadPath<'a>, canonical_query: &'a str) -> [&'a str; 8] {
    let [exports, slash, export, dot, format] = path.pieces();
    [
        LABEL,
        exports,
        slash,
        export,
        dot,
        format,
        "\n",
        canonical_query,
    ]
}

/// Returns the associated data of sealed contents: the path and the readable envelope.
pub(super) fn associated_data(path: DownloadPath<'_>, pairs: &[Pair<'_>]) -> String {
    let is_envelope = |name: &str| !matches!(name, "rl_sealed" | "rl_signature");
    let envelope = canonical_query(pairs, is_envelope);
    [seal::LABEL, &path.to_string(), "\n", &envelope].concat()
}
