//! `cloudtrail/lookup_events`: who changes a resource besides ourselves.
//!
//! One page of LookupEvents: the newest events that name the resource. Of these nothing is kept but one name.

use std::time::Duration;

use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime;
use engine::rivals::{Part, Subject};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::{AwsError, Effect, ErrorClass};
use crate::limiter::Operation;

/// What the role that reads must be allowed to do for this. Without it others are not named; nothing else depends on it.
pub const IAM_ACTIONS: &[&str] = &["cloudtrail:LookupEvents"];

const OPERATION: Operation = Operation::LookupEvents;
/// The largest page (`MaxResults`).
const PAGE: i32 = 50;
/// A name is no reason to keep a sweep waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who made the calls on security groups.
const SOURCE: &str = "ec2.amazonaws.com";
/// Who made the calls on functions.
const LAMBDA: &str = "lambda.amazonaws.com";
/// The calls that change the rules of a group.
const RULE_CHANGES: &[&str] = &[
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "ModifySecurityGroupRules",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "UpdateSecurityGroupRuleDescriptionsEgress",
    "UpdateSecurityGroupRuleDescriptionsIngress",
];

/// The calls that change the tags of a group.
const TAG_CHANGES: &[&str] = &["CreateTags", "DeleteTags"];

/// The calls that change the tags of a function. Event names of Lambda can end in a version of its API, such as
/// `AddPermission20150331v2`.
const FUNCTION_TAG_CHANGES: &[&str] = &["TagResource", "UntagResource"];

/// The calls that change the policy of a function.
const POLICY_CHANGES: &[&str] = &["AddPermission", "DeleteResourcePolicy", "PutResourcePolicy", "RemovePermission"];

/// The calls that change the URL of a function.
const URL_CHANGES: &[&str] = &["CreateFunctionUrlConfig", "DeleteFunctionUrlConfig", "UpdateFunctionUrlConfig"];

/// The calls that change anything else that is configured of a function.
const CONFIGURATION_CHANGES: &[&str] = &[
    "DeleteFunctionCodeSigningConfig",
    "DeleteFunctionConcurrency",
    "PutFunctionCodeSigningConfig",
    "PutFunctionConcurrency",
    "PutFunctionRecursionConfig",
    "PutRuntimeManagementConfig",
    "UpdateFunctionConfiguration",
];

/// The ARN of whoever made the newest change of this part of a resource since a time, other than the sessions in which we write ourselves;
/// for a service of AWS that acts on its own its name. `None`: nobody, or not yet, since CloudTrail shows an event up to 15
/// minutes late.
///
/// # Errors
/// CloudTrail could not be asked, or not within 5 seconds.
pub async fn latest_other(
    connection: &Connection,
    Subject { resource, part }: &Subject,
    since: Timestamp,
) -> Result<Option<String>, AwsError> {
    let attribute = LookupAttribute::builder()
        .attribute_key(LookupAttributeKey::ResourceName)
        .attribute_value(resource)
        .build()
        .map_err(|_| AwsError::new(OPERATION.name(), ErrorClass::Invalid, Effect::NotSent, "RequestNotBuilt"))?;
    // The times of events are whole seconds.
    let since = DateTime::from_secs(since.as_second());
    let session = connection.read_session();
    let request = session.cloudtrail.lookup_events().lookup_attributes(attribute).start_time(since).max_results(PAGE);
    let reads = connection.reads(Instant::now() + PATIENCE);
    let reply = reads.call(OPERATION, || request.clone().send()).await?;
    let ours = connection.write_session().and_then(|session| session.credentials.session_arn());
    Ok(newest_other(&reply.events.unwrap_or_default(), *part, ours.as_deref()))
}

/// Who made the newest change of a part among events, which come newest first, if not under our own name.
fn newest_other(events: &[Event], part: Part, ours: Option<&str>) -> Option<String> {
    let is_change = |event: &&Event| {
        let (source, name) = (event.event_source(), event.event_name());
        source.zip(name).is_some_and(|(source, name)| changes(part, source, name))
    };
    events.iter().filter(is_change).filter_map(who).find(|name| Some(name.as_str()) != ours)
}

/// Whether an event is a change of a part of a resource.
fn changes(part: Part, source: &str, name: &str) -> bool {
    let of_group = |calls: &[&str]| source == SOURCE && calls.contains(&name);
    let of_function = |calls: &[&str]| source == LAMBDA && calls.iter().any(|call| is_call(name, call));
    match part {
        Part::Rules => of_group(RULE_CHANGES),
        Part::Tags => of_group(TAG_CHANGES) || of_function(FUNCTION_TAG_CHANGES),
        Part::Policy => of_function(POLICY_CHANGES),
        Part::Url => of_function(URL_CHANGES),
        Part::Configuration => of_function(CONFIGURATION_CHANGES),
    }
}

