//! Where credentials come from: the process's own identity, and the roles it assumes with it.
//!
//! Credentials are kept until shortly before they expire. If new ones cannot be had in time, the old
//! ones are used as long as they last, so a short outage of STS costs nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::sync::Mutex;

use crate::error::{AwsError, Effect, ErrorClass};

/// How long a session of an assumed role lasts: the most that role chaining allows.
const SESSION: Duration = Duration::from_secs(3600);
/// The name of the session, as CloudTrail shows it.
const SESSION_NAME: &str = "baseward";
/// Fetching takes at most this long; a chain of providers is tried one after the other.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Credentials are renewed this long before they expire, or after three quarters of a short life.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Credentials are not used in the last seconds of their life, which a call may outlast.
const LAST_USE: Duration = Duration::from_secs(30);
/// Credentials without an expiry (a file, the environment) are looked up anew after this time.
const KEEP_STATIC: Duration = Duration::from_secs(900);
/// A failure is answered again for this long, so that concurrent calls do not each ask STS.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
/// Credentials younger than this are not thrown away: others may have renewed them just now.
const YOUNG: Duration = Duration::from_secs(10);

/// Credentials that are fetched when needed and shared by all clients that use them.
#[derive(Clone, Debug)]
pub(crate) struct CredentialSource(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    origin: Origin,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
enum Origin {
    Chain(CredentialsProviderChain),
    Role(Box<Role>),
}

#[derive(Debug)]
struct Role {
    arn: String,
    external_id: String,
    sts: aws_sdk_sts::Client,
    base: CredentialSource,
}

#[derive(Debug, Default)]
struct Kept {
    credentials: Option<Fetched>,
    failure: Option<(Instant, AwsError)>,
}

#[derive(Debug)]
struct Fetched {
    credentials: Credentials,
    at: Instant,
    renew_at: SystemTime,
    expires: SystemTime,
}

impl Fetched {
    fn new(credentials: Credentials, now: SystemTime) -> Self {
        let expires = credentials.expiry().unwrap_or(now + KEEP_STATIC);
        let life = expires.duration_since(now).unwrap_or_default();
        let renew_at = now + (life - RENEW_BEFORE.min(life / 4));
        Self { credentials, at: Instant::now(), renew_at, expires }
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.renew_at
    }

    fn is_usable(&self, now: SystemTime) -> bool {
        // A clock that stands at nothing sensible must not make expired credentials usable.
        self.expires.duration_since(now).is_ok_and(|left| left > LAST_USE)
    }
}

impl CredentialSource {
    /// The identity the process runs with: environment, profile, web identity (IRSA), EKS Pod
    /// Identity or another container endpoint, in the order of all AWS SDKs. The instance's own
    /// role is asked only if allowed: on a node that others share it is not ours.
    pub(crate) fn own(config: &ProviderConfig, allow_instance_role: bool) -> Self {
        let profile = ProfileFileCredentialsProvider::builder().configure(config);
        // A profile may name the instance's role as its source.
        let profile = if allow_instance_role {
            profile
        } else {
            profile.with_custom_provider("Ec2InstanceMetadata", NoInstanceRole)
        };
        let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(config).build();
        let container = EcsCredentialsProvider::builder().configure(config).build();
        let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Profile", profile.build())
            .or_else("WebIdentityToken", web_identity)
            .or_else("Container", container);
        let chain = if allow_instance_role {
            chain.or_else("Ec2InstanceMetadata", ImdsCredentialsProvider::builder().configure(config).build())
        } else {
            chain
        };
        Self::new(Origin::Chain(chain))
    }

    /// A role, assumed with other credentials through an STS client that signs with those.
    pub(crate) fn role(arn: &str, external_id: &str, sts: aws_sdk_sts::Client, base: Self) -> Self {
        Self::new(Origin::Role(Box::new(Role { arn: arn.to_owned(), external_id: external_id.to_owned(), sts, base })))
    }

    /// The ARN of the sessions of a role, as CloudTrail shows who makes a call; none for the process's own identity.
    pub(crate) fn session_arn(&self) -> Option<String> {
        match &self.0.origin {
            Origin::Chain(_) => None,
            Origin::Role(role) => session_of(&role.arn),
        }
    }

    fn new(origin: Origin) -> Self {
        Self(Arc::new(Shared { origin, kept: Mutex::default() }))
    }

    /// Throws credentials away that AWS called expired or invalid.
    pub(crate) async fn invalidate(&self) {
        let mut kept = self.0.kept.lock().await;
        if kept.credentials.as_ref().is_some_and(|fetched| fetched.at.elapsed() > YOUNG) {
            kept.credentials = None;
        }
    }

    async fn get(&self) -> Result<Credentials, AwsError> {
        let mut kept = self.0.kept.lock().await;
        let now = SystemTime::now();
        if let Some(fetched) = kept.credentials.as_ref().filter(|fetched| fetched.is_fresh(now)) {
            return Ok(fetched.credentials.clone());
        }
        let failure = match kept.failure.take().filter(|(at, _)| at.elapsed() < KEEP_FAILURE) {
            Some(failure) => failure,
            None => match self.fetch().await {
                Ok(credentials) => {
                    kept.credentials = Some(Fetched::new(credentials.clone(), now));
                    return Ok(credentials);
                }
                Err(error) => (Instant::now(), error),
            },
        };
        let error = failure.1.clone();
        kept.failure = Some(failure);
        match kept.credentials.as_ref().filter(|fetched| fetched.is_usable(now)) {
            Some(fetched) => {
                tracing::warn!(%error, "Credentials could not be renewed, using the old ones while they last");
                Ok(fetched.credentials.clone())
            }
            None => Err(error),
        }
    }

    async fn fetch(&self) -> Result<Credentials, AwsError> {
        let fetch = async {
            match &self.0.origin {
                Origin::Chain(chain) => {
                    chain.provide_credentials().await.map_err(|error| AwsError::of_credentials(&error))
                }
                Origin::Role(role) => role.assume().await,
            }
        };
        let late = |_| AwsError::new("GetCredentials", ErrorClass::TimedOut, Effect::NotSent, "Timeout");
        tokio::time::timeout(FETCH_TIMEOUT, fetch).await.map_err(late)?
    }
}

impl ProvideCredentials for CredentialSource {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.get().await.map_err(CredentialsError::provider_error) })
    }
}

