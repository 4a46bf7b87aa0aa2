//! The third tier: values that look random.

use super::named::{is_one_of, tokens};
use super::reference::{is_placeholder, is_reference};

/// Rules of this tier.
pub(super) const BASE64_RULE: &str = "random-base64";
pub(super) const HEX_RULE: &str = "random-hex";

/// Shorter and longer values are not looked at.
const LENGTH: std::ops::RangeInclusive<usize> = 20..=200;

/// Shortest text of base 64, and least bits per character.
const BASE64: (usize, f64) = (24, 4.5);

/// Shortest text of hex digits, and least bits per character.
const HEX: (usize, f64) = (32, 3.0);

/// Names of values that are hex digits without being secret.
pub(super) const FINGERPRINTS: [&str; 10] =
    ["SHA", "DIGEST", "COMMIT", "HASH", "CHECKSUM", "REVISION", "BUILD", "ETAG", "VERSION", "ID"];

/// The rule that a value breaks by looking random.
pub(super) fn rule(name: &str, value: &str) -> Option<&'static str> {
    if !LENGTH.contains(&value.len()) || is_uuid(value) || is_reference(value) || is_placeholder(value) {
        None
    } else if is_random_hex(value) && !is_fingerprint(name) {
        Some(HEX_RULE)
    } else if is_random_base64(value) {
        Some(BASE64_RULE)
    } else {
        None
    }
}

fn is_random_hex(value: &str) -> bool {
    let (shortest, bits) = HEX;
    value.len() >= shortest && value.bytes().all(|byte| byte.is_ascii_hexdigit()) && entropy(value) >= bits
}

/// `IMAGE_SHA256` has the token SHA: the digits are its size.
fn is_fingerprint(name: &str) -> bool {
    let without_size = |token: &str| is_one_of(token.trim_end_matches(|end: char| end.is_ascii_digit()), &FINGERPRINTS);
    tokens(name).into_iter().any(without_size)
}

fn is_random_base64(value: &str) -> bool {
    let (shortest, bits) = BASE64;
    let body = value.trim_end_matches('=');
    value.len() >= shortest
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte))
        && body.bytes().any(|byte| byte.is_ascii_uppercase())
        && body.bytes().any(|byte| byte.is_ascii_lowercase())
        && body.bytes().any(|byte| byte.is_ascii_digit())
        && entropy(value) >= bits
}

fn is_uuid(value: &str) -> bool {
    value.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && value.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Bits per character, by Shannon.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total: f64 = counts.iter().copied().map(f64::from).sum();
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
    shares.map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_bits_per_character() {
        for (text, bits) in [("aaaa", 0.0), ("abab", 1.0), ("abcdefgh", 3.0), ("0123456789abcdef", 4.0)] {
            assert!((entropy(text) - bits).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn uuids_are_never_random() {
        assert!(is_uuid("3F2504E0-4f89-41d3-9A0C-0305e82c3301"));
        assert!(!is_uuid("3f2504e0-4f89-41d3-9a0c-0305e82c330g"));
    }
}
