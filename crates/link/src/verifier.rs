//! Verifying a link.

use uuid::Uuid;

use super::conditions::Visit;
use super::entity_tag::verified_file_id;
use super::error::{LinkError, Malformed, Step};
use super::keyring::Keyring;
use super::network::ClientAddr;
use super::parameters::{Body, Contents, Envelope};
use super::path::DownloadPath;
use super::query::{Pair, canonical_query, parse_query};
use super::revocations::Revocations;
use super::sign::Seal;
use super::string_to_sign::{associated_data, string_to_sign};
use super::{CLOCK_SKEW_SECONDS_MAX, Link};

/// A link whose signature was verified, or that was signed here. Only a [`Verifier`] and
/// [`sign`](super::sign) create one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLink {
    link: Link,
    /// The id of the key that signed it.
    pub(super) key_id: String,
    /// The MAC.
    pub(super) signature: [u8; 32],
    seal: Seal,
}

/// A link whose download is continued, and what the client knows about the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumption {
    /// The link.
    pub link: VerifiedLink,
    /// What identifies the file that the client has begun; `None` if its entity tag is not one of this link.
    pub file_id: Option<[u8; 32]>,
    /// For how many seconds the link has expired. Then only that file may be sent.
    pub expired_seconds: Option<u64>,
}

impl VerifiedLink {
    /// Wraps a link that a key of this process has just signed.
    pub(super) fn signed_here(
        link: Link,
        key_id: &str,
        signature: [u8; 32],
        seal: Seal,
    ) -> VerifiedLink {
        VerifiedLink {
            link,
            key_id: key_id.to_owned(),
            signature,
            seal,
        }
    }

    /// Returns what the link says.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Returns whether its contents are readable in the URL.
    #[must_use]
    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// Returns what the link says, without the proof of its verification.
    #[must_use]
    pub fn into_link(self) -> Link {
        self.link
    }
}

/// Verifies links.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    /// The keys that may have signed them.
    pub keyring: &'a Keyring,
    /// The genuine links that are refused.
    pub revocations: &'a Revocations,
    /// The longest lifetime in seconds. Checked again here, so that a link signed elsewhere cannot
    /// outlive this deployment's policy.
    pub ttl_seconds_max: u64,
}

