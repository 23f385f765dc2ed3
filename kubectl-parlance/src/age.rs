//! Spans of time as kubectl writes them: `45s`, `5m30s`, `3h12m`, `8d`.
//!
//! In: a moment, and now. Out: text. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// The time since a moment; `<unknown>` when there is none.
pub fn since(moment: Option<&Time>, now: Timestamp) -> String {
    moment.map_or_else(
        || "<unknown>".to_owned(),
        |moment| span(now.duration_since(moment.0).as_secs()),
    )
}

/// Seconds with two units at most, the smaller one only while it matters, as kubectl's `HumanDuration`.
pub fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_kubectl_writes_them() {
        let cases = [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (601, "10m"),
            (10_799, "179m"),
            (11_520, "3h12m"),
            (90_000, "25h"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (86_400 * 800, "2y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn what_has_no_beginning_has_no_age() {
        assert_eq!(since(None, Timestamp::UNIX_EPOCH), "<unknown>");
        let moment = Time(Timestamp::UNIX_EPOCH);
        assert_eq!(since(Some(&moment), Timestamp::from_second(7).unwrap()), "7s");
    }
}
