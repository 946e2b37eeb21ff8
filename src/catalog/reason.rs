//! Whether the links of an export need a reason: its setting `reason`.

use rowlink_link::Conditions;
use serde::Deserialize;

use super::FieldError;

/// Whether links need a reason, which is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReasonSetting {
    /// They may have one.
    #[default]
    Optional,
    /// A link without a reason is neither issued nor followed.
    Required,
}

impl ReasonSetting {
    /// Returns its name in settings and in the list of exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReasonSetting::Optional => "optional",
            ReasonSetting::Required => "required",
        }
    }

    /// Checks that a link has a reason if it needs one.
    ///
    /// # Errors
    /// Returns the error of the missing field.
    pub(crate) fn check(self, conditions: &Conditions) -> Result<(), Vec<FieldError>> {
        match (self, &conditions.reason) {
            (ReasonSetting::Required, None) => {
                let message = "is required: this export needs to know what the file is for";
                Err(vec![FieldError::new("reason", message)])
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_required_reason_must_be_there() {
        let without = Conditions::default();
        let with = Conditions {
            reason: Some("ticket 4711".to_owned()),
            ..Conditions::default()
        };
        for (setting, conditions, fits) in [
            (ReasonSetting::Optional, &without, true),
            (ReasonSetting::Optional, &with, true),
            (ReasonSetting::Required, &with, true),
            (ReasonSetting::Required, &without, false),
        ] {
            assert_eq!(setting.check(conditions).is_ok(), fits, "{setting:?}");
        }
        let errors = ReasonSetting::Required
            .check(&without)
            .expect_err("refused");
        assert_eq!(errors[0].field, "reason");
    }
}
