//! One look at everything that controls may ask about in one account and region.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::controls::{NETWORK_INTERFACES, PREFIX_LISTS, SECURITY_GROUPS, SUBNETS};
use engine::facts::{Inventory, Source};
use engine::kind::Kind;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::ec2::{network_interfaces, prefix_lists, security_groups, subnets};
use crate::error::AwsError;
use crate::lambda;

/// What stands beside functions is read again after so long, unless somebody else has.
const SHARED_FOR: SignedDuration = SignedDuration::from_mins(2);

/// The whole look ends within this time, whatever AWS does.
const DEADLINE: Duration = Duration::from_secs(180);

/// What a look has brought.
#[derive(Debug)]
pub struct Observed {
    /// The facts: those of other kinds are as they were.
    pub inventory: Inventory,
    /// Whether more is due than the time of one look was for: look again soon.
    pub more: bool,
}

/// Looks at what a kind of baseline needs. A source that cannot be read whole holds the reason instead of facts; the others
/// are not touched by it, except that prefix lists are looked up by what the groups refer to.
///
/// What another kind has read moments ago, and so is `known`, is not read again: nobody asks for it before it is needed, or
/// reads that take their turns would keep for a minute what that kind has long replaced. `interrupted` ends those early. `now`
/// is asked before each source is read.
pub async fn observe(
    connection: &Connection,
    kind: Kind,
    needed: &BTreeSet<&'static str>,
    known: &(dyn Fn() -> Inventory + Sync),
    now: &(dyn Fn() -> Timestamp + Sync),
    interrupted: &(dyn Fn() -> bool + Sync),
) -> Observed {
    match kind {
        Kind::SecurityGroup => Observed { inventory: security_groups(connection, &known(), now).await, more: false },
        Kind::Lambda => {
            let previous = known().lambda;
            let (lambda, more) = lambda::observe(connection, needed, &previous, now, interrupted).await;
            let beside = beside(connection, needed, &known(), now).await;
            Observed { inventory: Inventory { lambda, ..beside }, more }
        }
    }
}

/// Security groups, who uses them, and what they refer to.
async fn security_groups(
    connection: &Connection,
    known: &Inventory,
    now: &(dyn Fn() -> Timestamp + Sync),
) -> Inventory {
    let reads = connection.reads(Instant::now() + DEADLINE);
    let ec2 = connection.read_client();
    let groups_and_lists = async {
        let began = now();
        let groups = security_groups::observe(ec2, &reads).await;
        let lists_began = now();
        let old_lists = known.prefix_lists.facts().ok();
        let lists = match &groups {
            Ok(groups) => prefix_lists::observe(ec2, &reads, prefix_lists::referred_to(groups), old_lists).await,
            Err(error) => Err(error.clone()),
        };
        (sourced(connection, SECURITY_GROUPS, groups, began), sourced(connection, PREFIX_LISTS, lists, lists_began))
    };
    let interfaces = async {
        let began = now();
        let interfaces = network_interfaces::observe(ec2, &reads).await;
        sourced(connection, NETWORK_INTERFACES, interfaces, began)
    };
    let ((security_groups, prefix_lists), network_interfaces) = tokio::join!(groups_and_lists, interfaces);
    Inventory { security_groups, network_interfaces, prefix_lists, ..known.clone() }
}

/// What stands beside functions, as far as their controls need it and nobody has read it moments ago.
async fn beside(
    connection: &Connection,
    needed: &BTreeSet<&'static str>,
    known: &Inventory,
    now: &(dyn Fn() -> Timestamp + Sync),
) -> Inventory {
    let reads = connection.reads(Instant::now() + DEADLINE);
    let ec2 = connection.read_client();
    let mut inventory = known.clone();
    let is_old = |read_at: Timestamp, failed: bool| failed || now().duration_since(read_at) > SHARED_FOR;
    if needed.contains(SUBNETS) && is_old(known.subnets.read_at(), known.subnets.facts().is_err()) {
        let began = now();
        inventory.subnets = sourced(connection, SUBNETS, subnets::observe(ec2, &reads).await, began);
    }
    let groups = &known.security_groups;
    if needed.contains(SECURITY_GROUPS) && is_old(groups.read_at(), groups.facts().is_err()) {
        let began = now();
        let read = security_groups::observe(ec2, &reads).await;
        inventory.security_groups = sourced(connection, SECURITY_GROUPS, read, began);
    }
    let interfaces = &known.network_interfaces;
    if needed.contains(NETWORK_INTERFACES) && is_old(interfaces.read_at(), interfaces.facts().is_err()) {
        let began = now();
        let read = network_interfaces::observe(ec2, &reads).await;
        inventory.network_interfaces = sourced(connection, NETWORK_INTERFACES, read, began);
    }
    inventory
}

/// A source of which the first page was asked for at `began`: what it says may be as old as that.
pub(crate) fn sourced<T>(
    connection: &Connection,
    name: &str,
    read: Result<T, AwsError>,
    began: Timestamp,
) -> Source<T> {
    match read {
        Ok(facts) => Source::complete(facts, began),
        Err(error) => {
            let location = connection.location();
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