impl Verifier<'_> {
    /// Verifies a link that `client` follows at `now`, in Unix seconds. The steps follow
    /// [`Step::ALL`], so that a holder of no key learns only that the signature is bad.
    ///
    /// # Errors
    /// Returns the [`LinkError`] of the first step that refuses the link.
    pub fn verify(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
    ) -> Result<VerifiedLink, LinkError> {
        let visit = Visit { now, client };
        let resumption = self.verify_visit(path, raw_query, &visit, None)?;
        Ok(resumption.link)
    }

    /// Verifies a link as [`verify`](Verifier::verify) does, for a client that continues a download by its `entity_tag`, or
    /// one of several separated by commas. If that is one of this link, the link may have expired by the seconds of its
    /// `resume_seconds`; then no other file may be sent.
    ///
    /// # Errors
    /// Returns the [`LinkError`] of the first step that refuses the link.
    pub fn verify_resumption(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
        entity_tag: &str,
    ) -> Result<Resumption, LinkError> {
        let visit = Visit { now, client };
        self.verify_visit(path, raw_query, &visit, Some(entity_tag))
    }

    fn verify_visit(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        visit: &Visit,
        entity_tag: Option<&str>,
    ) -> Result<Resumption, LinkError> {
        let pairs = parse_query(raw_query)?;
        let (envelope, body) = Envelope::parse(&pairs)?;
        if !self.signature_valid(path, &pairs, &envelope) {
            return Err(LinkError::BadSignature);
        }

        let (contents, seal) = match body {
            Body::Open(contents) => (contents, Seal::Open),
            Body::Sealed(sealed) => {
                let contents = self.unseal(path, &pairs, &envelope, sealed)?;
                (contents, Seal::Sealed)
            }
        };
        let link = envelope.with(contents, path);
        if let Some(scope) = &envelope.scope {
            scope.check(&link).map_err(LinkError::OutsideScope)?;
        }
        let signature = envelope.signature;
        let file_id = entity_tag.and_then(|tag| verified_file_id(self.keyring, &signature, tag));
        check_times(&link, self.ttl_seconds_max, visit, file_id.is_some())?;
        link.conditions.check(Step::Address, visit)?;
        let key_id = envelope.key_id;
        if self.revocations.is_revoked(&link, key_id) {
            return Err(LinkError::Revoked);
        }
        let expired_seconds = visit.now.checked_sub(link.expires);
        Ok(Resumption {
            link: VerifiedLink {
                link,
                key_id: key_id.to_owned(),
                signature,
                seal,
            },
            file_id,
            expired_seconds,
        })
    }

    /// Returns what a link says, genuine or not, and the string that its signature must cover. Sealed
    /// contents are decrypted if the signature is valid.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the link breaks the grammar.
    pub fn inspect(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
    ) -> Result<Inspection, Malformed> {
        let pairs = parse_query(raw_query)?;
        let (envelope, body) = Envelope::parse(&pairs)?;
        let signature_valid = self.signature_valid(path, &pairs, &envelope);
        let is_sealed = matches!(body, Body::Sealed(_));
        let contents = match body {
            Body::Open(contents) => Some(contents),
            Body::Sealed(sealed) if signature_valid => {
                self.unseal(path, &pairs, &envelope, sealed).ok()
            }
            Body::Sealed(_) => None,
        };
        let query = signed_query(&pairs);
        Ok(Inspection {
            id: envelope.id,
            issued: envelope.issued,
            expires: envelope.expires,
            key_id: envelope.key_id.to_owned(),
            scope: envelope.scope.as_ref().map(|it| it.as_str().to_owned()),
            signature_valid,
            is_sealed,
            link: contents.map(|contents| envelope.with(contents, path)),
            string_to_sign: string_to_sign(path, &query).concat(),
        })
    }

    fn signature_valid(
        &self,
        path: DownloadPath<'_>,
        pairs: &[Pair<'_>],
        envelope: &Envelope<'_>,
    ) -> bool {
        let query = signed_query(pairs);
        let text = string_to_sign(path, &query);
        let scope = envelope.scope.as_ref();
        self.keyring
            .verify(envelope.key_id, scope, &text, &envelope.signature)
    }

    /// Decrypts the contents of a link whose signature is valid.
    fn unseal(
        &self,
        path: DownloadPath<'_>,
        pairs: &[Pair<'_>],
        envelope: &Envelope<'_>,
        sealed: &str,
    ) -> Result<Contents, Malformed> {
        let key = self
            .keyring
            .seal_key(envelope.key_id, envelope.scope.as_ref());
        let key = key.expect("the key that verified the signature exists");
        let contents = key.open(&associated_data(path, pairs), sealed);
        let contents = contents.map_err(|reason| Malformed::new("rl_sealed", reason))?;
        Contents::parse(&contents)
    }
}

/// The parts of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The link's id.
    pub id: Uuid,
    /// When it was issued, in Unix seconds.
    pub issued: u64,
    /// The first second in which it is no longer valid, in Unix seconds.
    pub expires: u64,
    /// The id of the key that it names.
    pub key_id: String,
    /// The scope, if that key is a child key.
    pub scope: Option<String>,
    /// Whether its signature is valid.
    pub signature_valid: bool,
    /// Whether its contents are sealed.
    pub is_sealed: bool,
    /// All it says; `None` if it is sealed and cannot be decrypted.
    pub link: Option<Link>,
    /// The string that its signature must cover.
    pub string_to_sign: String,
}

