//! The second tier: variables that are named like a credential.

use super::reference::{is_placeholder, is_reference};
use crate::finding::Severity::{self, Critical, High};

/// Names that count whatever else their value is, unless it is empty or a reference.
pub(super) const EXACT: [(&str, Severity); 4] = [
    ("AWS_ACCESS_KEY_ID", Critical),
    ("AWS_SECRET_ACCESS_KEY", Critical),
    ("AWS_SESSION_TOKEN", High),
    ("ECS_ENGINE_AUTH_DATA", Critical),
];

const EXACT_RULE: &str = "exact-name";
const PASSWORD_RULE: &str = "named-password";

/// A kind of credential, by the tokens that follow each other in a variable's name.
pub(super) struct Kind {
    pub(super) rule: &'static str,
    severity: Severity,
    pub(super) names: &'static [&'static [&'static str]],
}

/// The worst first.
pub(super) const KINDS: [Kind; 15] = [
    kind(PASSWORD_RULE, Critical, &[&["PASSWORD"], &["PASSWD"], &["PASSPHRASE"], &["PASS"], &["PWD"], &["PGPASSWORD"]]),
    kind("named-api-key", Critical, &[&["APIKEY"], &["API", "KEY"]]),
    kind("named-access-key", Critical, &[&["ACCESS", "KEY"]]),
    kind("named-private-key", Critical, &[&["PRIVATE", "KEY"]]),
    kind("named-encryption-key", Critical, &[&["ENCRYPTION", "KEY"]]),
    kind("named-signing-key", Critical, &[&["SIGNING", "KEY"]]),
    kind("named-master-key", Critical, &[&["MASTER", "KEY"]]),
    kind("named-license-key", Critical, &[&["LICENSE", "KEY"]]),
    kind("named-auth-key", Critical, &[&["AUTH", "KEY"]]),
    kind("named-client-secret", High, &[&["CLIENT", "SECRET"]]),
    kind("named-secret", High, &[&["SECRET"]]),
    kind("named-token", High, &[&["TOKEN"]]),
    kind("named-credential", High, &[&["CREDENTIAL"], &["CREDENTIALS"]]),
    kind("named-salt", High, &[&["SALT"]]),
    kind("named-hmac", High, &[&["HMAC"]]),
];

/// A name that ends in one of these describes a credential, or says where it is.
#[rustfmt::skip]
pub(super) const DESCRIPTORS: [&str; 41] = [
    "ARN", "NAME", "ID", "PATH", "FILE", "DIR", "URL", "URI", "ENDPOINT", "HOST", "PORT", "REGION", "LENGTH", "TTL",
    "EXPIRY", "TIMEOUT", "SECONDS", "DAYS", "ENABLED", "TYPE", "ALGORITHM", "ISSUER", "HEADER", "PREFIX", "VERSION",
    "POLICY", "ROTATION", "MANAGER", "STORE", "BACKEND", "PROVIDER", "PARAMETER", "COOKIE", "LIMIT", "COUNT", "SIZE",
    "MODE", "SCOPE", "ROLE", "REF", "METHOD",
];

/// A name with one of these anywhere is about something public, or about a limit.
pub(super) const HARMLESS: [&str; 4] = ["PUBLIC", "PUBLISHABLE", "MAX", "MIN"];

/// The shell's working directory, now and before.
const WORKING_DIRECTORIES: [&str; 2] = ["PWD", "OLDPWD"];

/// Shorter values are switches.
const SHORTEST: usize = 4;

const fn kind(rule: &'static str, severity: Severity, names: &'static [&'static [&'static str]]) -> Kind {
    Kind { rule, severity, names }
}

/// The rule that a variable breaks by its name, and how bad that is.
pub(super) fn rule(name: &str, value: &str) -> Option<(&'static str, Severity)> {
    if let Some((_, severity)) = EXACT.iter().find(|(exact, _)| *exact == name) {
        return (!value.is_empty() && !is_reference(value)).then_some((EXACT_RULE, *severity));
    }
    let tokens = tokens(name);
    let kind = KINDS.iter().find(|kind| kind.names.iter().any(|name| follow_each_other(name, &tokens)))?;
    let harmless = is_harmless_name(name, &tokens)
        || is_harmless_value(value, &tokens)
        || (kind.rule != PASSWORD_RULE && is_number(value))
        || is_reference(value);
    (!harmless).then_some((kind.rule, kind.severity))
}

fn follow_each_other(wanted: &[&str], tokens: &[&str]) -> bool {
    tokens.windows(wanted.len()).any(|window| window.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b)))
}

fn is_harmless_name(name: &str, tokens: &[&str]) -> bool {
    WORKING_DIRECTORIES.contains(&name)
        || tokens.last().is_some_and(|last| is_one_of(last, &DESCRIPTORS))
        || tokens.iter().any(|token| is_one_of(token, &HARMLESS))
}

fn is_harmless_value(value: &str, tokens: &[&str]) -> bool {
    value.chars().take(SHORTEST).count() < SHORTEST
        || is_one_of(value, &["true", "false"])
        || is_placeholder(value)
        || tokens.last().is_some_and(|last| last.eq_ignore_ascii_case(value))
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}

/// The parts of a name between `_`, `-`, `.` and changes of case.
pub(super) fn tokens(name: &str) -> Vec<&str> {
    name.split(['_', '-', '.']).flat_map(at_case_changes).filter(|token| !token.is_empty()).collect()
}

/// `dbPassword` is `db` and `Password`, `APIKey` is `API` and `Key`.
fn at_case_changes(part: &str) -> impl Iterator<Item = &str> {
    let byte = |index: usize| part.as_bytes().get(index).copied().unwrap_or_default();
    let starts_word = move |index: &usize| {
        let is_lower = |index| byte(index).is_ascii_lowercase();
        byte(*index).is_ascii_uppercase() && (is_lower(index.saturating_sub(1)) || is_lower(index + 1))
    };
    let mut start = 0;
    let ends = (1..part.len()).filter(starts_word).chain([part.len()]);
    ends.filter_map(move |end| part.get(std::mem::replace(&mut start, end)..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_separators_and_changes_of_case() {
        for (name, expected) in [
            ("DB_PASSWORD", &["DB", "PASSWORD"] as &[&str]),
            ("spring.datasource-password", &["spring", "datasource", "password"]),
            ("dbPassword", &["db", "Password"]),
            ("APIKey", &["API", "Key"]),
            ("myAPIKeyV2", &["my", "API", "Key", "V2"]),
            ("db1Password", &["db1", "Password"]),
            ("_A__B_", &["A", "B"]),
            ("Straßenname", &["Straßenname"]),
            ("", &[]),
        ] {
            assert_eq!(tokens(name), expected, "{name}");
        }
    }

    #[test]
    fn the_worst_kinds_are_asked_first() {
        assert!(KINDS.is_sorted_by(|before, after| before.severity >= after.severity));
    }
}
