//! One look at everything that controls may ask about in one account and region.

use std::time::Duration;

use engine::facts::{Inventory, Source};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::ec2::{network_interfaces, prefix_lists, security_groups};
use crate::error::AwsError;

/// The whole look ends within this time, whatever AWS does.
const DEADLINE: Duration = Duration::from_secs(180);

/// Reads every source. A source that cannot be read whole holds the reason instead of facts; the others
/// are not touched by it, except that prefix lists are looked up by what the groups refer to.
///
/// `previous` spares reading the entries of prefix lists again that have not changed. `now` is asked
/// before each source is read.
pub async fn observe(connection: &Connection, previous: Option<&Inventory>, now: impl Fn() -> Timestamp) -> Inventory {
    let reads = connection.reads(Instant::now() + DEADLINE);
    let ec2 = connection.read_client();
    let source = Sourcing { connection };
    let groups_and_lists = async {
        let began = now();
        let groups = security_groups::observe(ec2, &reads).await;
        let lists_began = now();
        let old_lists = previous.and_then(|inventory| inventory.prefix_lists.facts().ok());
        let lists = match &groups {
            Ok(groups) => prefix_lists::observe(ec2, &reads, prefix_lists::referred_to(groups), old_lists).await,
            Err(error) => Err(error.clone()),
        };
        (source.of("ec2/security_groups", groups, began), source.of("ec2/prefix_lists", lists, lists_began))
    };
    let interfaces = async {
        let began = now();
        let interfaces = network_interfaces::observe(ec2, &reads).await;
        source.of("ec2/network_interfaces", interfaces, began)
    };
    let ((security_groups, prefix_lists), network_interfaces) = tokio::join!(groups_and_lists, interfaces);
    Inventory { location: connection.location().clone(), security_groups, network_interfaces, prefix_lists }
}

struct Sourcing<'a> {
    connection: &'a Connection,
}

impl Sourcing<'_> {
    /// A source of which the first page was asked for at `began`: what it says may be as old as that.
    fn of<T>(&self, name: &str, read: Result<T, AwsError>, began: Timestamp) -> Source<T> {
        match read {
            Ok(facts) => Source::complete(facts, began),
            Err(error) => {
                let location = self.connection.location();
                tracing::debug!(
                    source = name,
                    account = location.account,
                    region = location.region,
                    %error,
                    detail = error.detail,
                    request_id = error.request_id,
                    "Source could not be read"
                );
                Source::failed(error.read_failure(), began)
            }
        }
    }
}
