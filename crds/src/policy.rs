//! Admission policies: what the schema cannot say, since it depends on who asks and when.
//!
//! Kubernetes' own policies, not a webhook: they hold while the controller is away. What is built here is written out as the
//! API server stores it, so that the controller can tell by a comparison whether they are in force.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation,
    Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::generate::baseline_plurals;
use crate::{GROUP, VERSION, roles};

/// The user that the controller is unless somebody says otherwise: ServiceAccount `baseward` in namespace `baseward-system`.
pub const DEFAULT_CONTROLLER_USER: &str = "system:serviceaccount:baseward-system:baseward";

/// Only the controller writes and deletes change sets and reports on approvals.
pub const CHANGE_SETS: &str = "baseward-change-sets";

/// An approval is in its author's name, by somebody with the verb [`roles::APPROVE`] or [`roles::ROLLBACK`] on the change set.
pub const APPROVALS: &str = "baseward-approvals";

/// Who writes a spec that says `Enforce` has the verb [`roles::ENFORCE`] on that baseline.
pub const ENFORCE: &str = "baseward-enforce";

/// An exemption ends, at most 365 days after it was made.
pub const EXEMPTIONS: &str = "baseward-exemptions";

/// Each policy and its binding, which have one name.
pub const NAMES: [&str; 4] = [CHANGE_SETS, APPROVALS, ENFORCE, EXEMPTIONS];

/// The policies, for a controller that is this user.
pub fn policies(controller_user: &str) -> [ValidatingAdmissionPolicy; 4] {
    [change_sets(controller_user), approvals(), enforce(), exemptions()].map(|(name, spec)| ValidatingAdmissionPolicy {
        metadata: named(name),
        spec: Some(spec),
        status: None,
    })
}

/// The bindings that put each policy in force everywhere.
pub fn bindings() -> [ValidatingAdmissionPolicyBinding; 4] {
    NAMES.map(|name| ValidatingAdmissionPolicyBinding {
        metadata: named(name),
        spec: Some(ValidatingAdmissionPolicyBindingSpec {
            match_resources: None,
            param_ref: None,
            policy_name: Some(name.to_owned()),
            validation_actions: Some(texts(["Deny"])),
        }),
    })
}

/// What keeps the policies from being in force, one sentence each: a policy or a binding that is absent or differs in any way
/// from [`policies`] and [`bindings`]. Empty: nothing, as far as stored objects can tell.
pub fn missing(
    policies: &[ValidatingAdmissionPolicy],
    bindings: &[ValidatingAdmissionPolicyBinding],
    controller_user: &str,
) -> Vec<String> {
    let policies = self::policies(controller_user).into_iter().filter_map(|expected| {
        let stored = policies.iter().find(|policy| policy.metadata.name == expected.metadata.name);
        let same = stored.map(|stored| stored.spec == expected.spec);
        problem("ValidatingAdmissionPolicy", &expected.metadata, same)
    });
    let bindings = self::bindings().into_iter().filter_map(|expected| {
        let stored = bindings.iter().find(|binding| binding.metadata.name == expected.metadata.name);
        let same = stored.map(|stored| holds_as_much(stored.spec.as_ref(), expected.spec.as_ref()));
        problem("ValidatingAdmissionPolicyBinding", &expected.metadata, same)
    });
    policies.chain(bindings).collect()
}

/// Whether a binding is the expected one, perhaps with more actions than to refuse. They are a set: to apply the expected ones
/// over others leaves both.
fn holds_as_much(
    stored: Option<&ValidatingAdmissionPolicyBindingSpec>,
    expected: Option<&ValidatingAdmissionPolicyBindingSpec>,
) -> bool {
    let (Some(stored), Some(expected)) = (stored, expected) else { return false };
    let actions = |spec: &ValidatingAdmissionPolicyBindingSpec| spec.validation_actions.clone().unwrap_or_default();
    let has = actions(stored);
    let refuses = actions(expected).iter().all(|action| has.contains(action));
    refuses
        && ValidatingAdmissionPolicyBindingSpec {
            validation_actions: expected.validation_actions.clone(),
            ..stored.clone()
        } == *expected
}

fn problem(kind: &str, metadata: &ObjectMeta, same: Option<bool>) -> Option<String> {
    let name = metadata.name.as_deref().unwrap_or_default();
    match same {
        Some(true) => None,
        Some(false) => Some(format!("{kind} {name} is not the one that `baseward policies` prints")),
        None => Some(format!("{kind} {name} is absent")),
    }
}

