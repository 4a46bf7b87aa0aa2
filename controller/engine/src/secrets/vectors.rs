//! Variables as they occur in real functions and task definitions. No credential here is one: each only has its form,
//! and is written in parts so that scanners of repositories stay quiet.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Severity, Suspicion, Tier, certain, entropy, named, suspicions};

const FAKE_16: &str = "FakeFakeFakeFake";
const FAKE_36: &str = "FakeFakeFakeFakeFakeFakeFakeFakeFake";

/// Name, value, and a rule that they break. `{16}` and `{36}` are filler of that length.
#[rustfmt::skip]
const SECRETS: [(&str, &str, &str); 79] = [
    // By form.
    ("SOURCE", concat!("AK", "IAFAKEFAKEFAKE2345"), "aws-access-key-id"),
    ("SETTINGS", concat!(r#"{"id":"AS"#, r#"IAFAKEFAKEFAKEFAKE"}"#), "aws-access-key-id"),
    ("SIGNER", concat!("-----BEGIN RSA PRI", "VATE KEY-----\nFake\n-----END RSA PRI", "VATE KEY-----"), "private-key"),
    ("PEM", concat!(r"-----BEGIN PRI", r"VATE KEY-----\nFake"), "private-key"),
    ("SSH", concat!("-----BEGIN OPENSSH PRI", "VATE KEY-----"), "private-key"),
    ("MAIL", concat!("-----BEGIN PGP PRI", "VATE KEY BLOCK-----"), "private-key"),
    ("CI", concat!("gh", "p_{36}"), "github-token"),
    ("CI", concat!("gh", "o_{36}"), "github-token"),
    ("CI", concat!("gh", "u_{36}"), "github-token"),
    ("CI", concat!("https://gh", "s_{36}@github.com/acme"), "github-token"),
    ("CI", concat!("gh", "r_{36}"), "github-token"),
    ("CI", concat!("github", "_pat_{36}"), "github-fine-grained-token"),
    ("PIPELINE", concat!("gl", "pat-{16}"), "gitlab-token"),
    ("CHAT", concat!("xo", "xb-000000000000-{16}"), "slack-token"),
    ("CHAT", concat!("xo", "xp-000000000000-{16}"), "slack-token"),
    ("CHAT", concat!("xo", "xe.xo", "xs-000000000000-{16}"), "slack-token"),
    ("ALERTS", concat!("https://hooks.sl", "ack.com/services/T0FAKE/B0FAKE/{16}"), "slack-webhook"),
    ("ALERTS_URL", concat!("https://hooks.sl", "ack.com/workflows/T0FAKE/A0FAKE/{16}"), "slack-webhook"),
    ("PAYMENTS", concat!("sk", "_live_{16}"), "stripe-key"),
    ("PAYMENTS", concat!("rk", "_live_{16}"), "stripe-key"),
    ("MAILER", concat!("S", "G.{16}.{16}"), "sendgrid-key"),
    ("NPMRC", concat!("//registry.npmjs.org/:_authToken=np", "m_{36}"), "npm-token"),
    ("UPLOAD", concat!("py", "pi-AgE{16}"), "pypi-token"),
    ("SESSION", concat!("ey", "JFake.ey", "JFake.fake-fake_fake"), "json-web-token"),
    ("AUTHORIZATION", concat!("Bearer ey", "JFake.ey", "JFake.fake"), "json-web-token"),
    ("MAPS", concat!("AI", "zaFake{36}"), "google-api-key"),
    ("BLOBS", concat!("DefaultEndpointsProtocol=https;AccountName=fake;Account", "Key={36}=="), "azure-storage-key"),
    ("MODEL", concat!("s", "k-{36}"), "openai-key"),
    ("MODEL", concat!("s", "k-proj-fake_fake-{36}"), "openai-key"),
    ("MODEL", concat!("s", "k-ant-api00-{36}"), "anthropic-key"),
    ("DATABASE_URL", concat!("postgres://app:hun", "ter2@db.internal:5432/app"), "url-password"),
    ("REDIS_URL", concat!("rediss://:hun", "ter2@cache.internal:6379"), "url-password"),
    ("CLUSTER", concat!("mongodb://app:hun", "ter2@a.internal,b.internal/app?replicaSet=one"), "url-password"),
    ("NEXT", concat!("https://example.com/?to=https://app:hun", "ter2@example.com"), "url-password"),
    ("SQL", concat!("Server=db;Database=app;User Id=app;Pass", "word=hunter2;"), "connection-string-password"),
    ("SQL", concat!("Server=db;Uid=app;P", "wd=hunter2"), "connection-string-password"),
    ("DSN", concat!("host=db user=app pass", "word=hunter2"), "connection-string-password"),
    ("JDBC", concat!("jdbc:postgresql://db/app?user=app&pass", "word=hunter2"), "connection-string-password"),
    ("CACHE", concat!("cache.internal:6380,ssl=True,pass", "word=hunter2"), "connection-string-password"),
    // By name.
    ("AWS_ACCESS_KEY_ID", concat!("AK", "IAIOSFODNN7EXAMPLE"), "exact-name"),
    ("AWS_SECRET_ACCESS_KEY", "changeme", "exact-name"),
    ("AWS_SECRET_ACCESS_KEY", "/Fake3fake3FAKE3fake3Fake3fake3FAKE3fake3", "exact-name"),
    ("AWS_SESSION_TOKEN", "true", "exact-name"),
    ("ECS_ENGINE_AUTH_DATA", "{}", "exact-name"),
    ("DB_PASSWORD", "hunter22", "named-password"),
    ("DB_PASSWORD", "12345678", "named-password"),
    ("db-passwd", "hunter22", "named-password"),
    ("sshPassphrase", "correct horse", "named-password"),
    ("SMTP_PASS", "hunter22", "named-password"),
    ("DB_PWD", "hunter22", "named-password"),
    ("PGPASSWORD", "hunter22", "named-password"),
    ("spring.datasource.password", "hunter22", "named-password"),
    ("MYSQL_ROOT_PASSWORD", "root", "named-password"),
    ("TOKEN_OR_PASSWORD", "hunter22", "named-password"),
    ("PASSWORD", "${DEFAULT:-hunter22}", "named-password"),
    ("DATADOG_APIKEY", "fake-fake", "named-api-key"),
    ("datadogApiKey", "fake-fake", "named-api-key"),
    ("API_KEY_2", "fake-fake", "named-api-key"),
    ("MINIO_ACCESS_KEY", "fake-fake", "named-access-key"),
    ("GITHUB_APP_PRIVATE_KEY", "fake-fake", "named-private-key"),
    ("ENCRYPTION_KEY", "fake-fake", "named-encryption-key"),
    ("COOKIE_SIGNING_KEY", "fake-fake", "named-signing-key"),
    ("RAILS_MASTER_KEY", "fake-fake", "named-master-key"),
    ("NEW_RELIC_LICENSE_KEY", "fake-fake", "named-license-key"),
    ("NGROK_AUTH_KEY", "fake-fake", "named-auth-key"),
    ("OAUTH_CLIENT_SECRET", "fake-fake", "named-client-secret"),
    ("DJANGO_SECRET_KEY", "fake-fake", "named-secret"),
    ("JWTSecret", "fake-fake", "named-secret"),
    ("SLACK_TOKEN", "fake-fake", "named-token"),
    ("SENTRY_TOKEN", "https://fake@sentry.example.com/1", "named-token"),
    ("GOOGLE_CREDENTIALS", r#"{"type":"fake"}"#, "named-credential"),
    ("VENDOR_CREDENTIAL", "fake-fake", "named-credential"),
    ("PASSWORDLESS_SALT", "fake-fake", "named-salt"),
    ("WEBHOOK_HMAC", "fake-fake", "named-hmac"),
    // By randomness.
    ("BLOB", "q7RzT2mXc9LwKp4VbN8sYd3FhJ6gA5eU", "random-base64"),
    ("BLOB", "q7RzT2mXc9LwKp4VbN8s+d3Fh/6gA5eUw==", "random-base64"),
    ("BLOB", "q7RzT2mXc9_wKp4VbN8sYd3F-J6gA5eU", "random-base64"),
    ("SEED", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "random-hex"),
    ("VALID", "0F1E2D3C4B5A69788796A5B4C3D2E1F0", "random-hex"),
];

/// What no detector may mistake for a credential.
#[rustfmt::skip]
const HARMLESS: [(&str, &str); 102] = [
    // Ordinary settings.
    ("STAGE", "production"),
    ("LOG_LEVEL", "info"),
    ("TABLE", "orders-prod"),
    ("QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"),
    ("NODE_OPTIONS", "--enable-source-maps --max-old-space-size=1024"),
    ("JAVA_TOOL_OPTIONS", "-XX:+TieredCompilation -XX:TieredStopAtLevel=1"),
    ("PYTHONPATH", "/opt/python:/var/task"),
    ("CORS_ORIGINS", "https://app.example.com,https://admin.example.com"),
    ("FEATURES", "search,checkout,recommendations"),
    ("KEYBOARD", "qwerty"),
    ("MONKEY", "fake-fake"),
    ("PRIMARY_KEY", "order-id"),
    ("PASSENGERS", "fake-fake"),
    ("BYPASS_CACHE", "always"),
    ("COMPASS", "north"),
    ("TOKENS", "fake-fake"),
    ("SECRETARY", "fake-fake"),
    ("DBPASSWORD", "not a token of its own"),
    ("MAIL_FROM", "noreply@example.com"),
    // Nearly the form of a credential.
    ("KEYS", concat!("AK", "IAIOSFODNN7EXAMPLE")),
    ("KEYS", concat!("AK", "IAFAKEFAKEFAKEFAKE1")),
    ("KEYS", concat!("xAK", "IAFAKEFAKEFAKEFAKE")),
    ("CERTIFICATE", "-----BEGIN CERTIFICATE-----\nFake\n-----END CERTIFICATE-----"),
    ("VERIFIER", "-----BEGIN PUBLIC KEY-----\nFake\n-----END PUBLIC KEY-----"),
    ("SCANNED", "ghp_,github_pat_,glpat-,xoxb-,sk_live_,rk_live_,npm_,pypi-AgE,AIza,SG."),
    ("CI", concat!("gh", "p_Fake")),
    ("PAYMENTS", concat!("sk", "_test_{16}")),
    ("BUCKET", "sk-production-data-lake-eu-central-1-access-logs"),
    ("TASK", "task-FakeFakeFakeFakeFakeFakeFakeFake"),
    ("CLAIMS", "eyJFake.eyJFake"),
    ("CLAIMS", "eyJFake.Fake.Fake"),
    ("DATABASE_URL", "postgres://app@db.internal:5432/app"),
    ("DATABASE_URL", "postgres://app:changeme@db.internal/app"),
    ("DATABASE_URL", "postgres://app:***@db.internal/app"),
    ("DATABASE_URL", "postgres://<user>:<password>@db.internal/app"),
    ("DATABASE_URL", "postgres://app:${DB_PASSWORD}@db.internal/app"),
    ("DATABASE_URL", "postgres://app:{{resolve:ssm:db}}@db.internal/app"),
    ("DATABASE_URL", "postgres://app:@db.internal/app"),
    ("WEBSITE", "https://example.com:8443/@user?mail=a:b@example.com"),
    ("SQL", "Server=db;Database=app;Integrated Security=true"),
    ("SQL", "Server=db;User Id=app;Password=;"),
    ("SQL", "Server=db;User Id=app;Password=${DB_PASSWORD};"),
    ("SQL", "Server=db;User Id=app;Password=<password>"),
    ("SQL", "Server=db;User Id=app;pwd=***"),
    ("SQL", "Server=db;User Id=app;ShowPassword=never"),
    ("HINT", "password=required"),
    ("BLOBS", "DefaultEndpointsProtocol=https;AccountName=fake;AccountKey=${KEY}"),
    // A name that describes a credential.
    ("DB_SECRET_ARN", "fake-fake"),
    ("SECRET_NAME", "prod/db"),
    ("API_KEY_ID", "fake-fake"),
    ("PASSWORD_FILE", "credentials.txt"),
    ("TOKEN_URL", "fake-fake"),
    ("TOKEN_ENDPOINT", "fake-fake"),
    ("tokenTtl", "3600s"),
    ("PASSWORD_LENGTH", "sixteen"),
    ("TOKEN_ISSUER", "fake-fake"),
    ("SECRETS_MANAGER", "fake-fake"),
    ("SECRET_MANAGER", "fake-fake"),
    ("CREDENTIALS_PROVIDER", "fake-fake"),
    ("PASSWORD_POLICY", "strict"),
    ("SESSION_TOKEN_COOKIE", "session"),
    ("API_KEY_HEADER", "x-api-key"),
    ("api.key.version", "version-3"),
    // A name of something public, or of a limit.
    ("STRIPE_PUBLISHABLE_API_KEY", "fake-fake"),
    ("PUBLIC_TOKEN", "fake-fake"),
    ("NEXT_PUBLIC_API_KEY", "fake-fake"),
    ("MAX_TOKEN", "4096 each"),
    ("TOKEN_MIN_USES", "three"),
    ("PWD", "somewhere"),
    ("OLDPWD", "somewhere"),
    // A value that cannot be a credential.
    ("DB_PASSWORD", ""),
    ("DB_PASSWORD", "   "),
    ("USE_TOKEN", "true"),
    ("CLIENT_SECRET", "False"),
    ("DB_PASSWORD", "changeme"),
    ("DB_PASSWORD", "ChangeMe"),
    ("DB_PASSWORD", "********"),
    ("DB_PASSWORD", "<set in console>"),
    ("DB_PASSWORD", "abc"),
    ("DB_PASSWORD", "password"),
    ("dbPassword", "PASSWORD"),
    ("AUTH_TOKEN", "token"),
    ("SIGNING_KEY", "12345678"),
    ("TOKEN", "-0.75"),
    // A reference, whatever the name.
    ("DB_PASSWORD", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf"),
    ("DB_PASSWORD", "arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/db"),
    ("DB_PASSWORD", "ssm:/prod/db"),
    ("DB_PASSWORD", "secretsmanager:prod/db"),
    ("DB_PASSWORD", "{{resolve:secretsmanager:prod/db:SecretString:password}}"),
    ("DB_PASSWORD", "${DB_PASSWORD_FROM_PIPELINE}"),
    ("DB_PASSWORD", "vault:secret/data/db#password"),
    ("DB_PASSWORD", "op://production/db/password"),
    ("DB_PASSWORD", "file:password.txt"),
    ("DB_PASSWORD", "/run/secrets/db_password"),
    ("DB_PASSWORD", r"C:\ProgramData\secrets\db"),
    ("CLIENT_SECRET", "https://vault.example.com/v1/secret/client"),
    ("AWS_SECRET_ACCESS_KEY", ""),
    ("AWS_SECRET_ACCESS_KEY", "ssm:/prod/key"),
    // Hex digits, repetition, and text that is no secret though it looks random.
    ("COMMIT", "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567"),
    ("imageSha256", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    ("ZEROS", "00000000000000000000000000000000"),
    ("TENANT", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
];

fn filled(value: &str) -> String {
    value.replace("{16}", FAKE_16).replace("{36}", FAKE_36)
}

fn of(name: &str, value: &str) -> Vec<Suspicion> {
    suspicions(std::iter::once((name, value)))
}

#[test]
fn every_secret_is_suspected_by_its_rule() {
    for (name, value, rule) in SECRETS {
        let found = of(name, &filled(value));
        assert!(found.iter().any(|suspicion| suspicion.rule == rule), "{name}={value}: {found:?}");
    }
}

#[test]
fn nothing_harmless_is_suspected() {
    for (name, value) in HARMLESS {
        assert_eq!(of(name, &filled(value)), [], "{name}={value}");
    }
}

#[test]
fn every_rule_has_a_secret() {
    let covered: BTreeSet<_> = SECRETS.iter().map(|(_, _, rule)| *rule).collect();
    let by_form = certain::RULES.iter().map(|(rule, _)| *rule);
    let by_name = named::KINDS.iter().map(|kind| kind.rule).chain(["exact-name"]);
    let by_randomness = [entropy::BASE64_RULE, entropy::HEX_RULE];
    assert_eq!(covered, by_form.chain(by_name).chain(by_randomness).collect());
}

#[test]
fn every_name_of_every_kind_is_suspected_and_no_description_of_it() {
    for kind in &named::KINDS {
        for name in kind.names {
            let name = format!("APP_{}", name.join("_"));
            let [suspicion] = of(&name, "fake-fake").try_into().unwrap();
            assert_eq!((suspicion.tier, suspicion.rule), (Tier::Named, kind.rule), "{name}");
            for descriptor in named::DESCRIPTORS {
                assert_eq!(of(&format!("{name}_{descriptor}"), "fake-fake"), [], "{name} {descriptor}");
                assert_ne!(of(&format!("{descriptor}_{name}"), "fake-fake"), [], "{descriptor} {name}");
            }
            for harmless in named::HARMLESS {
                assert_eq!(of(&format!("{harmless}_{name}"), "fake-fake"), [], "{harmless} {name}");
            }
        }
    }
}

#[test]
fn every_exact_name_is_suspected() {
    for (name, severity) in named::EXACT {
        for value in ["a", "true", "***", "1"] {
            let [suspicion] = of(name, value).try_into().unwrap();
            assert_eq!((suspicion.rule, suspicion.severity), ("exact-name", severity));
        }
    }
}

#[test]
fn hex_digits_are_fingerprints_by_every_name_on_the_list() {
    for fingerprint in entropy::FINGERPRINTS {
        assert_eq!(of(&format!("APP_{fingerprint}_1"), "0f1e2d3c4b5a69788796a5b4c3d2e1f0"), [], "{fingerprint}");
    }
}

#[test]
fn passwords_and_keys_are_critical_and_the_rest_is_high() {
    let severity = |name: &str| of(name, "fake-fake").first().map(|suspicion| suspicion.severity);
    for name in ["DB_PASS", "API_KEY", "AUTH_KEY", "TOKEN_SIGNING_KEY"] {
        assert_eq!(severity(name), Some(Severity::Critical), "{name}");
    }
    for name in ["CLIENT_SECRET", "TOKEN", "CREDENTIALS", "SALT", "HMAC", "SECRET_KEY"] {
        assert_eq!(severity(name), Some(Severity::High), "{name}");
    }
}

#[test]
fn randomness_needs_its_length() {
    const RANDOM: &str = "q7RzT2mXc9LwKp4VbN8sYd3FhJ6gA5eU";
    assert_eq!(of("BLOB", &RANDOM[..23]), []);
    assert_ne!(of("BLOB", &RANDOM[..24]), []);
    assert_ne!(of("BLOB", &RANDOM.repeat(6)), []);
    assert_eq!(of("BLOB", &RANDOM.repeat(7)), []);
    assert_eq!(of("BLOB", "0f1e2d3c4b5a69788796a5b4c3d2e1f"), []);
    assert_eq!(of("BLOB", &RANDOM.to_lowercase()), []);
}

#[test]
fn no_suspicion_holds_a_value() {
    for (name, value, _) in SECRETS {
        let value = filled(value);
        for suspicion in of("VARIABLE", &value).into_iter().chain(of(name, &value)) {
            let told = format!("{suspicion:?}");
            // Shorter ones are words that rules and variables are named by.
            assert!(value.len() < 7 || !told.contains(&value), "{told}");
        }
    }
}

proptest! {
    /// Names and values are whatever somebody wrote.
    #[test]
    fn any_text_can_be_judged(name in ".{0,40}", value in "[://@;=.\\-_$%{}<>* a-zA-Zé0-9]{0,80}", any in ".{0,80}") {
        for value in [&value, &any] {
            let found = of(&name, value);
            prop_assert!(found.len() <= 3);
        }
    }
}