/// Returns the canonical query that a signature covers.
fn signed_query(pairs: &[Pair<'_>]) -> String {
    canonical_query(pairs, |name| name != "rl_signature")
}

fn check_times(
    link: &Link,
    seconds_max: u64,
    visit: &Visit,
    is_resumed: bool,
) -> Result<(), LinkError> {
    let resume_seconds = link.conditions.resume_seconds.unwrap_or(0);
    let seconds = (link.expires - link.issued).max(resume_seconds);
    if seconds > seconds_max {
        return Err(LinkError::LivesTooLong {
            seconds,
            seconds_max,
        });
    }
    let now = visit.now;
    // The start is checked first: it is usually later than the issue.
    link.conditions.check(Step::Times, visit)?;
    let valid_from = link.issued.saturating_sub(CLOCK_SKEW_SECONDS_MAX);
    if now < valid_from {
        let seconds = valid_from - now;
        return Err(LinkError::NotYetValid { seconds });
    }
    let grace = if is_resumed { resume_seconds } else { 0 };
    if now >= link.expires + grace {
        let seconds = now - link.expires;
        return Err(LinkError::Expired { seconds });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Conditions;
    use crate::{FileName, Network, SignedLink, UserId, sign};
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::BTreeMap;
    use std::sync::LazyLock;
    use uuid::Uuid;

    const NOW: u64 = 1_769_853_600;

    static NONE: LazyLock<Revocations> = LazyLock::new(Revocations::default);

    fn verifier(keyring: &Keyring) -> Verifier<'_> {
        Verifier {
            keyring,
            revocations: &NONE,
            ttl_seconds_max: 3600,
        }
    }

    fn path() -> DownloadPath<'static> {
        DownloadPath::new("orders", "csv").expect("a path")
    }

    prop_compose! {
        fn any_link()(
            user in "[^\\p{Cc}]{1,30}",
            id in any::<u128>(),
            ttl_seconds in 1..3600u64,
            not_before in option::of(0..NOW),
            network in option::of(select(vec!["192.0.2.7", "192.0.2.0/24", "::/0"])),
            rows_max in option::of(1..u64::from(u32::MAX)),
            bytes_max in option::of(1..1u64 << 40),
            resume_seconds in option::of(1..3600u64),
            (single_use, confirm) in any::<(bool, bool)>(),
            bind in option::of(any::<[u8; 32]>()),
            reason in option::of("[^\\p{Cc}]{1,200}"),
            filename in option::of("[a-zäöü][a-zäöü 1-9]{0,20}[a-zäöü]"),
            claims in btree_map("[A-Za-z0-9_]{1,9}", "[^\\p{Cc}]{1,9}", 0..3),
            reveal in btree_set("[^\\p{Cc},]{1,9}", 0..3),
            options in btree_map("columns|csv\\.[a-z]{1,9}", "[^\0]{0,9}", 0..3),
            mut filters in vec(("[^\0r][^\0]{0,9}", "[^\0]{0,9}"), 0..5),
        ) -> Link {
            // The canonical query is sorted as it is encoded.
            filters.sort_by_key(|(name, value)| {
                let encode = crate::percent_encode;
                (encode(name).into_owned(), encode(value).into_owned())
            });
            Link {
                export: "orders".into(),
                format: Some("csv".into()),
                user: UserId::parse(user).expect("a user id"),
                id: Uuid::from_u128(id),
                issued: NOW,
                expires: NOW + ttl_seconds,
                conditions: Conditions {
                    not_before,
                    network: network.map(|network| Network::parse(network).expect("a network")),
                    rows_max,
                    bytes_max,
                    resume_seconds,
                    single_use,
                    confirm,
                    bind,
                    reason,
                },
                filename: filename.map(|name| FileName::parse(name).expect("a file name")),
                claims,
                reveal: reveal.into_iter().collect(),
                options,
                filters,
            }
        }
    }

    #[test]
    fn a_refusal_names_the_seconds_until_or_since() {
        let link = |issued, expires, not_before| Link {
            export: "orders".into(),
            format: Some("csv".into()),
            user: UserId::parse("alice").expect("a user id"),
            id: Uuid::nil(),
            issued,
            expires,
            conditions: Conditions {
                not_before,
                ..Conditions::default()
            },
            filename: None,
            claims: BTreeMap::new(),
            reveal: Vec::new(),
            options: BTreeMap::new(),
            filters: Vec::new(),
        };
        let plain = link(NOW, NOW + 60, None);
        let visit = |now| Visit {
            now,
            client: ClientAddr::Unchecked,
        };
        let at = |now| check_times(&plain, 60, &visit(now), false);
        assert_eq!(at(NOW - 30), Ok(()));
        assert_eq!(at(NOW - 37), Err(LinkError::NotYetValid { seconds: 7 }));
        assert_eq!(at(NOW + 59), Ok(()));
        assert_eq!(at(NOW + 60), Err(LinkError::Expired { seconds: 0 }));
        assert_eq!(at(NOW + 72), Err(LinkError::Expired { seconds: 12 }));
        let later = link(NOW, NOW + 60, Some(NOW + 20));
        assert_eq!(
            check_times(&later, 60, &visit(NOW + 5), false),
            Err(LinkError::NotYetValid { seconds: 15 })
        );
        // Both waits are over at the later time.
        assert_eq!(
            check_times(&later, 60, &visit(NOW - 40), false),
            Err(LinkError::NotYetValid { seconds: 60 })
        );
        assert_eq!(
            check_times(&plain, 59, &visit(NOW), false),
            Err(LinkError::LivesTooLong {
                seconds: 60,
                seconds_max: 59
            })
        );
    }

    #[test]
    fn only_an_entity_tag_of_the_same_link_extends_its_life_by_its_resume_seconds() {
        let keys = "k:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let keyring = Keyring::parse(keys).expect("a key");
        let signed = |resume_seconds| {
            let user = UserId::parse("alice").expect("a user id");
            let mut link = Link::new("orders", "csv", user, NOW, 60);
            link.conditions.resume_seconds = resume_seconds;
            sign(link, &keyring, Seal::Open).expect("signed")
        };
        let (link, other) = (signed(Some(600)), signed(Some(600)));
        let tag = link.verified().entity_tag(&keyring, [7; 32]);
        let resume = |link: &SignedLink, tag: &str, now| {
            let (_, query) = link.path_and_query().split_once('?').expect("a query");
            let verifier = verifier(&keyring);
            let resumed =
                verifier.verify_resumption(path(), query, now, ClientAddr::Unchecked, tag);
            resumed.map(|resumed| resumed.file_id)
        };
        assert_eq!(resume(&link, &tag, NOW), Ok(Some([7; 32])));
        assert_eq!(resume(&link, &tag, NOW + 659), Ok(Some([7; 32])));
        let expired = |seconds| Err(LinkError::Expired { seconds });
        assert_eq!(resume(&link, &tag, NOW + 660), expired(600));
        assert_eq!(resume(&other, &tag, NOW), Ok(None));
        assert_eq!(resume(&other, &tag, NOW + 60), expired(0));
        assert_eq!(resume(&signed(None), &tag, NOW + 60), expired(0));
        for forged in [
            "",
            "\"\"",
            "*",
            "W/\"x\"",
            &tag[1..],
            &tag.replacen("Bw", "Cw", 1),
            &tag.to_lowercase(),
        ] {
            assert_eq!(resume(&link, forged, NOW), Ok(None), "{forged}");
            assert_eq!(resume(&link, forged, NOW + 60), expired(0), "{forged}");
        }
        // After a rotation the earlier key still verifies the tag and the link.
        let rotated = format!("new:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWg=,{keys}");
        let rotated = Keyring::parse(&rotated).expect("keys");
        let (_, query) = link.path_and_query().split_once('?').expect("a query");
        let resumed =
            verifier(&rotated).verify_resumption(path(), query, NOW, ClientAddr::Unchecked, &tag);
        assert_eq!(resumed.map(|resumed| resumed.file_id), Ok(Some([7; 32])));
    }

    proptest! {
        #[test]
        fn any_signed_link_verifies_unchanged(link in any_link(), is_sealed in any::<bool>()) {
            let key = "k:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
            let keyring = Keyring::parse(key).expect("a key");
            let seal = if is_sealed { Seal::Sealed } else { Seal::Open };
            let signed = sign(link.clone(), &keyring, seal).expect("signed");
            let (_, query) = signed.path_and_query().split_once('?').expect("a query");
            prop_assert_eq!(query.contains("rl_user"), !is_sealed);
            let verified = verifier(&keyring).verify(path(), query, NOW, ClientAddr::Unchecked);
            prop_assert_eq!(verified.as_ref(), Ok(signed.verified()));
            prop_assert_eq!(signed.verified().seal(), seal);
            prop_assert_eq!(verified.map(|verified| verified.link().clone()), Ok(link));
        }

        #[test]
        fn no_query_makes_the_verifier_panic(query in "(rl_[a-z.]{0,9}=|[a-z&=%+0-9-]){0,20}[^a]{0,9}") {
            let key = "k:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
            let keyring = Keyring::parse(key).expect("a key");
            prop_assert!(verifier(&keyring).verify(path(), &query, NOW, ClientAddr::Unchecked).is_err());
        }
    }
}
