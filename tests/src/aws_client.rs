//! The AWS SDK as somebody else uses it: a hand at the console, or another tool.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// More than any answer takes that comes at all.
const TIMEOUT: Duration = Duration::from_secs(30);

/// EC2 in one region of an account of the emulator at `url`, as the account's root. Retries are off.
#[must_use]
pub fn ec2(url: &str, account: &str, region: &str) -> aws_sdk_ec2::Client {
    ec2_within(url, account, region, TIMEOUT)
}

/// The same, but for one that waits no longer than this for an answer.
#[must_use]
pub fn ec2_within(url: &str, account: &str, region: &str, timeout: Duration) -> aws_sdk_ec2::Client {
    aws_sdk_ec2::Client::new(&config(url, Credentials::new(account, "any", None, None, "rig"), region, timeout))
}

/// EC2 with credentials that STS has given out.
#[must_use]
pub fn ec2_as(url: &str, credentials: Credentials, region: &str) -> aws_sdk_ec2::Client {
    aws_sdk_ec2::Client::new(&config(url, credentials, region, TIMEOUT))
}

/// Lambda in one region of an account, as the account's root.
#[must_use]
pub fn lambda(url: &str, account: &str, region: &str) -> aws_sdk_lambda::Client {
    lambda_as(url, Credentials::new(account, "any", None, None, "rig"), region)
}

/// Lambda with credentials that STS has given out.
#[must_use]
pub fn lambda_as(url: &str, credentials: Credentials, region: &str) -> aws_sdk_lambda::Client {
    aws_sdk_lambda::Client::new(&config(url, credentials, region, TIMEOUT))
}

/// CloudFront, as the root of an account.
#[must_use]
pub fn cloudfront(url: &str, account: &str) -> aws_sdk_cloudfront::Client {
    let credentials = Credentials::new(account, "any", None, None, "rig");
    aws_sdk_cloudfront::Client::new(&config(url, credentials, "us-east-1", TIMEOUT))
}

/// CloudTrail, as the root of an account.
#[must_use]
pub fn cloudtrail(url: &str, account: &str, region: &str) -> aws_sdk_cloudtrail::Client {
    let credentials = Credentials::new(account, "any", None, None, "rig");
    aws_sdk_cloudtrail::Client::new(&config(url, credentials, region, TIMEOUT))
}

/// STS, as the root of an account.
#[must_use]
pub fn sts(url: &str, account: &str, region: &str) -> aws_sdk_sts::Client {
    aws_sdk_sts::Client::new(&config(url, Credentials::new(account, "any", None, None, "rig"), region, TIMEOUT))
}

fn config(url: &str, credentials: Credentials, region: &str, timeout: Duration) -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(timeout).build())
        .endpoint_url(url)
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}
