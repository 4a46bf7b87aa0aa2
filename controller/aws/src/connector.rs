//! The way to AWS: one per process, from which every connection is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::sdk_ua_metadata::FrameworkMetadata;
use engine::facts::Location;

use crate::connection::{Connection, Session};
use crate::credentials::CredentialSource;
use crate::limiter::Limiter;
use crate::reply::WholeReply;

/// Time to establish a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one call of STS; credentials are fetched within the time of the call that needs them.
const STS_TIMEOUT: Duration = Duration::from_secs(5);
/// A reply whose body makes no progress for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// How the process reaches AWS.
#[derive(Clone, Debug)]
pub struct ConnectorOptions {
    /// One endpoint for all services, for tests and for private endpoints. Without it `AWS_ENDPOINT_URL` and
    /// `AWS_ENDPOINT_URL_EC2` / `…_STS` hold, as in every AWS SDK.
    pub endpoint_url: Option<String>,
    /// Whether the role of the instance that the process runs on may be used (through IMDS).
    pub allow_instance_role: bool,
    /// Time for one attempt of a read, credentials included.
    pub read_timeout: Duration,
    /// Time for a write, credentials included.
    pub write_timeout: Duration,
}

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            allow_instance_role: false,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(15),
        }
    }
}

/// An AWS account as it is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Twelve-digit id of the account.
    pub account_id: String,
    /// ARN of the role to read with; without it the process's own identity, which must be of this account.
    pub read_role: Option<String>,
    /// ARN of the role to write with; without it nothing can be written.
    pub write_role: Option<String>,
    /// The external id that both roles are assumed with.
    pub external_id: String,
    /// Percent of each documented AWS rate limit that may be used, 1 to 100.
    pub rate_share: u8,
}

/// The way to AWS. Cheap to clone; all clones share credentials, connections and rate limits.
#[derive(Clone, Debug)]
pub struct Connector {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Everything but credentials, region and timeouts.
    config: SdkConfig,
    /// Where the process runs, as far as the environment or the profile says.
    home: Option<Region>,
    own: CredentialSource,
    roles: Mutex<HashMap<RoleKey, CredentialSource>>,
    limiters: Mutex<HashMap<Location, Arc<Limiter>>>,
    read_timeout: Duration,
    write_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RoleKey {
    arn: String,
    external_id: String,
    region: String,
}

impl Connector {
    /// Reads the environment and the shared configuration files. Makes no call.
    pub async fn new(options: ConnectorOptions) -> Self {
        let http = http_client(ProxyConfig::from_env());
        // The SDK's own region chain would ask IMDS, which can hang where there is none.
        let home = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .region()
            .await;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(home.clone())
            .no_credentials()
            .http_client(http.clone())
            .retry_config(RetryConfig::disabled())
            // Credentials are kept by `CredentialSource`, which survives an outage of STS.
            .identity_cache(IdentityCache::no_cache())
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled().upload_enabled(false).grace_period(STALLED_AFTER).build(),
            );
        if let Ok(name) = AppName::new("baseward") {
            loader = loader.app_name(name);
        }
        if let Ok(version) = FrameworkMetadata::new("baseward", Some(env!("CARGO_PKG_VERSION"))) {
            loader = loader.framework_metadata(version);
        }
        if let Some(url) = options.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let provider_config = ProviderConfig::without_region()
            .with_region(home.clone())
            .with_http_client(http)
            .with_timeout_config(timeouts(STS_TIMEOUT));
        Self {
            inner: Arc::new(Inner {
                config: loader.load().await,
                home,
                own: CredentialSource::own(&provider_config, options.allow_instance_role),
                roles: Mutex::default(),
                limiters: Mutex::default(),
                read_timeout: options.read_timeout,
                write_timeout: options.write_timeout,
            }),
        }
    }

    /// The longest that any write takes, whatever happens, with the wait for its turn.
    pub fn longest_write(&self) -> Duration {
        self.inner.write_timeout
    }

    /// A connection to one region of an account. Makes no call: roles are assumed when first used.
    pub fn connect(&self, target: &Target, region: &str) -> Connection {
        let location = Location { account: target.account_id.clone(), region: region.to_owned() };
        let session = |role: &Option<String>, timeout| {
            let credentials = match role {
                Some(arn) => self.role(arn, &target.external_id, region),
                None => self.inner.own.clone(),
            };
            self.session(credentials, region, timeout)
        };
        let read = session(&target.read_role, self.inner.read_timeout);
        let write = target.write_role.is_some().then(|| session(&target.write_role, self.inner.write_timeout));
        let limiter = self.limiter(&location, target.rate_share);
        Connection::new(location, read, write, limiter)
    }

    /// The identity the process itself runs with, in the region it runs in or else in `region`.
    pub(crate) fn own_session(&self, region: &str) -> Session {
        let region = self.inner.home.as_ref().map_or(region, Region::as_ref);
        self.session(self.inner.own.clone(), region, self.inner.read_timeout)
    }

