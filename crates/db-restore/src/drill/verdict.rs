//! Was it young and quick enough? Pure.

use kit_contract::Reason;
use kit_contract::body::Drill;
use kit_contract::config::Span;
use kit_step::Outcome;
use std::time::Duration;

/// The end of a drill in which every backup came back whole.
pub(super) fn outcome(body: Drill) -> Outcome<Drill> {
    let missed = missed(&body);
    let what = format!(
        "restored {} of {} in {}; the content was {} old",
        counted(body.databases.len()),
        body.subject,
        time_text(body.total_ms().unwrap_or_default()),
        age_text(body.age_s().unwrap_or_default())
    );
    if missed.is_empty() {
        return Outcome::new(Reason::Drilled, what, body);
    }
    Outcome::new(Reason::DrillMissed, format!("{what}: {}", missed.join(", and ")), body)
}

/// The limits that were not kept.
fn missed(body: &Drill) -> Vec<String> {
    let age_ms =
        body.age_s().and_then(|age| u64::try_from(age).ok()).unwrap_or_default().saturating_mul(1000);
    let over = |limit: Option<Span>, value_ms: u64| limit.filter(|limit| value_ms > limit.as_ms());
    let mut missed = Vec::new();
    if let Some(limit) = over(body.max_age, age_ms) {
        missed.push(format!("{limit} is allowed (max_age)"));
    }
    if let Some(limit) = over(body.max_time, body.total_ms().unwrap_or(u64::MAX)) {
        missed.push(format!("the restore may take {limit} (max_time)"));
    }
    missed
}

fn counted(number: usize) -> String {
    if number == 1 { "the backup".to_owned() } else { format!("{number} backups") }
}

/// A time that something took, as people read it.
pub(crate) fn time_text(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{:#}", jiff::SignedDuration::from_secs(i64::try_from(ms / 1000).unwrap_or(i64::MAX))),
    }
}

/// An age as people read it.
pub(super) fn age_text(seconds: i64) -> String {
    if seconds < 0 {
        return format!("{} s from the future", seconds.unsigned_abs());
    }
    format!(
        "{:#}",
        Duration::from_secs(seconds.unsigned_abs()).try_into().unwrap_or(jiff::SignedDuration::MAX)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drill(age_s: i64, restore_ms: u64, limits: (&str, &str)) -> Drill {
        let one = |name: &str, age_s: i64| {
            json!({
                "database": name, "engine": "sqlite", "source": "file:x", "source_sha256": "a".repeat(64),
                "size_bytes": 1, "uncompressed_bytes": 2, "proof": "full", "snapshot_at": "2026-01-01T00:00:00Z",
                "age_s": age_s, "restore_ms": restore_ms, "compare_ms": 100, "tables": [],
            })
        };
        serde_json::from_value(json!({
            "subject": "1763712000-abc1234", "max_age": limits.0, "max_time": limits.1,
            "databases": [one("main", age_s), one("users", 1)],
        }))
        .unwrap()
    }

    #[test]
    fn limits_are_held_against_the_oldest_content_and_all_of_the_time() {
        for (age_s, restore_ms, expected, part) in [
            (
                3600,
                1400,
                Reason::Drilled,
                "restored 2 backups of 1763712000-abc1234 in 3.0 s; the content was 1h old",
            ),
            (3601, 1400, Reason::DrillMissed, "1h is allowed (max_age)"),
            (3600, 1401, Reason::DrillMissed, "the restore may take 3s (max_time)"),
            (9999, 9999, Reason::DrillMissed, "(max_age), and the restore may take"),
            (-7200, 1, Reason::Drilled, "in 202 ms"),
        ] {
            let ended = outcome(drill(age_s, restore_ms, ("1h", "3s")));
            assert_eq!(ended.reason, expected, "{}", ended.message);
            assert!(ended.message.contains(part), "{}", ended.message);
        }
        let mut failed = drill(1, 1, ("1h", "3s"));
        failed.databases[0].failure = Some("gone".to_owned());
        assert_eq!(failed.total_ms(), None, "what did not come back took no time that could be told");
        assert_eq!(outcome(failed).reason, Reason::DrillMissed);
    }

    #[test]
    fn times_for_people() {
        assert_eq!((time_text(999), time_text(59_960)), ("999 ms".to_owned(), "59.9 s".to_owned()));
        assert_eq!(time_text(3_723_000), "1h 2m 3s");
        assert_eq!((age_text(0), age_text(90_061)), ("0s".to_owned(), "25h 1m 1s".to_owned()));
        assert_eq!(age_text(-5), "5 s from the future");
    }
}
