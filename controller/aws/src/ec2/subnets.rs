//! `ec2/subnets`: every subnet of the region with its way out, by DescribeSubnets in pages of 1,000 and
//! DescribeRouteTables in pages of 100.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Route, RouteState, RouteTable};
use engine::facts::{DefaultRoute, Subnet};

use super::PAGE;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["ec2:DescribeRouteTables", "ec2:DescribeSubnets"];

const SUBNETS: Operation = Operation::DescribeSubnets;
const TABLES: Operation = Operation::DescribeRouteTables;

/// The largest page of route tables (`MaxResults`).
const TABLES_PAGE: i32 = 100;

/// All subnets, by id.
pub(crate) async fn observe(
    ec2: &aws_sdk_ec2::Client,
    reads: &Reads<'_>,
) -> Result<BTreeMap<String, Subnet>, AwsError> {
    let routes = Routes::observe(ec2, reads).await?;
    let request = ec2.describe_subnets().max_results(PAGE);
    let (mut subnets, mut ids) = (BTreeMap::new(), UniqueIds::new(SUBNETS));
    let send = |token| request.clone().set_next_token(token).send();
    each_page(
        reads,
        SUBNETS,
        send,
        |page| page.next_token(),
        |page| {
            for item in page.subnets.unwrap_or_default() {
                let missing = |member: &str| AwsError::unusable(SUBNETS.name(), format!("a subnet has no {member}"));
                let id = item.subnet_id.ok_or_else(|| missing("SubnetId"))?;
                ids.insert(&id)?;
                let zone = item.availability_zone_id.ok_or_else(|| missing("AvailabilityZoneId"))?;
                let vpc = item.vpc_id.ok_or_else(|| missing("VpcId"))?;
                let default_route = routes.of(&id, &vpc);
                subnets.insert(id, Subnet { zone, default_route });
            }
            Ok(())
        },
    )
    .await?;
    Ok(subnets)
}

/// Where route tables send what is for the internet.
#[derive(Debug, Default)]
struct Routes {
    by_subnet: BTreeMap<String, DefaultRoute>,
    /// Of the main table, which serves every subnet of the VPC that has none of its own.
    by_vpc: BTreeMap<String, DefaultRoute>,
}

impl Routes {
    async fn observe(ec2: &aws_sdk_ec2::Client, reads: &Reads<'_>) -> Result<Self, AwsError> {
        let request = ec2.describe_route_tables().max_results(TABLES_PAGE);
        let mut routes = Self::default();
        let send = |token| request.clone().set_next_token(token).send();
        each_page(
            reads,
            TABLES,
            send,
            |page| page.next_token(),
            |page| {
                page.route_tables.unwrap_or_default().into_iter().for_each(|table| routes.add(table));
                Ok(())
            },
        )
        .await?;
        Ok(routes)
    }

    fn add(&mut self, table: RouteTable) {
        let route = table.routes().iter().map(default_route).max().unwrap_or(DefaultRoute::None);
        for association in table.associations() {
            match (association.subnet_id(), association.main, table.vpc_id()) {
                (Some(subnet), _, _) => {
                    self.by_subnet.insert(subnet.to_owned(), route);
                }
                (None, Some(true), Some(vpc)) => {
                    self.by_vpc.insert(vpc.to_owned(), route);
                }
                _ => {}
            }
        }
    }

    fn of(&self, subnet: &str, vpc: &str) -> DefaultRoute {
        let found = self.by_subnet.get(subnet).or_else(|| self.by_vpc.get(vpc));
        found.copied().unwrap_or(DefaultRoute::None)
    }
}

/// Where a route leads, if it is for the whole internet and works.
fn default_route(route: &Route) -> DefaultRoute {
    let whole =
        route.destination_cidr_block() == Some("0.0.0.0/0") || route.destination_ipv6_cidr_block() == Some("::/0");
    if !whole || route.state == Some(RouteState::Blackhole) {
        DefaultRoute::None
    } else if route.gateway_id().is_some_and(|id| id.starts_with("igw-")) {
        DefaultRoute::Internet
    } else if route.nat_gateway_id().is_some() || route.egress_only_internet_gateway_id().is_some() {
        DefaultRoute::Nat
    } else {
        DefaultRoute::Other
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::RouteTableAssociation;

    use super::*;

    fn table(gateway: Route, association: RouteTableAssociation) -> RouteTable {
        RouteTable::builder().vpc_id("vpc-1").routes(gateway).associations(association).build()
    }

    #[test]
    fn a_subnet_without_a_table_of_its_own_has_the_main_one() {
        let all = || Route::builder().destination_cidr_block("0.0.0.0/0");
        let mut routes = Routes::default();
        routes.add(table(all().gateway_id("igw-1").build(), RouteTableAssociation::builder().main(true).build()));
        let own = RouteTableAssociation::builder().subnet_id("subnet-1").build();
        routes.add(table(all().nat_gateway_id("nat-1").build(), own));
        assert_eq!(routes.of("subnet-1", "vpc-1"), DefaultRoute::Nat);
        assert_eq!(routes.of("subnet-2", "vpc-1"), DefaultRoute::Internet);
        assert_eq!(routes.of("subnet-3", "vpc-2"), DefaultRoute::None);
    }

    #[test]
    fn only_routes_for_the_whole_internet_that_work_count() {
        let local = Route::builder().destination_cidr_block("10.0.0.0/8").gateway_id("local").build();
        assert_eq!(default_route(&local), DefaultRoute::None);
        let gone = Route::builder().destination_ipv6_cidr_block("::/0").gateway_id("igw-1");
        assert_eq!(default_route(&gone.clone().build()), DefaultRoute::Internet);
        assert_eq!(default_route(&gone.state(RouteState::Blackhole).build()), DefaultRoute::None);
    }
}
