//! Durations such as `90s` and `1h30m`, as the CRDs write them.
//!
//! In: a text that matches the CRDs' pattern. Out: a `Duration`, and the text that the server's flags take.

use std::time::Duration;

/// Reads one or more numbers with the units `ms`, `s`, `m`, `h`.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_start = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at(unit_start);
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    let whole = !text.is_empty() && (0.0..=1e9).contains(&seconds);
    whole.then(|| Duration::from_millis((seconds * 1000.0).round() as u64))
}

/// The duration in one unit, such as `90s` or `1500ms`.
pub fn flag(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// Whole seconds, rounded up.
pub fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_flags_in_one_unit() {
        for (text, expected) in [
            ("90s", "90s"),
            ("1m30s", "90s"),
            ("1.5h", "5400s"),
            ("500ms", "500ms"),
            ("1.5s", "1500ms"),
            ("0s", "0s"),
        ] {
            assert_eq!(flag(parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "90", "s", "1d", "1m 30s", "-1s", "99999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1500)), 2);
        assert_eq!(seconds(Duration::from_secs(90)), 90);
    }
}
