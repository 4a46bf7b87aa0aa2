//! The writes on security groups. Each is made once, with a permit, and never repeated here: a call
//! that got lost may have been carried out, and only a read can tell.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::operation::RequestId;
use aws_sdk_ec2::types::{IpPermission, ResourceType, SecurityGroupRuleUpdate, TagSpecification};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use engine::call::Call;
use engine::facts::{Direction, Rule, Tags};
use engine::permit::Permit;
use tokio::time::Instant;

use super::rules::{permission, request};
use super::sdk_tags;
use crate::connection::{Connection, Session};
use crate::error::{AwsError, Effect, ErrorClass};
use crate::limiter::Operation;
use crate::retry::learn;

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

/// A write waits at most this long for its turn: what was known when it was permitted grows old. Whoever waits for
/// [`Connection::write_delay`] first rarely needs it.
const TOKEN_WAIT: Duration = Duration::from_secs(1);

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// AWS says that it did it. That reads show it yet is not said.
    Done {
        /// AWS's id of the request, for the audit trail.
        request_id: Option<String>,
    },
    /// Proven to have had no effect: the request never left this process.
    NotSent(NotSent),
    /// AWS answered that it did not do it.
    Refused(AwsError),
    /// It may have been done. Nothing may be concluded before a read.
    Unknown(AwsError),
}

/// Why a write was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The connection has no role to write with.
    #[error("the account names no role to write with")]
    NoWriteRole,
    /// The account's rate share is used up; the write has to be permitted anew.
    #[error("no request rate was left in time")]
    NoToken,
    /// The permit is for another account or region, or contradicts itself: an error of the program.
    #[error("the permit does not fit: {0}")]
    WrongPermit(String),
    /// No credentials, or no connection to the endpoint.
    #[error(transparent)]
    Failed(AwsError),
}

impl Connection {
    /// How long a write of this kind would wait for its turn. Waiting that long before the fresh
    /// read and the permit keeps both young.
    pub fn write_delay(&self, call: &Call) -> Duration {
        self.limiter().wait(operation(call))
    }
}

/// Makes exactly the call that the permit is for, once. Returns within [`crate::Connector::longest_write`].
pub async fn execute(connection: &Connection, permit: Permit) -> WriteResult {
    if permit.location() != connection.location() {
        let wrong = format!("it is for {:?}, the connection for {:?}", permit.location(), connection.location());
        return wrong_permit(wrong);
    }
    perform(connection, permit.resource(), permit.call()).await
}

fn wrong_permit(wrong: String) -> WriteResult {
    tracing::error!(wrong, "Write with a permit that does not fit");
    WriteResult::NotSent(NotSent::WrongPermit(wrong))
}

async fn perform(connection: &Connection, group: &str, call: &Call) -> WriteResult {
    let Some(session) = connection.write_session() else {
        return WriteResult::NotSent(NotSent::NoWriteRole);
    };
    if let Err(wrong) = check(call) {
        return wrong_permit(wrong);
    }
    let operation = operation(call);
    let now = Instant::now();
    let deadline = now + connection.write_timeout();
    if connection.limiter().acquire(operation, deadline.min(now + TOKEN_WAIT)).await.is_err() {
        return WriteResult::NotSent(NotSent::NoToken);
    }
    let sent = tokio::time::timeout_at(deadline, send(session, group, call)).await;
    let late = |_| AwsError::new(operation.name(), ErrorClass::TimedOut, Effect::Unknown, "Deadline");
    match sent.map_err(late).and_then(|result| result) {
        Ok(request_id) => WriteResult::Done { request_id },
        Err(error) => {
            learn(connection.limiter(), &session.credentials, operation, &error).await;
            tracing::debug!(%error, group, detail = error.detail, request_id = error.request_id, "Write failed");
            match error.effect {
                Effect::NotSent => WriteResult::NotSent(NotSent::Failed(error)),
                Effect::Refused => WriteResult::Refused(error),
                Effect::Unknown => WriteResult::Unknown(error),
            }
        }
    }
}

/// A call that EC2 would understand otherwise than it is meant.
fn check(call: &Call) -> Result<(), String> {
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
    };
    if empty { Err(format!("{call} of nothing")) } else { Ok(()) }
}

fn operation(call: &Call) -> Operation {
    match call {
        Call::Authorize { direction: Direction::Ingress, .. } => Operation::AuthorizeSecurityGroupIngress,
        Call::Authorize { direction: Direction::Egress, .. } => Operation::AuthorizeSecurityGroupEgress,
        Call::Modify { .. } => Operation::ModifySecurityGroupRules,
        Call::Revoke { direction: Direction::Ingress, .. } => Operation::RevokeSecurityGroupIngress,
        Call::Revoke { direction: Direction::Egress, .. } => Operation::RevokeSecurityGroupEgress,
        Call::Tag { .. } => Operation::CreateTags,
        Call::Untag { .. } => Operation::DeleteTags,
    }
}

async fn send(session: &Session, group: &str, call: &Call) -> Result<Option<String>, AwsError> {
    let operation = operation(call);
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

async fn answer<T, E>(
    operation: Operation,
    sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    done: impl FnOnce(&T) -> Option<bool>,
) -> Result<Option<String>, AwsError>
where
    T: RequestId,
    E: ProvideErrorMetadata + Error + 'static,
{
    let reply = sending.await.map_err(|error| AwsError::of(operation.name(), &error))?;
    if done(&reply) == Some(false) {
        return Err(AwsError::unusable(operation.name(), "AWS answered that not all of it was done"));
    }
    Ok(reply.request_id().map(str::to_owned))
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
                assert_eq!(operation(&call).name(), call.operation());
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
