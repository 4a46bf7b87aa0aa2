//! The first tier: values that have the form of a credential.

use super::reference::{authorities, is_literal, is_resolved_elsewhere};

/// A rule's id, and whether a text holds such a credential.
type Rule = (&'static str, fn(&Text<'_>) -> bool);

/// In the order in which they are asked.
pub(super) const RULES: [Rule; 18] = [
    ("aws-access-key-id", aws_access_key_id),
    ("private-key", private_key),
    ("github-token", |text| text.has_token(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], alphanumeric, 36)),
    ("github-fine-grained-token", |text| text.has_token(&["github_pat_"], url_safe, SHORTEST)),
    ("gitlab-token", |text| text.has_token(&["glpat-"], url_safe, SHORTEST)),
    ("slack-token", |text| text.has_token(&SLACK_TOKENS, url_safe, SHORTEST)),
    ("slack-webhook", |text| text.has_token(&SLACK_WEBHOOKS, path, SHORTEST)),
    ("stripe-key", |text| text.has_token(&["sk_live_", "rk_live_"], alphanumeric, SHORTEST)),
    ("sendgrid-key", sendgrid_key),
    ("npm-token", |text| text.has_token(&["npm_"], alphanumeric, 36)),
    ("pypi-token", |text| text.has_token(&["pypi-AgE"], url_safe, SHORTEST)),
    ("json-web-token", json_web_token),
    ("google-api-key", |text| text.has_token(&["AIza"], url_safe, 35)),
    ("azure-storage-key", |text| text.has_token(&["AccountKey="], base64, SHORTEST)),
    ("openai-key", |text| text.has_token(&["sk-"], alphanumeric, 32) || text.has_token(&["sk-proj-"], url_safe, 32)),
    ("anthropic-key", |text| text.has_token(&["sk-ant-"], url_safe, 32)),
    ("url-password", url_password),
    ("connection-string-password", connection_string_password),
];

const SLACK_TOKENS: [&str; 7] = ["xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"];
const SLACK_WEBHOOKS: [&str; 3] =
    ["hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"];

/// Where the catalogue gives a prefix but no length: so much must follow it, as a prefix alone is no secret. The
/// shortest of these credentials are longer.
const SHORTEST: usize = 16;

/// The rule that a value breaks, if any.
pub(super) fn rule(value: &str) -> Option<&'static str> {
    if is_resolved_elsewhere(value) {
        return None;
    }
    let text = Text::new(value);
    RULES.iter().find(|(_, holds)| holds(&text)).map(|(rule, _)| *rule)
}

/// A value, and every place in it where a token may start.
pub(super) struct Text<'a> {
    whole: &'a str,
    /// From there to the end of the value.
    words: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn new(whole: &'a str) -> Self {
        let mut inside = false;
        let starts = whole.bytes().enumerate().filter_map(|(index, byte)| {
            let before = std::mem::replace(&mut inside, byte.is_ascii_alphanumeric());
            (inside && !before).then_some(index)
        });
        Self { whole, words: starts.filter_map(|start| whole.get(start..)).collect() }
    }

    /// What follows one of the prefixes, wherever a word starts with it.
    fn after(&self, prefixes: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
        self.words.iter().flat_map(|word| prefixes.iter().filter_map(|prefix| word.strip_prefix(prefix)))
    }

    /// Whether so many bytes of an alphabet follow one of the prefixes.
    fn has_token(&self, prefixes: &'static [&'static str], alphabet: fn(u8) -> bool, least: usize) -> bool {
        self.after(prefixes).any(|body| body.bytes().take(least).take_while(|byte| alphabet(*byte)).count() == least)
    }
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn url_safe(byte: u8) -> bool {
    alphanumeric(byte) || b"-_".contains(&byte)
}

fn base64(byte: u8) -> bool {
    alphanumeric(byte) || b"+/=".contains(&byte)
}

fn path(byte: u8) -> bool {
    url_safe(byte) || byte == b'/'
}

