//! Values that name where a secret is, or stand in for one, instead of being one.

/// Prefixes by which the runtime, or a library, finds a secret elsewhere.
const PREFIXES: [&str; 6] = ["arn:aws", "ssm:", "secretsmanager:", "vault:", "op://", "file:"];

/// From this length on, a path segment that mixes upper case, lower case and digits is no name. One in 64 secret
/// access keys begins with a slash.
const RANDOM_SEGMENT: usize = 20;

/// Whether a text could be a secret by itself: not empty, no placeholder, not resolved elsewhere.
pub(super) fn is_literal(text: &str) -> bool {
    !text.is_empty() && !is_placeholder(text) && !is_resolved_elsewhere(text)
}

/// Whether a value refers to a secret instead of being one.
pub(super) fn is_reference(value: &str) -> bool {
    is_resolved_elsewhere(value) || is_absolute_path(value) || is_url_without_user(value)
}

/// `changeme`, `***`, `<…>`.
pub(super) fn is_placeholder(value: &str) -> bool {
    value.eq_ignore_ascii_case("changeme")
        || (!value.is_empty() && value.bytes().all(|byte| byte == b'*'))
        || (value.starts_with('<') && value.ends_with('>'))
}

/// `ssm:/app/key`, `{{resolve:…}}`, `${VAR}`.
pub(super) fn is_resolved_elsewhere(value: &str) -> bool {
    !value.contains(char::is_whitespace)
        && (PREFIXES.iter().any(|prefix| value.starts_with(prefix))
            || (value.starts_with("{{resolve:") && value.ends_with("}}"))
            || is_variable(value))
}

/// `${VAR}`, but not `${VAR:-default}`, which may hold a secret as its default.
fn is_variable(value: &str) -> bool {
    let name = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
    })
}

/// `/run/secrets/key` or `C:\keys\app.pem`.
fn is_absolute_path(value: &str) -> bool {
    let after_drive = value.strip_prefix(|drive: char| drive.is_ascii_alphabetic());
    if after_drive.is_some_and(|rest| rest.starts_with(":\\")) {
        return true;
    }
    let is_path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~@:%".contains(&byte);
    value.starts_with('/') && value.bytes().all(is_path_byte) && !value.split('/').any(is_random_segment)
}

fn is_random_segment(segment: &str) -> bool {
    segment.len() >= RANDOM_SEGMENT
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && segment.bytes().any(|byte| byte.is_ascii_uppercase())
        && segment.bytes().any(|byte| byte.is_ascii_lowercase())
        && segment.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_url_without_user(value: &str) -> bool {
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(is_scheme)
        && !value.contains(char::is_whitespace)
        && authorities(value).all(|authority| !authority.contains('@'))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// What stands between `://` and the path, of every URL in a text.
pub(super) fn authorities(text: &str) -> impl Iterator<Item = &str> {
    let ends = |end: char| end.is_whitespace() || "/?#\"'".contains(end);
    text.split("://").skip(1).map(move |rest| rest.split(ends).next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_secrets_that_resemble_them() {
        for reference in
            ["/opt/keys/Prod2024/app.pem", "/", r"C:\keys\app.pem", "https://example.com:8443/a@b", "${A_1}"]
        {
            assert!(is_reference(reference), "{reference}");
        }
        for secret in [
            "/Fake3fake3FAKE3fake3fake",
            "/fake+FAKE=",
            "${PASSWORD:-hunter22}",
            "${PASSWORD:hunter22}",
            "https://fake@example.com",
            "ssm:/a hunter22",
            "${}",
        ] {
            assert!(!is_reference(secret), "{secret}");
        }
    }
}
