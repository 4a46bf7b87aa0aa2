//! `ec2/network_interfaces`: how many interfaces carry each group, by DescribeNetworkInterfaces in pages of 1,000.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::operation::describe_network_interfaces::DescribeNetworkInterfacesOutput;
use aws_sdk_ec2::types::{NetworkInterface, NetworkInterfaceType};
use engine::facts::InterfaceUse;
use tokio::time::Instant;

use super::{PAGE, filter};
use crate::connection::Connection;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["ec2:DescribeNetworkInterfaces"];

const OPERATION: Operation = Operation::DescribeNetworkInterfaces;

/// The use of each group that any interface carries, by group id.
pub(crate) async fn observe(
    ec2: &aws_sdk_ec2::Client,
    reads: &Reads<'_>,
) -> Result<BTreeMap<String, InterfaceUse>, AwsError> {
    let request = ec2.describe_network_interfaces().max_results(PAGE);
    let mut carriers = BTreeMap::new();
    let mut ids = UniqueIds::new(OPERATION);
    let send = |token| request.clone().set_next_token(token).send();
    each_page(
        reads,
        OPERATION,
        send,
        |page| page.next_token(),
        |page| {
            let items = page.network_interfaces.unwrap_or_default();
            items.into_iter().try_for_each(|item| count(item, &mut ids, &mut carriers))
        },
    )
    .await?;
    Ok(carriers.into_iter().map(|(group, carriers)| (group, carriers.counted())).collect())
}

/// Whether any interface carries a group right now.
///
/// # Errors
/// Any failure of the read.
pub async fn is_used(connection: &Connection, group_id: &str) -> Result<bool, AwsError> {
    let reads = connection.reads(Instant::now() + connection.read_timeout());
    let of_group = filter("group-id", &[group_id.to_owned()]);
    let request = connection.read_client().describe_network_interfaces().filters(of_group).max_results(PAGE);
    let send = |token| request.clone().set_next_token(token).send();
    let mut used = false;
    let any = |page: DescribeNetworkInterfacesOutput| {
        used |= !page.network_interfaces.unwrap_or_default().is_empty();
        Ok(())
    };
    each_page(&reads, OPERATION, send, |page| page.next_token(), any).await?;
    Ok(used)
}

/// What carries one group.
#[derive(Debug, Default)]
struct Carriers {
    interfaces: u32,
    functions: u32,
    /// By name: a load balancer has an interface in each of its subnets.
    load_balancers: BTreeSet<String>,
}

impl Carriers {
    fn counted(self) -> InterfaceUse {
        let load_balancers = u32::try_from(self.load_balancers.len()).unwrap_or(u32::MAX);
        InterfaceUse { interfaces: self.interfaces, load_balancers, functions: self.functions }
    }
}

fn count(
    item: NetworkInterface,
    ids: &mut UniqueIds,
    carriers: &mut BTreeMap<String, Carriers>,
) -> Result<(), AwsError> {
    let missing = |member: &str| AwsError::unusable(OPERATION.name(), format!("an interface has no {member}"));
    let is_load_balancer = is_load_balancer(&item);
    let functions = u32::from(item.interface_type == Some(NetworkInterfaceType::Lambda));
    let id = item.network_interface_id.ok_or_else(|| missing("NetworkInterfaceId"))?;
    ids.insert(&id)?;
    let load_balancer = is_load_balancer.then(|| load_balancer_name(item.description, id));
    for group in item.groups.unwrap_or_default() {
        let entry = carriers.entry(group.group_id.ok_or_else(|| missing("GroupId"))?).or_default();
        entry.interfaces = entry.interfaces.saturating_add(1);
        entry.functions = entry.functions.saturating_add(functions);
        entry.load_balancers.extend(load_balancer.clone());
    }
    Ok(())
}

/// How Elastic Load Balancing describes the interfaces that it makes.
const DESCRIBED: &str = "ELB ";