/// Whether an event is named after a call, perhaps with the version of the API behind it.
fn is_call(name: &str, call: &str) -> bool {
    name.strip_prefix(call)
        .is_some_and(|version| version.is_empty() || version.starts_with(|it: char| it.is_ascii_digit()))
}

/// Who made a call that succeeded.
fn who(event: &Event) -> Option<String> {
    let record: Value = serde_json::from_str(event.cloud_trail_event()?).ok()?;
    if record.get("errorCode").is_some() {
        return None;
    }
    let identity = record.get("userIdentity")?;
    let names = ["/arn", "/sessionContext/sessionIssuer/arn", "/invokedBy"];
    let name = names.iter().find_map(|member| identity.pointer(member)?.as_str())?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: &str = "arn:aws:sts::111122223333:assumed-role/baseward-write/baseward";
    const TERRAFORM: &str = "arn:aws:sts::111122223333:assumed-role/terraform/ci";

    fn event(source: &str, name: &str, record: &Value) -> Event {
        Event::builder().event_source(source).event_name(name).cloud_trail_event(record.to_string()).build()
    }

    fn revoke(identity: &Value) -> Event {
        event(SOURCE, "RevokeSecurityGroupIngress", &json!({ "userIdentity": identity }))
    }

    #[test]
    fn the_newest_change_that_is_not_ours_tells_who() {
        let (ours, terraform) = (revoke(&json!({"arn": OURS})), revoke(&json!({"arn": TERRAFORM})));
        let older = revoke(&json!({"arn": "arn:aws:iam::111122223333:user/ana"}));
        let named = |events: &[Event]| newest_other(events, Part::Rules, Some(OURS));
        assert_eq!(named(&[ours.clone(), terraform, older]).as_deref(), Some(TERRAFORM));
        assert_eq!((named(&[ours]), named(&[])), (None, None));
    }

    #[test]
    fn what_changes_no_group_and_what_failed_tells_nobody() {
        let record = json!({"userIdentity": {"arn": TERRAFORM}});
        let refused = json!({"userIdentity": {"arn": TERRAFORM}, "errorCode": "Client.UnauthorizedOperation"});
        for harmless in [
            event(SOURCE, "DescribeSecurityGroupRules", &record),
            event("elasticloadbalancing.amazonaws.com", "CreateTags", &record),
            event(SOURCE, "AuthorizeSecurityGroupIngress", &refused),
            event(SOURCE, "AuthorizeSecurityGroupIngress", &json!({})),
            Event::builder().event_source(SOURCE).event_name("CreateTags").cloud_trail_event("{").build(),
            Event::builder().build(),
        ] {
            for part in [Part::Rules, Part::Tags] {
                assert_eq!(newest_other(std::slice::from_ref(&harmless), part, None), None);
            }
        }
    }

    #[test]
    fn who_changed_the_tags_since_does_not_stand_for_who_changed_the_rules() {
        let tagger = "arn:aws:sts::111122223333:assumed-role/cost-tagger/nightly";
        let tag = event(SOURCE, "DeleteTags", &json!({"userIdentity": {"arn": tagger}}));
        let events = [tag, revoke(&json!({"arn": TERRAFORM}))];
        let named = |part| newest_other(&events, part, Some(OURS));
        assert_eq!((named(Part::Rules).as_deref(), named(Part::Tags).as_deref()), (Some(TERRAFORM), Some(tagger)));
        assert_eq!(newest_other(&events[1..], Part::Tags, Some(OURS)), None);
    }

    #[test]
    fn a_session_is_named_by_its_arn_else_by_its_role_and_a_service_by_its_name() {
        let role = "arn:aws:iam::111122223333:role/terraform";
        let issuer = json!({"sessionIssuer": {"arn": role}});
        for (identity, name) in [
            (
                json!({"arn": TERRAFORM, "sessionContext": issuer, "invokedBy": "cloudformation.amazonaws.com"}),
                TERRAFORM,
            ),
            (json!({"sessionContext": issuer}), role),
            (json!({"type": "AWSService", "invokedBy": "fms.amazonaws.com"}), "fms.amazonaws.com"),
        ] {
            assert_eq!(newest_other(&[revoke(&identity)], Part::Rules, Some(OURS)).as_deref(), Some(name));
        }
    }
}