impl Role {
    async fn assume(&self) -> Result<Credentials, AwsError> {
        match self.assume_once().await {
            Err(error) if error.class == ErrorClass::CredentialsExpired => {
                self.base.invalidate().await;
                self.assume_once().await
            }
            result => result,
        }
    }

    async fn assume_once(&self) -> Result<Credentials, AwsError> {
        const OPERATION: &str = "AssumeRole";
        let reply = self
            .sts
            .assume_role()
            .role_arn(&self.arn)
            .external_id(&self.external_id)
            .role_session_name(SESSION_NAME)
            .duration_seconds(i32::try_from(SESSION.as_secs()).unwrap_or(3600))
            .send()
            .await
            .map_err(|error| AwsError::of(OPERATION, &error))?;
        let given = reply.credentials.ok_or_else(|| AwsError::unusable(OPERATION, "no credentials in the reply"))?;
        let expiry = SystemTime::try_from(given.expiration)
            .map_err(|_| AwsError::unusable(OPERATION, "the expiration is no time"))?;
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(expiry),
            OPERATION,
        ))
    }
}

/// The ARN of a session of ours, without the path of its role.
fn session_of(role_arn: &str) -> Option<String> {
    let (prefix, role) = role_arn.split_once(":role/")?;
    let prefix = prefix.replacen(":iam:", ":sts:", 1);
    let name = role.rsplit('/').next()?;
    Some(format!("{prefix}:assumed-role/{name}/{SESSION_NAME}"))
}

/// Stands in for the instance's role where that is not allowed.
#[derive(Debug)]
struct NoInstanceRole;

impl ProvideCredentials for NoInstanceRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let refused = "the profile asks for the instance's own role, which is not allowed";
        future::ProvideCredentials::ready(Err(CredentialsError::invalid_configuration(refused)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(now: SystemTime, life: Duration) -> Fetched {
        Fetched::new(Credentials::new("key", "secret", None, Some(now + life), "test"), now)
    }

    #[test]
    fn credentials_are_renewed_before_they_expire_and_usable_almost_until_then() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let hour = fetched(now, SESSION);
        assert!(hour.is_fresh(now + Duration::from_secs(3299)));
        assert!(!hour.is_fresh(now + Duration::from_secs(3300)));
        assert!(hour.is_usable(now + Duration::from_secs(3569)));
        assert!(!hour.is_usable(now + Duration::from_secs(3570)));
    }

    #[test]
    fn a_session_is_named_after_its_role_without_the_path() {
        let session = Some("arn:aws-cn:sts::111122223333:assumed-role/writer/baseward".to_owned());
        for role in ["arn:aws-cn:iam::111122223333:role/writer", "arn:aws-cn:iam::111122223333:role/a/b/writer"] {
            assert_eq!(session_of(role), session);
        }
        assert_eq!(session_of("arn:aws:iam::111122223333:user/ana"), None);
    }

    #[test]
    fn a_short_life_does_not_mean_a_call_to_sts_for_each_use() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(fetched(now, Duration::from_secs(200)).is_fresh(now + Duration::from_secs(149)));
        assert!(!fetched(now, Duration::ZERO).is_fresh(now));
        assert!(!fetched(now, Duration::ZERO).is_usable(now));
    }
}