/// Network and gateway load balancers have interface types of their own (`InterfaceType`). Those of
/// application and classic load balancers are of type `interface`; Elastic Load Balancing makes
/// them as requester `amazon-elb` and describes them as `ELB …` ("Elastic Load Balancing: security
/// groups" tells to look for them by that description).
fn is_load_balancer(item: &NetworkInterface) -> bool {
    matches!(
        item.interface_type,
        Some(
            NetworkInterfaceType::NetworkLoadBalancer
                | NetworkInterfaceType::GatewayLoadBalancer
                | NetworkInterfaceType::LoadBalancer
        )
    ) || item.requester_id.as_deref() == Some("amazon-elb")
        || item.description.as_deref().is_some_and(|text| text.starts_with(DESCRIBED))
}

/// The description, which names the load balancer (`ELB app/NAME/ID`, `ELB net/NAME/ID`, `ELB NAME`) and is the same on
/// all of its interfaces. An interface that is described in no such way counts as a load balancer by itself.
fn load_balancer_name(description: Option<String>, interface_id: String) -> String {
    description.filter(|text| text.starts_with(DESCRIBED)).unwrap_or(interface_id)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::GroupIdentifier;
    use aws_sdk_ec2::types::builders::NetworkInterfaceBuilder;

    use super::*;

    fn interface(id: &str, groups: &[&str]) -> NetworkInterfaceBuilder {
        let groups = groups.iter().map(|id| GroupIdentifier::builder().group_id(*id).build()).collect();
        NetworkInterface::builder().network_interface_id(id).set_groups(Some(groups))
    }

    fn uses(items: Vec<NetworkInterfaceBuilder>) -> Result<BTreeMap<String, InterfaceUse>, AwsError> {
        let (mut ids, mut carriers) = (UniqueIds::new(OPERATION), BTreeMap::new());
        items.into_iter().try_for_each(|item| count(item.build(), &mut ids, &mut carriers))?;
        Ok(carriers.into_iter().map(|(group, carriers)| (group, carriers.counted())).collect())
    }

    #[test]
    fn interfaces_are_counted_per_group() {
        let uses = uses(vec![
            interface("eni-1", &["sg-1", "sg-2"]),
            interface("eni-2", &["sg-1"]).description("ELB app/web/0123"),
            interface("eni-3", &["sg-1"]).requester_id("amazon-elb"),
            interface("eni-4", &["sg-1"]).interface_type(NetworkInterfaceType::NetworkLoadBalancer),
            interface("eni-5", &["sg-2"]).interface_type(NetworkInterfaceType::from("something_new")),
            interface("eni-6", &[]),
        ])
        .unwrap();
        assert_eq!(uses.get("sg-1"), Some(&InterfaceUse { interfaces: 4, load_balancers: 3, functions: 0 }));
        assert_eq!(uses.get("sg-2"), Some(&InterfaceUse { interfaces: 2, load_balancers: 0, functions: 0 }));
    }

    #[test]
    fn a_load_balancer_in_three_zones_is_one() {
        let balanced = |id: &str, name: &str| interface(id, &["sg-1"]).requester_id("amazon-elb").description(name);
        let network = |id: &str, name: &str| {
            interface(id, &["sg-2"]).interface_type(NetworkInterfaceType::NetworkLoadBalancer).description(name)
        };
        let uses = uses(vec![
            balanced("eni-1", "ELB app/web/0123"),
            balanced("eni-2", "ELB app/web/0123"),
            balanced("eni-3", "ELB app/web/0123"),
            balanced("eni-4", "ELB web"),
            balanced("eni-5", "ELB web"),
            network("eni-6", "ELB net/web/4567"),
            network("eni-7", "ELB net/web/4567"),
            network("eni-8", "ELB net/web/89ab"),
        ])
        .unwrap();
        assert_eq!(uses.get("sg-1"), Some(&InterfaceUse { interfaces: 5, load_balancers: 2, functions: 0 }));
        assert_eq!(uses.get("sg-2"), Some(&InterfaceUse { interfaces: 3, load_balancers: 2, functions: 0 }));
    }

    #[test]
    fn an_interface_that_comes_twice_or_without_an_id_is_unusable() {
        assert!(uses(vec![interface("eni-1", &["sg-1"]), interface("eni-1", &["sg-1"])]).is_err());
        assert!(uses(vec![interface("eni-1", &[]).set_network_interface_id(None)]).is_err());
    }
}