type Named = (&'static str, ValidatingAdmissionPolicySpec);

fn change_sets(controller_user: &str) -> Named {
    let user = literal(controller_user);
    // A namespace can only go when all in it can. Both names are the control plane's own: the second is the first where the
    // controller manager runs without a ServiceAccount for each controller. Nothing owns a change set, so no garbage is collected.
    let namespace_controllers =
        "['system:serviceaccount:kube-system:namespace-controller', 'system:kube-controller-manager']";
    let expression = format!(
        "request.userInfo.username == {user} || (request.operation == 'DELETE' && request.userInfo.username in {namespace_controllers})"
    );
    let message = format!(
        "change sets are the journal of Baseward: only {controller_user} writes and deletes them and reports on approvals. To approve, reject or roll back a change set, create a ChangeSetApproval"
    );
    let resources = ["changesets", "changesets/status", "changesetapprovals/status"];
    let spec = ValidatingAdmissionPolicySpec {
        validations: Some(vec![Validation {
            expression,
            message: Some(message),
            message_expression: None,
            reason: Some(FORBIDDEN.to_owned()),
        }]),
        ..on(texts(resources), &["CREATE", "UPDATE", "DELETE"])
    };
    (CHANGE_SETS, spec)
}

fn approvals() -> Named {
    let verb = format!("object.spec.action == 'Rollback' ? '{}' : '{}'", roles::ROLLBACK, roles::APPROVE);
    let in_own_name = Validation {
        expression: "object.spec.by == request.userInfo.username".to_owned(),
        message: Some("spec.by must name who creates the approval".to_owned()),
        message_expression: Some(
            "'spec.by must name who creates the approval: write ' + request.userInfo.username + ', not ' + object.spec.by"
                .to_owned(),
        ),
        reason: Some(FORBIDDEN.to_owned()),
    };
    let with_the_verb = Validation {
        expression: format!(
            "authorizer.group('{GROUP}').resource('changesets').namespace(request.namespace).name(object.spec.changeSet).check(variables.verb).allowed()"
        ),
        message: Some("the verb approve or rollback on the change set is lacking".to_owned()),
        message_expression: Some(format!(
            "request.userInfo.username + ' lacks the verb ' + variables.verb + ' on change set ' + object.spec.changeSet + ': somebody who may grant it has to bind the ClusterRole {} in namespace ' + request.namespace + ', or a Role with that verb on changesets.{GROUP}'",
            roles::APPROVER
        )),
        reason: Some(FORBIDDEN.to_owned()),
    };
    let spec = ValidatingAdmissionPolicySpec {
        match_conditions: Some(vec![spec_is_new()]),
        variables: Some(vec![variable("verb", &verb)]),
        validations: Some(vec![in_own_name, with_the_verb]),
        ..on(texts(["changesetapprovals"]), &["CREATE", "UPDATE"])
    };
    (APPROVALS, spec)
}

fn enforce() -> Named {
    const ENFORCES: &str = "(has(object.spec.mode) && object.spec.mode == 'Enforce') || (has(object.spec.overrides) && object.spec.overrides.exists(entry, has(entry.mode) && entry.mode == 'Enforce'))";
    let verb = roles::ENFORCE;
    let with_the_verb = Validation {
        // The name of the request is empty where the API server makes one up (generateName).
        expression: format!(
            "!variables.enforces || authorizer.group('{GROUP}').resource(request.resource.resource).namespace(request.namespace).name(object.metadata.name).check('{verb}').allowed()"
        ),
        message: Some(format!("the verb {verb} on the baseline is lacking")),
        message_expression: Some(format!(
            "request.userInfo.username + ' lacks the verb {verb} on ' + request.resource.resource + ' ' + object.metadata.name + ', where spec.mode or the mode of an override is Enforce: take another mode, or somebody who may grant it has to bind the ClusterRole {} in namespace ' + request.namespace",
            roles::ENFORCER
        )),
        reason: Some(FORBIDDEN.to_owned()),
    };
    let spec = ValidatingAdmissionPolicySpec {
        match_conditions: Some(vec![spec_is_new()]),
        variables: Some(vec![variable("enforces", ENFORCES)]),
        validations: Some(vec![with_the_verb]),
        ..on(baseline_plurals(), &["CREATE", "UPDATE"])
    };
    (ENFORCE, spec)
}

fn exemptions() -> Named {
    let refuse = |expression: &str, message: &str, message_expression: &str| Validation {
        expression: expression.to_owned(),
        message: Some(message.to_owned()),
        message_expression: Some(message_expression.to_owned()),
        reason: Some("Invalid".to_owned()),
    };
    let begins = refuse(
        "variables.expires > variables.created",
        "spec.expires must lie after the exemption was created",
        "'spec.expires ' + object.spec.expires + ' must lie after the exemption was created (' + string(variables.created) + '): choose a date at most 365 days later'",
    );
    let ends = refuse(
        "variables.expires <= variables.latest",
        "spec.expires must be at most 365 days after the exemption was created",
        "'spec.expires ' + object.spec.expires + ' must be at most 365 days after the exemption was created: choose ' + string(variables.latest) + ' or earlier, and decide anew when it is over'",
    );
    // Kubernetes takes a date-time with a small t or z, and CEL does not.
    let variables = [
        variable("created", "timestamp(object.metadata.creationTimestamp)"),
        variable("expires", "timestamp(object.spec.expires.upperAscii())"),
        variable("latest", "variables.created + duration('8760h')"),
    ];
    let spec = ValidatingAdmissionPolicySpec {
        // The labels of an exemption that has run out must not be stuck.
        match_conditions: Some(vec![spec_is_new()]),
        variables: Some(variables.into()),
        validations: Some(vec![begins, ends]),
        ..on(texts(["baselineexemptions"]), &["CREATE", "UPDATE"])
    };
    (EXEMPTIONS, spec)
}

const FORBIDDEN: &str = "Forbidden";

/// A change of nothing but metadata says nothing new.
fn spec_is_new() -> MatchCondition {
    let expression = "request.operation == 'CREATE' || object.spec != oldObject.spec".to_owned();
    MatchCondition { name: "spec-is-new".to_owned(), expression }
}

/// A policy that demands nothing yet, on operations on some of our resources.
fn on(resources: Vec<String>, operations: &[&str]) -> ValidatingAdmissionPolicySpec {
    let rule = NamedRuleWithOperations {
        api_groups: Some(texts([GROUP])),
        api_versions: Some(texts([VERSION])),
        operations: Some(operations.iter().map(|operation| (*operation).to_owned()).collect()),
        resource_names: None,
        resources: Some(resources),
        scope: Some("*".to_owned()),
    };
    ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".to_owned()),
        match_constraints: Some(MatchResources {
            exclude_resource_rules: None,
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            resource_rules: Some(vec![rule]),
        }),
        ..ValidatingAdmissionPolicySpec::default()
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn variable(name: &str, expression: &str) -> Variable {
    Variable { name: name.to_owned(), expression: expression.to_owned() }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

/// A text as CEL writes it, which is as JSON does.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_after(
        change: impl FnOnce(&mut Vec<ValidatingAdmissionPolicy>, &mut Vec<ValidatingAdmissionPolicyBinding>),
    ) -> Vec<String> {
        let (mut policies, mut bindings) = (policies("ann").to_vec(), bindings().to_vec());
        change(&mut policies, &mut bindings);
        missing(&policies, &bindings, "ann")
    }

    #[test]
    fn what_is_built_is_in_force() {
        assert_eq!(missing_after(|_, _| {}), Vec::<String>::new());
        let foreign = ObjectMeta { uid: Some("1".to_owned()), generation: Some(3), ..named(APPROVALS) };
        assert_eq!(missing_after(|policies, _| policies[1].metadata = foreign), Vec::<String>::new());
    }

    #[test]
    fn what_is_absent_is_named() {
        let absent = missing_after(|policies, bindings| {
            policies.remove(0);
            bindings.remove(3);
        });
        assert_eq!(
            absent,
            [
                "ValidatingAdmissionPolicy baseward-change-sets is absent",
                "ValidatingAdmissionPolicyBinding baseward-exemptions is absent"
            ]
        );
        assert_eq!(missing(&[], &[], "ann").len(), 8);
    }

    #[test]
    fn whatever_weakens_a_policy_or_a_binding_is_a_difference() {
        let policy = |weaken: fn(&mut ValidatingAdmissionPolicySpec)| {
            missing_after(|policies, _| weaken(policies[1].spec.as_mut().unwrap()))
        };
        let differs = ["ValidatingAdmissionPolicy baseward-approvals is not the one that `baseward policies` prints"];
        assert_eq!(policy(|spec| spec.failure_policy = Some("Ignore".to_owned())), differs);
        assert_eq!(policy(|spec| spec.match_conditions = None), differs);
        assert_eq!(policy(|spec| drop(spec.validations.as_mut().unwrap().pop())), differs);
        let binding = |weaken: fn(&mut ValidatingAdmissionPolicyBindingSpec)| {
            missing_after(|_, bindings| weaken(bindings[1].spec.as_mut().unwrap()))
        };
        let differs =
            ["ValidatingAdmissionPolicyBinding baseward-approvals is not the one that `baseward policies` prints"];
        assert_eq!(binding(|spec| spec.validation_actions = Some(texts(["Audit"]))), differs);
        assert_eq!(binding(|spec| spec.match_resources = on(Vec::new(), &[]).match_constraints), differs);
        assert_eq!(binding(|spec| spec.policy_name = Some(ENFORCE.to_owned())), differs);
        let another = missing(&policies("ann"), &bindings(), "bob");
        assert_eq!(
            another,
            ["ValidatingAdmissionPolicy baseward-change-sets is not the one that `baseward policies` prints"]
        );
    }

    #[test]
    fn the_name_of_the_controller_cannot_end_its_literal() {
        let [policy, ..] = policies("a\" || true || \"\\");
        let validations = policy.spec.unwrap().validations.unwrap();
        assert!(validations[0].expression.starts_with(r#"request.userInfo.username == "a\" || true || \"\\" ||"#));
    }

    #[test]
    fn every_kind_of_baseline_is_covered() {
        let [_, _, policy, _] = policies("ann");
        let rules = policy.spec.unwrap().match_constraints.unwrap().resource_rules.unwrap();
        let covered = rules[0].resources.as_ref().unwrap();
        for crd in crate::crds() {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let has_mode = schema.pointer("/openAPIV3Schema/properties/spec/properties/mode").is_some();
            assert_eq!(covered.contains(&crd.spec.names.plural), has_mode, "{}", crd.spec.names.kind);
        }
    }
}
