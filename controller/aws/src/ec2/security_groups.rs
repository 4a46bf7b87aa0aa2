//! `ec2/security_groups`: every group of the region with its rules, by DescribeSecurityGroups in pages of 1,000.

use aws_sdk_ec2::types;
use engine::facts::{Direction, SecurityGroup};

use super::rules::flatten;
use super::{PAGE, tags};
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["ec2:DescribeSecurityGroups"];

const OPERATION: Operation = Operation::DescribeSecurityGroups;

/// All groups, in EC2's order. One group that cannot be decoded makes the whole read unusable.
pub(crate) async fn observe(ec2: &aws_sdk_ec2::Client, reads: &Reads<'_>) -> Result<Vec<SecurityGroup>, AwsError> {
    let request = ec2.describe_security_groups().max_results(PAGE);
    let mut groups = Vec::new();
    let mut ids = UniqueIds::new(OPERATION);
    let send = |token| request.clone().set_next_token(token).send();
    each_page(
        reads,
        OPERATION,
        send,
        |page| page.next_token(),
        |page| {
            let items = page.security_groups.unwrap_or_default();
            groups.reserve_exact(items.len());
            for item in items {
                let group = convert(item)?;
                ids.insert(&group.id)?;
                groups.push(group);
            }
            Ok(())
        },
    )
    .await?;
    Ok(groups)
}

fn convert(item: types::SecurityGroup) -> Result<SecurityGroup, AwsError> {
    let id = required(item.group_id, "?", "GroupId")?;
    let owner = required(item.owner_id, &id, "OwnerId")?;
    let mut rules = Vec::new();
    let both = [(Direction::Ingress, item.ip_permissions), (Direction::Egress, item.ip_permissions_egress)];
    for (direction, permissions) in both {
        for permission in permissions.unwrap_or_default() {
            flatten(direction, permission, &owner, &mut rules)
                .map_err(|error| AwsError::unusable(OPERATION.name(), format!("a rule of {id}: {error}")))?;
        }
    }
    rules.sort();
    rules.shrink_to_fit();
    Ok(SecurityGroup {
        name: required(item.group_name, &id, "GroupName")?,
        description: item.description.unwrap_or_default(),
        vpc: required(item.vpc_id, &id, "VpcId")?,
        tags: tags(item.tags),
        rules,
        owner,
        id,
    })
}

fn required(value: Option<String>, id: &str, member: &str) -> Result<String, AwsError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| AwsError::unusable(OPERATION.name(), format!("{id} has no {member}")))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};

    use super::*;
    use crate::error::ErrorClass;

    fn builder() -> types::builders::SecurityGroupBuilder {
        types::SecurityGroup::builder().group_id("sg-1").owner_id("111122223333").group_name("web").vpc_id("vpc-1")
    }

    #[test]
    fn permissions_become_one_sorted_rule_per_peer() {
        let web = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(443)
            .to_port(443)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").description("office").build())
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").build())
            .prefix_list_ids(PrefixListId::builder().prefix_list_id("pl-1").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").user_id("111122223333").build());
        let all = IpPermission::builder().ip_protocol("-1").ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build());
        let group = convert(builder().ip_permissions(web.build()).ip_permissions_egress(all.build()).build()).unwrap();
        let rules: Vec<String> = group.rules.iter().map(|rule| rule.grant.to_string()).collect();
        assert_eq!(
            rules,
            [
                "tcp/443 from 0.0.0.0/0",
                "tcp/443 from 10.0.0.0/8",
                "tcp/443 from ::/0",
                "tcp/443 from pl-1",
                "tcp/443 from 111122223333/sg-1",
                "all traffic to 0.0.0.0/0",
            ]
        );
        assert!(group.rules.is_sorted());
        assert_eq!(group.rules.capacity(), group.rules.len());
        assert_eq!(group.rules.get(1).unwrap().description.as_deref(), Some("office"));
    }

    #[test]
    fn a_group_that_lacks_a_mandatory_member_is_unusable() {
        for group in [
            builder().set_group_id(None),
            builder().set_owner_id(None),
            builder().group_name(""),
            builder().set_vpc_id(None),
            builder().ip_permissions(IpPermission::builder().ip_protocol("tcp").build()),
        ] {
            assert_eq!(convert(group.build()).unwrap_err().class, ErrorClass::Undecodable);
        }
    }
}
