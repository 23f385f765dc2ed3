//! Quantities such as `500m` and `2Gi` as numbers that can be compared.
//!
//! In: the text of a quantity. Out: its value in thousandths, or nothing when it is no quantity.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Value in thousandths, rounded up as the apiserver does.
pub fn thousandths(quantity: &Quantity) -> Option<i128> {
    parse(&quantity.0)
}

/// Value of the text of a quantity, in thousandths.
pub fn parse(text: &str) -> Option<i128> {
    let digits_end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let number: f64 = number.parse().ok()?;
    let scale = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024f64,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = (number * scale * 1000.0 - 1e-6).ceil();
    value.is_finite().then_some(value as i128)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn equal_quantities_are_equal_however_they_are_written() {
        for (a, b) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1Gi", "1024Mi"),
            ("2e3", "2k"),
            ("1E3", "1000"),
            ("1.5Gi", "1536Mi"),
            ("100", "100.0"),
        ] {
            assert_eq!(parse(a), parse(b), "{a} and {b}");
            assert!(parse(a).is_some());
        }
    }

    #[test]
    fn order_follows_size() {
        assert!(parse("1Gi") > parse("1G"));
        assert!(parse("999m") < parse("1"));
    }

    #[test]
    fn other_text_is_no_quantity() {
        for text in ["", "Gi", "1Gb", "one", "1ee3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
