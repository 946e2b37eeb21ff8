//! The title block: rows above the header.

use chrono::{DateTime, Datelike as _, FixedOffset};

use crate::row::{TimeZone, Timestamp};

/// Rows of a title block: title, time, and an empty row.
pub(super) const TITLE_ROWS: u32 = 3;
/// Later ones have no text in every time zone.
const YEAR_MAX: i32 = 9999;
const UNIX_SECONDS_OF_2000: i64 = 946_684_800;

/// Returns when a file was created, in its time zone: `2026-01-31 11:00:00 +01:00 Europe/Berlin`. `created` is in Unix
/// seconds. It is a text, because a cell with a date has no offset.
pub(super) fn created_text(created: u64, time_zone: TimeZone) -> String {
    let instant = i64::try_from(created).ok();
    let instant = instant.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let instant = instant.filter(|instant| instant.year() <= YEAR_MAX);
    let instant = instant.unwrap_or_default();
    let micros = (instant.timestamp() - UNIX_SECONDS_OF_2000) * 1_000_000;
    let offset = time_zone.offset_seconds(Timestamp { micros, utc: true });
    let offset = FixedOffset::east_opt(offset).expect("an offset is shorter than a day");
    let local = instant.with_timezone(&offset);
    format!(
        "{} {}",
        local.format("%Y-%m-%d %H:%M:%S %:z"),
        time_zone.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_has_its_offset_and_its_zone() {
        let berlin = "Europe/Berlin".parse().expect("a zone");
        for (zone, expected) in [
            (berlin, "2026-01-31 11:00:00 +01:00 Europe/Berlin"),
            (TimeZone::default(), "2026-01-31 10:00:00 +00:00 UTC"),
        ] {
            assert_eq!(created_text(1_769_853_600, zone), expected);
        }
        assert!(created_text(u64::MAX, berlin).ends_with("Europe/Berlin"));
    }
}
