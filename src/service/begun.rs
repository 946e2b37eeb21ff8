//! What a client has begun of the file of a link, and whether the link sends anything else.

use rowlink_link::{Link, LinkError, Resumption};

use super::errors::OpenError;

/// The file that a client has begun, if it proved that by its entity tag.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// What identifies the file: its hash, if its length is exact.
    pub file_id: Option<[u8; 32]>,
    /// Why only this file may be sent; `None` if any file may.
    only: Option<OnlyBegun>,
}

/// Why a link sends only the file that its client has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnlyBegun {
    /// It has expired.
    Expired { seconds: u64 },
    /// It works once, and that file was its use.
    Used,
}

impl Begun {
    pub(super) fn of(resumption: &Resumption) -> Begun {
        let expired = resumption.expired_seconds;
        Begun {
            file_id: resumption.file_id,
            only: expired.map(|seconds| OnlyBegun::Expired { seconds }),
        }
    }

    /// Checks that another file may be sent.
    ///
    /// # Errors
    /// Returns the [`OpenError`] of a link that has expired or was used.
    pub fn refuse_another(&self) -> Result<(), OpenError> {
        match self.only {
            None => Ok(()),
            Some(OnlyBegun::Expired { seconds }) => Err(LinkError::Expired { seconds }.into()),
            Some(OnlyBegun::Used) => Err(OpenError::Used),
        }
    }

    /// Tells whether no other file may be sent.
    #[must_use]
    pub fn is_only(&self) -> bool {
        self.only.is_some()
    }

    /// Lets no other file be sent, as the continued use of a link that works once.
    pub fn continue_use(&mut self) {
        self.only = Some(OnlyBegun::Used);
    }

    /// Tells whether the use of a link must be recorded before a file is sent.
    #[must_use]
    pub fn must_take_use(&self, link: &Link) -> bool {
        link.conditions.single_use && self.only != Some(OnlyBegun::Used)
    }
}
