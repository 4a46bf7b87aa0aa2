//! The calls that change security groups.

use aws_sdk_ec2::types::{IpPermission, ResourceType, SecurityGroupRuleUpdate, TagSpecification};
use engine::call::Call;
use engine::facts::{Direction, Rule, Tags};

use super::rules::{permission, request};
use super::sdk_tags;
use crate::connection::Session;
use crate::error::{AwsError, Effect, ErrorClass};
use crate::limiter::Operation;
use crate::write::answer;

/// What the write role must be allowed to do.
pub const WRITE_ACTIONS: &[&str] = &[
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateTags",
    "ec2:DeleteTags",
    "ec2:ModifySecurityGroupRules",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
];

/// A call that EC2 would understand otherwise than it is meant.
pub(crate) fn check(call: &Call) -> Result<(), String> {
    let empty = match call {
        Call::Authorize { direction, rules, .. } => {
            if let Some(rule) = rules.iter().find(|rule| rule.grant.direction != *direction) {
                return Err(format!("{} does not belong into {call}", rule.grant));
            }
            rules.is_empty()
        }
        Call::Modify { rules } => rules.is_empty(),
        Call::Revoke { rule_ids, .. } => rule_ids.is_empty(),
        Call::Tag { tags } | Call::Untag { tags } => tags.is_empty(),
        Call::Lambda(_) => return Err(format!("{call} is no call of EC2")),
    };
    if empty { Err(format!("{call} of nothing")) } else { Ok(()) }
}

pub(crate) async fn send(
    session: &Session,
    group: &str,
    call: &Call,
    operation: Operation,
) -> Result<Option<String>, AwsError> {
    let ec2 = &session.ec2;
    match call {
        Call::Authorize { direction, rules, tags } => {
            let permissions: Vec<IpPermission> = rules.iter().map(permission).collect();
            match direction {
                Direction::Ingress => {
                    let request =
                        ec2.authorize_security_group_ingress().group_id(group).set_ip_permissions(Some(permissions));
                    answer(operation, request.set_tag_specifications(rule_tags(tags)).send(), |reply| reply.r#return)
                        .await
                }
                Direction::Egress => {
                    let request =
                        ec2.authorize_security_group_egress().group_id(group).set_ip_permissions(Some(permissions));
                    answer(operation, request.set_tag_specifications(rule_tags(tags)).send(), |reply| reply.r#return)
                        .await
                }
            }
        }
        Call::Modify { rules } => {
            let updates = rules.iter().map(|(id, rule)| update(id, rule)).collect();
            let request = ec2.modify_security_group_rules().group_id(group).set_security_group_rules(Some(updates));
            answer(operation, request.send(), |reply| reply.r#return).await
        }
        Call::Revoke { direction: Direction::Ingress, rule_ids } => {
            let request = ec2.revoke_security_group_ingress().group_id(group);
            let request = request.set_security_group_rule_ids(Some(rule_ids.clone()));
            answer(operation, request.send(), |reply| whole(reply.r#return, reply.unknown_ip_permissions())).await
        }
        Call::Revoke { direction: Direction::Egress, rule_ids } => {
            let request = ec2.revoke_security_group_egress().group_id(group);
            let request = request.set_security_group_rule_ids(Some(rule_ids.clone()));
            answer(operation, request.send(), |reply| whole(reply.r#return, reply.unknown_ip_permissions())).await
        }
        Call::Tag { tags } => {
            let request = ec2.create_tags().resources(group).set_tags(Some(sdk_tags(tags)));
            answer(operation, request.send(), |_| Some(true)).await
        }
        Call::Untag { tags } => {
            let request = ec2.delete_tags().resources(group).set_tags(Some(sdk_tags(tags)));
            answer(operation, request.send(), |_| Some(true)).await
        }
        Call::Lambda(_) => Err(AwsError::new(operation.name(), ErrorClass::Invalid, Effect::NotSent, "NoCallOfEc2")),
    }
}

/// In a default VPC a revocation succeeds although it did not find every rule, and says which.
fn whole(done: Option<bool>, unknown: &[IpPermission]) -> Option<bool> {
    if unknown.is_empty() { done } else { Some(false) }
}

fn rule_tags(tags: &Tags) -> Option<Vec<TagSpecification>> {
    let specification =
        TagSpecification::builder().resource_type(ResourceType::SecurityGroupRule).set_tags(Some(sdk_tags(tags)));
    (!tags.is_empty()).then(|| vec![specification.build()])
}

fn update(id: &str, rule: &Rule) -> SecurityGroupRuleUpdate {
    SecurityGroupRuleUpdate::builder().security_group_rule_id(id).security_group_rule(request(rule)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[(Direction, &str)]) -> Vec<Rule> {
        texts
            .iter()
            .map(|(direction, traffic)| {
                let grant = engine::facts::Grant {
                    direction: *direction,
                    traffic: traffic.parse().unwrap(),
                    peer: "10.0.0.0/8".parse().unwrap(),
                };
                Rule { grant, description: None }
            })
            .collect()
    }

    #[test]
    fn a_call_that_contradicts_itself_or_does_nothing_is_not_made() {
        let direction = Direction::Ingress;
        let mixed = rules(&[(Direction::Ingress, "tcp/22"), (Direction::Egress, "tcp/22")]);
        for call in [
            Call::Authorize { direction, rules: mixed, tags: Tags::new() },
            Call::Authorize { direction, rules: Vec::new(), tags: Tags::new() },
            Call::Modify { rules: Vec::new() },
            // EC2 would take it for a revocation by properties.
            Call::Revoke { direction, rule_ids: Vec::new() },
            Call::Tag { tags: Tags::new() },
        ] {
            assert!(check(&call).is_err(), "{call:?}");
        }
        let good = Call::Authorize { direction, rules: rules(&[(direction, "tcp/22")]), tags: Tags::new() };
        assert_eq!(check(&good), Ok(()));
    }

    #[test]
    fn the_engine_and_this_crate_give_operations_the_same_names() {
        for direction in [Direction::Ingress, Direction::Egress] {
            for call in [
                Call::Authorize { direction, rules: Vec::new(), tags: Tags::new() },
                Call::Modify { rules: Vec::new() },
                Call::Revoke { direction, rule_ids: Vec::new() },
                Call::Tag { tags: Tags::new() },
            ] {
                assert_eq!(crate::write::operation(&call).name(), call.operation());
                assert!(WRITE_ACTIONS.contains(&format!("ec2:{}", call.operation()).as_str()));
            }
        }
    }

    #[test]
    fn new_rules_are_tagged_only_if_there_are_tags() {
        assert_eq!(rule_tags(&Tags::new()), None);
        let tags = Tags::from([("team".to_owned(), "payments".to_owned())]);
        let [specification] = rule_tags(&tags).unwrap().try_into().unwrap();
        assert_eq!(specification.resource_type, Some(ResourceType::SecurityGroupRule));
        assert_eq!(specification.tags().len(), 1);
    }

    #[test]
    fn a_revocation_that_missed_a_rule_is_not_done() {
        assert_eq!(whole(Some(true), &[]), Some(true));
        assert_eq!(whole(Some(true), &[IpPermission::builder().build()]), Some(false));
    }
}
