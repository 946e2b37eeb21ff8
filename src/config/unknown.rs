//! Unknown variables: typing errors, which would leave a setting at its default.

use strsim::damerau_levenshtein;

/// What the clients and their examples read.
const OF_CLIENTS: [&str; 4] = ["url", "token", "token_file", "key"];
/// How many letters a name may differ from the one that was meant.
const DISTANCE_MAX: usize = 3;

/// Returns an error for each name that neither Rowlink nor another program reads, with the known one that differs least.
pub(super) fn errors<'n>(
    names: impl Iterator<Item = &'n String>,
    known: &[&str],
) -> Vec<(String, String)> {
    let unknown = names.filter(|name| !is_of_another_program(name));
    let error = |name: &String| {
        let distance = |known: &&&str| damerau_levenshtein(known, name);
        let nearest = known.iter().min_by_key(distance);
        let nearest = nearest.filter(|known| distance(known) <= DISTANCE_MAX);
        let meant = nearest.map_or_else(String::new, |known| {
            format!("; did you mean {}{}", super::PREFIX, known.to_uppercase())
        });
        (name.to_uppercase(), format!("unknown variable{meant}"))
    };
    unknown.map(error).collect()
}

/// Kubernetes sets variables such as `ROWLINK_PORT_8080_TCP` in every pod beside a service named `rowlink`: its
/// documentation, "Accessing the Service", "Environment Variables".
fn is_of_another_program(name: &str) -> bool {
    let is_of_port = |rest: &str| rest.is_empty() || rest.starts_with('_');
    name == "service_host"
        || name.strip_prefix("service_port").is_some_and(is_of_port)
        || name.strip_prefix("port").is_some_and(is_of_port)
        || OF_CLIENTS.contains(&name)
}
