//! Times on the command line: seconds, also as a decimal number.

use std::time::Duration;

const LEAST: Duration = Duration::from_millis(100);

/// Reads seconds such as `10` or `0.5`: a tenth of a second at least, and at most `MOST` seconds.
///
/// # Errors
/// It is something else; what may be written.
pub fn seconds<const MOST: u64>(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| (LEAST..=Duration::from_secs(MOST)).contains(time))
        .ok_or_else(|| format!("write seconds from {} to {MOST}, such as 10 or 0.5", LEAST.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_have_bounds() {
        let read = |text| seconds::<60>(text).ok().map(|time| time.as_millis());
        assert_eq!(["10", "0.5", "0.1", "60"].map(read), [Some(10_000), Some(500), Some(100), Some(60_000)]);
        assert_eq!(["0", "0.05", "60.1", "-1", "NaN", "inf", "1e99", "10s", ""].map(read), [None; 9]);
        assert!(seconds::<60>("10s").unwrap_err().contains("from 0.1 to 60"));
    }
}
