//! Names of objects, as the API server takes them.

/// A generated name has room for a hash and a suffix after so many characters.
const LONGEST_PREFIX: usize = 200;

/// What the name of a change set can look like.
pub(crate) const PATTERN: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// Whether a text can be the name of an object: lower-case letters, digits, `-` and `.`, of which neither begins or ends it.
pub fn is_object_name(text: &str) -> bool {
    let is_inner =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || letter == '.';
    let ends_well = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.chars().all(is_inner)
        && text.starts_with(ends_well)
        && text.ends_with(ends_well)
}

/// The beginning of a name, to which more can be added after a dash.
pub fn shortened(name: &str) -> &str {
    let end = name.char_indices().nth(LONGEST_PREFIX).map_or(name.len(), |(end, _)| end);
    name.get(..end).unwrap_or(name).trim_end_matches(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_a_long_name_makes_a_name() {
        let name = format!("{}.{}", "a".repeat(199), "b".repeat(40));
        assert_eq!(shortened(&name), "a".repeat(199));
        assert_eq!(shortened("edge"), "edge");
    }

    #[test]
    fn only_what_the_api_server_takes_is_a_name() {
        for name in ["edge-1", "a.b", "0", &"a".repeat(253)] {
            assert!(is_object_name(name), "{name}");
        }
        for text in ["", "a/b", "a?pretty=true", "No", "-a", "a.", "日本", &"a".repeat(254)] {
            assert!(!is_object_name(text), "{text}");
        }
    }
}
