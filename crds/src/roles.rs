//! Cluster roles, ready to bind, and the verbs that the admission policies ask for.
//!
//! Each right that can hurt has a role of its own, so that nobody gets it by the way: to edit baselines is not to let them
//! write to AWS, and whoever is measured by a baseline does not also excuse himself from it or approve what it does.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::GROUP;
use crate::generate::{baseline_plurals, crds};

/// The verb on change sets that allows an approval to say `Approve` or `Reject`.
pub const APPROVE: &str = "approve";

/// The verb on change sets that allows an approval to say `Rollback`.
pub const ROLLBACK: &str = "rollback";

/// The verb on baselines that allows a spec to say `Enforce`.
pub const ENFORCE: &str = "enforce";

/// Sees everything of ours, and changes nothing. AWSAccounts only where it is bound by a ClusterRoleBinding.
pub const VIEWER: &str = "baseward-viewer";

/// A viewer who writes baselines, as long as they do not say `Enforce`.
pub const EDITOR: &str = "baseward-editor";

/// To be bound in addition to [`EDITOR`], also to what applies baselines from Git: the baselines may say `Enforce`.
pub const ENFORCER: &str = "baseward-enforcer";

/// A viewer who decides on change sets.
pub const APPROVER: &str = "baseward-approver";

/// A viewer who writes exemptions.
pub const EXEMPTER: &str = "baseward-exempter";

/// What the controller needs in the whole cluster.
pub const CONTROLLER: &str = "baseward-controller";

/// What the controller needs in its own namespace, to be bound there by a RoleBinding: elsewhere are the leases of others.
pub const CONTROLLER_LEASE: &str = "baseward-controller-lease";

/// The name of the Lease, unless the controller is told otherwise.
const LEASE: &str = "baseward";

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 4] = ["create", "update", "patch", "delete"];

/// Every role. Those for people and for GitOps are bound in a namespace, or everywhere.
pub fn cluster_roles() -> [ClusterRole; 7] {
    let every_kind: Vec<String> = crds().map(|crd| crd.spec.names.plural).into();
    let every_kind: Vec<&str> = every_kind.iter().map(String::as_str).collect();
    let baselines = baseline_plurals();
    let baselines: Vec<&str> = baselines.iter().map(String::as_str).collect();
    let view = || rule(GROUP, &every_kind, &READ);
    [
        // Whoever explains what a baseline does looks at the labels of its namespace, too.
        role(VIEWER, vec![view(), rule("", &["namespaces"], &["get", "list"])]),
        role(EDITOR, vec![view(), rule(GROUP, &baselines, &WRITE)]),
        role(ENFORCER, vec![rule(GROUP, &baselines, &[ENFORCE])]),
        role(
            APPROVER,
            vec![
                view(),
                rule(GROUP, &["changesetapprovals"], &["create"]),
                rule(GROUP, &["changesets"], &[APPROVE, ROLLBACK]),
            ],
        ),
        role(EXEMPTER, vec![view(), rule(GROUP, &["baselineexemptions"], &WRITE)]),
        role(CONTROLLER, controller(&every_kind)),
        role(CONTROLLER_LEASE, lease()),
    ]
}

fn controller(every_kind: &[&str]) -> Vec<PolicyRule> {
    let statuses: Vec<String> = every_kind.iter().map(|plural| format!("{plural}/status")).collect();
    let statuses: Vec<&str> = statuses.iter().map(String::as_str).collect();
    let policies = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
    vec![
        rule(GROUP, every_kind, &READ),
        rule(GROUP, &statuses, &["patch"]),
        rule(GROUP, &["changesets"], &["create", "delete"]),
        // Who undoes a change lets the finding stand for a while.
        rule(GROUP, &["baselineexemptions"], &["create"]),
        rule("", &["namespaces"], &READ),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        rule("admissionregistration.k8s.io", &policies, &READ),
        rule("authentication.k8s.io", &["selfsubjectreviews"], &["create"]),
    ]
}

fn lease() -> Vec<PolicyRule> {
    let leases = |verbs| rule("coordination.k8s.io", &["leases"], verbs);
    // What is yet to be created has no name that a rule could ask for.
    vec![leases(&["create"]), PolicyRule { resource_names: Some(owned(&[LEASE])), ..leases(&["get", "update"]) }]
}

fn role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ClusterRole { aggregation_rule: None, metadata, rules: Some(rules) }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(owned(&[group])),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(role: &ClusterRole, resource: &str, verb: &str) -> bool {
        let has = |list: &[String], text: &str| list.iter().any(|entry| entry == text);
        let about = |rule: &&PolicyRule| rule.resources.as_deref().is_some_and(|resources| has(resources, resource));
        role.rules.iter().flatten().filter(about).any(|rule| has(&rule.verbs, verb))
    }

    #[test]
    fn a_right_that_can_hurt_comes_with_one_role_only() {
        let roles = cluster_roles();
        let holders = |resource: &str, verb: &str| -> Vec<String> {
            let holders = roles.iter().filter(|role| grants(role, resource, verb));
            holders.filter_map(|role| role.metadata.name.clone()).collect()
        };
        for baselines in ["securitygroupbaselines", "lambdabaselines"] {
            assert_eq!(holders(baselines, ENFORCE), [ENFORCER]);
            assert_eq!(holders(baselines, "update"), [EDITOR]);
        }
        assert_eq!(holders("changesets", APPROVE), [APPROVER]);
        assert_eq!(holders("changesets", ROLLBACK), [APPROVER]);
        assert_eq!(holders("changesets", "create"), [CONTROLLER]);
        assert_eq!(holders("changesets", "delete"), [CONTROLLER]);
        assert_eq!(holders("changesetapprovals", "create"), [APPROVER]);
        assert_eq!(holders("changesetapprovals/status", "patch"), [CONTROLLER]);
        assert_eq!(holders("baselineexemptions", "create"), [EXEMPTER, CONTROLLER]);
        assert_eq!(
            holders("awsaccounts", "create"),
            Vec::<String>::new(),
            "accounts are the cluster's administrators'"
        );
    }

    #[test]
    fn no_role_grants_everything_of_anything() {
        for role in cluster_roles() {
            for rule in role.rules.into_iter().flatten() {
                let lists = [rule.api_groups.unwrap_or_default(), rule.resources.unwrap_or_default(), rule.verbs];
                assert!(
                    lists.iter().all(|list| !list.is_empty() && list.iter().all(|entry| entry != "*")),
                    "{lists:?}"
                );
            }
        }
    }
}
