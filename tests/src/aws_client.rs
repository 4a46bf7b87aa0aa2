//! The AWS SDK as somebody else uses it: a hand at the console, or another tool.

use aws_credential_types::Credentials;
use aws_sdk_ec2::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// EC2 in one region of an account of the emulator at `url`, as the account's root. Retries are off.
#[must_use]
pub fn ec2(url: &str, account: &str, region: &str) -> aws_sdk_ec2::Client {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(account, "any", None, None, "rig"))
        .build();
    aws_sdk_ec2::Client::from_conf(config)
}