    fn session(&self, credentials: CredentialSource, region: &str, timeout: Duration) -> Session {
        let config = self.config(&credentials, region, timeout);
        let home = self.inner.home.as_ref().filter(|home| home.as_ref() != region);
        Session {
            cloudfront: aws_sdk_cloudfront::Client::new(&config),
            cloudtrail: aws_sdk_cloudtrail::Client::new(&config),
            ec2: ec2_client(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            tagging: aws_sdk_resourcegroupstagging::Client::new(&config),
            sts: self.sts(&credentials, region),
            home_sts: home.map(|home| self.sts(&credentials, home.as_ref())),
            credentials,
            timeout,
        }
    }

    fn sts(&self, credentials: &CredentialSource, region: &str) -> aws_sdk_sts::Client {
        let config = self.config(credentials, region, STS_TIMEOUT);
        aws_sdk_sts::Client::from_conf(aws_sdk_sts::config::Builder::from(&config).interceptor(WholeReply).build())
    }

    fn config(&self, credentials: &CredentialSource, region: &str, timeout: Duration) -> SdkConfig {
        let builder = self.inner.config.clone().into_builder();
        builder
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .timeout_config(timeouts(timeout))
            .build()
    }

    /// The credentials of a role. It is assumed where the process runs: what a regional endpoint of STS
    /// gives out holds in every region, and so one session per role is enough.
    fn role(&self, arn: &str, external_id: &str, region: &str) -> CredentialSource {
        let region = self.inner.home.as_ref().map_or(region, Region::as_ref);
        let key = RoleKey { arn: arn.to_owned(), external_id: external_id.to_owned(), region: region.to_owned() };
        let make = || {
            let own = self.inner.own.clone();
            CredentialSource::role(arn, external_id, self.sts(&own, region), own)
        };
        lock(&self.inner.roles).entry(key).or_insert_with(make).clone()
    }

    fn limiter(&self, location: &Location, rate_share: u8) -> Arc<Limiter> {
        let mut limiters = lock(&self.inner.limiters);
        let limiter = limiters.entry(location.clone()).or_insert_with(|| Arc::new(Limiter::new(rate_share)));
        limiter.set_share(rate_share);
        Arc::clone(limiter)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ec2_client(config: &SdkConfig) -> aws_sdk_ec2::Client {
    aws_sdk_ec2::Client::from_conf(aws_sdk_ec2::config::Builder::from(config).interceptor(WholeReply).build())
}

/// One pool of connections and one TLS stack for all clients.
fn http_client(proxy: ProxyConfig) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = aws_smithy_http_client::Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        builder.proxy_config(proxy.clone()).tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}

/// There is one attempt, so its time and the time of the operation are the same.
fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(attempt))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt)
        .build()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::error::{AwsError, Effect, ErrorClass};

    /// What a read of security groups comes to at an endpoint on this machine.
    async fn read(address: std::net::SocketAddr) -> Result<usize, AwsError> {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .endpoint_url(format!("http://{address}"))
            .http_client(http_client(ProxyConfig::disabled()))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("key", "secret", None, None, "test")))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(Duration::from_secs(5)))
            .build();
        let reply = ec2_client(&config).describe_security_groups().send().await;
        let reply = reply.map_err(|error| AwsError::of("DescribeSecurityGroups", &error))?;
        Ok(reply.security_groups().len())
    }

    /// Answers one request with the given bytes and closes the connection.
    async fn read_once(answer: String) -> Result<usize, AwsError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 65536]).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(serve, read(address)).1
    }

    fn http(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    const GROUPS: &str = "<DescribeSecurityGroupsResponse><securityGroupInfo><item><groupId>sg-1</groupId></item>\
        <item><groupId>sg-2</groupId></item></securityGroupInfo></DescribeSecurityGroupsResponse>";

    #[tokio::test]
    async fn a_refused_connection_proves_that_nothing_was_sent() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = read(free).await.unwrap_err();
        assert_eq!((error.class, error.effect), (ErrorClass::Unavailable, Effect::NotSent));
        assert_eq!(error.code, "ConnectionFailed");
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_an_answer_proves_nothing() {
        let error = read_once(String::new()).await.unwrap_err();
        assert_eq!((error.class, error.effect), (ErrorClass::Unavailable, Effect::Unknown));
    }

    #[tokio::test]
    async fn a_listing_that_was_cut_off_is_not_a_shorter_listing() {
        assert_eq!(read_once(http(GROUPS)).await, Ok(2));
        let (half, _) = GROUPS.split_at(GROUPS.find("<item><groupId>sg-2").unwrap());
        for cut_off in [half, "<html>", ""] {
            let error = read_once(http(cut_off)).await.unwrap_err();
            assert_eq!((error.class, error.effect), (ErrorClass::Undecodable, Effect::Unknown), "{cut_off}");
        }
    }
}
