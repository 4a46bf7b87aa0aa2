//! Durations as users write them, in hours, minutes and seconds: 90m, 1h30m.

use jiff::SignedDuration;
use schemars::Schema;
use schemars::transform::Transform;
use serde_json::json;

/// The schema of a field that holds a duration.
#[derive(Clone, Copy, Debug)]
pub struct Duration {
    /// Name of the field, for the sentences of the API server.
    pub field: &'static str,
    /// Durations to take as a pattern, such as `2h or 90m`.
    pub examples: &'static str,
    /// The shortest that is taken.
    pub shortest: &'static str,
    /// The longest that is taken.
    pub longest: &'static str,
}

impl Transform for Duration {
    fn transform(&mut self, schema: &mut Schema) {
        const FORM: &str = "self.matches('^([0-9]{1,5}[hms])+$')";
        let Self { field, examples, shortest, longest } = self;
        let bounds = format!("duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}')");
        schema.insert("maxLength".to_owned(), json!(20));
        schema.insert(
            "x-kubernetes-validations".to_owned(),
            json!([
                {"rule": FORM, "message": format!("{field} is a duration such as {examples}")},
                {"rule": format!("!{FORM} || ({bounds})"), "message": format!("{field} is at least {shortest} and at most {longest}")},
            ]),
        );
    }
}

/// Reads a duration. `None` if the text is none.
pub fn parse(text: &str) -> Option<SignedDuration> {
    let parts = text.split_inclusive(|character: char| !character.is_ascii_digit());
    let mut seconds = parts.map(|part| {
        let (number, unit) = part.split_at_checked(part.len().checked_sub(1)?)?;
        let seconds = match unit {
            "h" => 60 * 60,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        // Five digits, as in the schema: neither a product nor a sum overflows.
        (number.len() <= 5).then(|| number.parse::<i64>().ok()).flatten().map(|number| number * seconds)
    });
    let seconds = seconds.try_fold(0i64, |sum, seconds| sum.checked_add(seconds?));
    seconds.filter(|_| !text.is_empty()).map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_minutes_and_seconds_add_up_and_nothing_else_is_read() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs());
        assert_eq!(["90m", "1h30m", "5400s", "0s"].map(seconds), [Some(5400), Some(5400), Some(5400), Some(0)]);
        assert_eq!(["", "h", "5", "1d", "-1h", "1.5h", "100000s", "1h 30m"].map(seconds), [None; 8]);
    }
}
