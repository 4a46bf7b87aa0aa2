//! The emulator as an AWS SDK meets it: how it behaves where AWS is particular, and how it breaks.

mod batches;
mod cloudtrail;
mod faults;
mod fleet;
mod functions;
mod ledger;
mod paging;
mod rates;

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, Ipv6Range};
use tests::emulator::{GroupSeed, Seed};
use tests::{Scenario, World, aws_client};

const REGION: &str = "eu-central-1";

/// An account of the test's own, and the SDK as its root.
async fn corner(name: &str) -> Result<(Scenario<'static>, Client)> {
    let scenario = World::shared().await?.scenario(name).await?;
    let ec2 = aws_client::ec2(&scenario.world.emulator.url(), &scenario.account, REGION);
    Ok((scenario, ec2))
}

/// A group with these ingress rules and no others, in a VPC that is not the default one.
async fn group(scenario: &Scenario<'_>, rules: &[&str]) -> Result<String> {
    let group = GroupSeed::named("web").with("vpc", "v".into()).ingress(rules.iter().copied())?.egress([])?;
    let vpcs = serde_json::json!([{"key": "v", "cidr": "10.1.0.0/16"}]);
    let seeded = scenario.aws.seed(&Seed::in_region(REGION).with("vpcs", vpcs).group(group)).await?;
    Ok(seeded.group("web")?.to_owned())
}

/// What a group lets in, in the text form of rules, sorted.
async fn ingress(scenario: &Scenario<'_>, group: &str) -> Result<Vec<String>> {
    let rules = scenario.aws.group(REGION, group).await?.rules.ingress;
    let mut texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
    texts.sort();
    Ok(texts)
}

/// TCP from an IPv4 or IPv6 network to one port.
fn tcp(port: i32, cidr: &str) -> IpPermission {
    let permission = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
    if cidr.contains(':') {
        permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).build()).build()
    } else {
        permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()).build()
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// The HTTP status and the code with which AWS refuses.
fn refusal<T: Debug, E: ProvideErrorMetadata>(outcome: Result<T, SdkError<E>>) -> Result<(u16, String)> {
    match outcome {
        Ok(answer) => bail!("it was not refused: {answer:?}"),
        Err(error) => {
            let status = error.raw_response().context("there is no answer")?.status().as_u16();
            Ok((status, error.code().context("the answer has no code")?.to_owned()))
        }
    }
}

/// A refusal in the form that [`refusal`] returns.
fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
