//! The IAM policies that the roles of an account need: made from what the files of this crate say they call.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloudfront::distributions;
use crate::cloudtrail::lookup_events;
use crate::ec2::{self, network_interfaces, prefix_lists, security_groups, subnets};
use crate::lambda::{
    self, account_settings, aliases, code_signing, concurrency, event_invoke, functions, layers, policies, recursion,
    runtime_management, urls, versions,
};
use crate::tagging::resources;

/// Version of the IAM policy language.
const LANGUAGE: &str = "2012-10-17";

/// The policy of the role that reads. Neither descriptions nor lists nor CloudTrail's history can be limited to resources.
/// `lambda:GetFunction` is not among the actions: it hands out the code.
pub fn read_policy() -> Value {
    let sources = [
        ec2::live::IAM_ACTIONS,
        lambda::live::IAM_ACTIONS,
        account_settings::IAM_ACTIONS,
        aliases::IAM_ACTIONS,
        code_signing::IAM_ACTIONS,
        distributions::IAM_ACTIONS,
        concurrency::IAM_ACTIONS,
        event_invoke::IAM_ACTIONS,
        functions::IAM_ACTIONS,
        layers::IAM_ACTIONS,
        lookup_events::IAM_ACTIONS,
        network_interfaces::IAM_ACTIONS,
        policies::IAM_ACTIONS,
        prefix_lists::IAM_ACTIONS,
        recursion::IAM_ACTIONS,
        resources::IAM_ACTIONS,
        runtime_management::IAM_ACTIONS,
        security_groups::IAM_ACTIONS,
        subnets::IAM_ACTIONS,
        urls::IAM_ACTIONS,
        versions::IAM_ACTIONS,
    ];
    let actions: BTreeSet<&str> = sources.concat().into_iter().collect();
    document(json!({"Sid": "BasewardRead", "Effect": "Allow", "Action": actions, "Resource": "*"}))
}

/// The policy of the role that writes: security groups and their rules, functions and layers, nothing else. `partition` is
/// `aws`, `aws-cn` or `aws-us-gov`.
pub fn write_policy(partition: &str) -> Value {
    let statement = |sid: &str, actions: &[&'static str], service: &str, kinds: &[&str]| {
        let actions: BTreeSet<&str> = actions.iter().copied().collect();
        let resources: Vec<String> = kinds.iter().map(|kind| format!("arn:{partition}:{service}:*:*:{kind}")).collect();
        json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources})
    };
    // A rule that names a prefix list is authorised on the list as well.
    let groups = ["prefix-list/*", "security-group/*", "security-group-rule/*"];
    let functions = ["code-signing-config:*", "function:*", "layer:*"];
    json!({"Version": LANGUAGE, "Statement": [
        statement("BasewardWrite", ec2::write::WRITE_ACTIONS, "ec2", &groups),
        statement("BasewardWriteLambda", lambda::write::WRITE_ACTIONS, "lambda", &functions),
    ]})
}

/// The trust policy of either role: who may assume it, and with which external id only.
/// Without a principal it has a place to fill in.
pub fn trust_policy(controller_principal: Option<&str>, external_id: &str) -> String {
    document(json!({
        "Sid": "BasewardController",
        "Effect": "Allow",
        "Principal": {"AWS": controller_principal.unwrap_or("ARN-OF-THE-ROLE-THAT-BASEWARD-RUNS-WITH")},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
    }))
    .to_string()
}

/// The role behind the ARN of a session, as a trust policy names it; other ARNs as they are. A session does
/// not tell the path of its role: for a role with a path the result names none.
pub fn principal_of(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "sts", _, account, resource] => {
            let role = resource.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next());
            role.map_or_else(|| arn.to_owned(), |role| format!("arn:{partition}:iam::{account}:role/{role}"))
        }
        _ => arn.to_owned(),
    }
}

fn document(statement: Value) -> Value {
    json!({"Version": LANGUAGE, "Statement": [statement]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_policy_names_each_action_once_and_no_write() {
        let policy = read_policy();
        let actions = policy.pointer("/Statement/0/Action").and_then(Value::as_array).unwrap();
        let names: BTreeSet<&str> = actions.iter().filter_map(Value::as_str).collect();
        assert_eq!(names.len(), actions.len());
        let verbs = ["Describe", "Get", "List", "Lookup"];
        assert!(names.iter().all(|name| verbs.iter().any(|verb| name.contains(&format!(":{verb}")))), "{names:?}");
    }

    #[test]
    fn code_is_out_of_reach() {
        let hands_out_code =
            |action: &str| action.contains('*') || ["lambda:GetFunction", "lambda:GetLayerVersion"].contains(&action);
        for policy in [read_policy(), write_policy("aws")] {
            let statements = policy.pointer("/Statement").and_then(Value::as_array).unwrap();
            let allowed: Vec<&Value> =
                statements.iter().filter_map(|statement| statement["Action"].as_array()).flatten().collect();
            assert!(!allowed.is_empty());
            assert!(!allowed.iter().filter_map(|action| action.as_str()).any(hands_out_code), "{allowed:?}");
        }
    }

    #[test]
    fn the_write_policy_is_limited_to_security_groups_and_their_rules() {
        let policy = write_policy("aws-cn").to_string();
        assert!(policy.contains("arn:aws-cn:ec2:*:*:security-group-rule/*"));
        assert!(!policy.contains("\"Resource\":\"*\""));
        assert!(!policy.contains("Describe"));
    }

    #[test]
    fn the_trust_policy_demands_the_external_id() {
        let policy: Value = serde_json::from_str(&trust_policy(Some("arn:aws:iam::1:role/b"), "baseward:x:1")).unwrap();
        let condition = policy.pointer("/Statement/0/Condition/StringEquals/sts:ExternalId").unwrap();
        assert_eq!(condition, "baseward:x:1");
        assert_eq!(policy.pointer("/Statement/0/Principal/AWS").unwrap(), "arn:aws:iam::1:role/b");
    }

    #[test]
    fn a_session_leads_back_to_its_role() {
        let session = "arn:aws:sts::111122223333:assumed-role/baseward/17000";
        assert_eq!(principal_of(session), "arn:aws:iam::111122223333:role/baseward");
        assert_eq!(principal_of("arn:aws:iam::111122223333:user/ana"), "arn:aws:iam::111122223333:user/ana");
    }
}
