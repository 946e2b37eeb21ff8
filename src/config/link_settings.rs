//! Settings of links and downloads: keys, revocations, the public URL, limits.

use std::time::Duration;

use rowlink_link::{Keyring, Revocations};
use url::Url;

use super::errors::{ConfigErrors, read};
use super::{Variables, revocations_file};
use crate::http::DrainTimes;
use crate::service::Policy;
use crate::used_links::RedisUrl;

pub(super) fn keyring(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Keyring> {
    let keys = errors.secret(
        "SIGNING_KEYS",
        variables.signing_keys.take(),
        variables.signing_keys_file.take(),
    );
    let keys = errors.required("SIGNING_KEYS", keys)?;
    errors.check_all("SIGNING_KEYS", Keyring::parse(&keys))
}

pub(super) fn revocations(variables: &mut Variables, errors: &mut ConfigErrors) -> Revocations {
    let revocations = variables.revocations_file.take().and_then(|path| {
        let text = errors.check("REVOCATIONS_FILE", read(&path))?;
        errors.check_all("REVOCATIONS_FILE", revocations_file::parse(&text))
    });
    revocations.unwrap_or_default()
}

pub(super) fn public_url(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<String> {
    let text = variables.public_url.take()?;
    errors.check("PUBLIC_URL", parse_public_url(&text))
}

pub(super) fn policy(variables: &mut Variables, errors: &mut ConfigErrors) -> Policy {
    let mut policy = Policy::with_defaults(String::new());
    let mut seconds = |variable: &str, text: Option<String>, default: u64| {
        errors.number(variable, text, default, 1..=604_800)
    };
    policy.ttl_seconds_max = seconds(
        "MAX_TTL_SECONDS",
        variables.max_ttl_seconds.take(),
        policy.ttl_seconds_max,
    );
    policy.ttl_seconds_default = seconds(
        "DEFAULT_TTL_SECONDS",
        variables.default_ttl_seconds.take(),
        policy.ttl_seconds_default,
    );
    policy.download_max = Duration::from_secs(seconds(
        "MAX_DOWNLOAD_SECONDS",
        variables.max_download_seconds.take(),
        policy.download_max.as_secs(),
    ));
    policy.query_max = Duration::from_secs(seconds(
        "MAX_QUERY_SECONDS",
        variables.max_query_seconds.take(),
        policy.download_max.as_secs(),
    ));
    policy.stall_max = Duration::from_secs(seconds(
        "STALL_SECONDS",
        variables.stall_seconds.take(),
        policy.stall_max.as_secs(),
    ));
    let heartbeat = errors.number(
        "HEARTBEAT_SECONDS",
        variables.heartbeat_seconds.take(),
        policy.heartbeat_after.map_or(0, |after| after.as_secs()),
        0..=604_800,
    );
    policy.heartbeat_after = (heartbeat > 0).then(|| Duration::from_secs(heartbeat));
    if policy.query_max > policy.download_max {
        let message = "expected no more than ROWLINK_MAX_DOWNLOAD_SECONDS";
        errors.add("MAX_QUERY_SECONDS", message);
    }
    if policy.ttl_seconds_default > policy.ttl_seconds_max {
        let message = "expected no more than ROWLINK_MAX_TTL_SECONDS";
        errors.add("DEFAULT_TTL_SECONDS", message);
    }
    let limits = &mut policy.limits;
    let mut count = |variable: &str, text: Option<String>, limit: &mut usize| {
        *limit = errors.number(variable, text, *limit, 1..=1_000_000);
    };
    count(
        "MAX_DOWNLOADS",
        variables.max_downloads.take(),
        &mut limits.downloads,
    );
    count(
        "MAX_DOWNLOADS_PER_USER",
        variables.max_downloads_per_user.take(),
        &mut limits.downloads_per_user,
    );
    count(
        "MAX_DOWNLOADS_PER_LINK",
        variables.max_downloads_per_link.take(),
        &mut limits.downloads_per_link,
    );
    limits.links_per_second = errors.number(
        "MAX_LINKS_PER_SECOND",
        variables.max_links_per_second.take(),
        limits.links_per_second,
        1..=1_000_000,
    );
    let seal = match variables.seal.take().as_deref() {
        None | Some("on-request") => Ok(false),
        Some("always") => Ok(true),
        Some(_) => Err("expected always or on-request"),
    };
    policy.seals_always = errors.check("SEAL", seal).unwrap_or_default();
    policy
}

/// Parses the URL of the Redis that records uses of single-use links.
pub(super) fn redis(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<RedisUrl> {
    let url = errors.secret(
        "REDIS_URL",
        variables.redis_url.take(),
        variables.redis_url_file.take(),
    );
    errors.check("REDIS_URL", RedisUrl::parse(&url?))
}

pub(super) fn drain(variables: &mut Variables, errors: &mut ConfigErrors) -> DrainTimes {
    let mut seconds = |variable: &str, text: Option<String>, default: Duration| {
        Duration::from_secs(errors.number(variable, text, default.as_secs(), 0..=3600))
    };
    let DrainTimes { delay, max } = DrainTimes::default();
    DrainTimes {
        delay: seconds(
            "DRAIN_DELAY_SECONDS",
            variables.drain_delay_seconds.take(),
            delay,
        ),
        max: seconds("DRAIN_SECONDS", variables.drain_seconds.take(), max),
    }
}

fn parse_public_url(text: &str) -> Result<String, &'static str> {
    let expected = "expected an http:// or https:// URL of a host, perhaps with a path: https://example.com/data";
    let url = Url::parse(text).map_err(|_| expected)?;
    let plain = ["http", "https"].contains(&url.scheme())
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain
        .then(|| url.as_str().trim_end_matches('/').to_owned())
        .ok_or(expected)
}