/// `AKIA` or `ASIA` and exactly 16 characters of base 32, but not the key ids of AWS's documentation.
fn aws_access_key_id(text: &Text<'_>) -> bool {
    text.after(&["AKIA", "ASIA"]).any(|rest| {
        let id = rest.split(|end: char| !end.is_ascii_alphanumeric()).next().unwrap_or(rest);
        id.len() == 16
            && id.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
            && !id.contains("EXAMPLE")
    })
}

/// The header of a private key, whatever its kind.
fn private_key(text: &Text<'_>) -> bool {
    let mut headers = text.whole.split("-----").skip(1).filter_map(|label| label.strip_prefix("BEGIN "));
    headers.any(|label| label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK"))
}

/// `SG.x.y`.
fn sendgrid_key(text: &Text<'_>) -> bool {
    text.after(&["SG."]).any(|rest| {
        let mut parts = rest.split('.').map(|part| part.bytes().take_while(|byte| url_safe(*byte)).count());
        parts.next() >= Some(SHORTEST) && parts.next() >= Some(SHORTEST)
    })
}

/// Header, payload and signature, the first two JSON objects in base 64.
fn json_web_token(text: &Text<'_>) -> bool {
    text.after(&["eyJ"]).any(|rest| {
        let mut parts = rest.split('.');
        let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
        let payload = payload.and_then(|payload| payload.strip_prefix("eyJ"));
        payload.is_some_and(|payload| payload.bytes().all(url_safe))
            && header.is_some_and(|header| header.bytes().all(url_safe))
            && signature.is_some_and(|signature| signature.bytes().next().is_some_and(url_safe))
    })
}

/// `scheme://user:password@host`.
fn url_password(text: &Text<'_>) -> bool {
    let mut users = authorities(text.whole).filter_map(|authority| authority.rsplit_once('@'));
    users.any(|(user, _)| user.split_once(':').is_some_and(|(_, password)| is_literal(password)))
}

/// `Server=db;Password=…`, `host=db password=…`, `jdbc:…?user=app&password=…`.
fn connection_string_password(text: &Text<'_>) -> bool {
    let is_connection_string = || text.whole.contains("://") || assignments(text.whole) > 1;
    text.whole.contains('=') && holds_password(text.whole) && is_connection_string()
}

fn holds_password(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let passwords = ["password=", "pwd="].into_iter().flat_map(|key| lower.match_indices(key));
    let is_whole_key =
        |at: usize| lower.get(..at).is_some_and(|before| before.is_empty() || before.ends_with(separator));
    passwords.filter(|(at, _)| is_whole_key(*at)).any(|(at, key)| {
        let rest = text.get(at + key.len()..).unwrap_or_default().trim_start_matches(['"', '\'']);
        rest.split(separator).next().is_some_and(is_literal)
    })
}

/// Between the settings of a connection string, and around their values.
fn separator(character: char) -> bool {
    character.is_whitespace() || ";&?,\"'".contains(character)
}

/// How many settings have a value.
fn assignments(text: &str) -> usize {
    let pairs = text.split(separator).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, value)| !key.is_empty() && !value.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_start_at_words_and_have_their_length() {
        const ID: &str = concat!("AK", "IAFAKEFAKEFAKEFAKE");
        for held in [ID.to_owned(), format!("id={ID},"), format!("é{ID}é"), format!("x {ID}EXAMPLE {ID}")] {
            assert_eq!(rule(&held), Some("aws-access-key-id"), "{held}");
        }
        for free in
            [format!("x{ID}"), format!("{ID}A"), format!("{ID}1"), ID.to_lowercase(), ID.replace("FAKE", "FAK8")]
        {
            assert_eq!(rule(&free), None, "{free}");
        }
    }

    #[test]
    fn prefixes_alone_are_no_secrets() {
        let prefixes = "ghp_, glpat-, xoxb-, sk_live_, SG., npm_, pypi-AgE, AIza, AccountKey=, sk-, eyJ.eyJ., AKIA";
        assert_eq!(rule(prefixes), None);
    }

    #[test]
    fn a_long_text_of_prefixes_takes_no_time() {
        for prefix in ["eyJ-", "SG.", "glpat-.", "AKIA-", "://", "password=;", "-----BEGIN "] {
            assert_eq!(rule(&prefix.repeat(20_000)), None, "{prefix}");
        }
    }
}
