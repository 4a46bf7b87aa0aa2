//! `spec.access`: who may use a function, by its resource policy.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::urls::serves_urls_alone;
use super::view::unread;
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{ALIASES, About, FUNCTIONS, POLICIES, Setting, named};
use crate::edit::Withheld;
use crate::facts::Function;
use crate::finding::{Severity, Verdict};
use crate::permission::{self, Permission};
use crate::policy::{Class, Policy, Statement, Trust};
use crate::property::{Property, PropertyChange};

/// Who may use a function, by its resource policy and those of its aliases. Any action on it counts, not only calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Whether no statement may let in everybody. Enforce removes such statements, but for those that open a URL which
    /// urls.allowFunctions allows. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbid_public: Option<bool>,
    /// Whether services of AWS may call only on behalf of a source that is named: an account or an ARN. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_source: Option<bool>,
    /// Whether Enforce binds services that name no source to the account of the function: a narrower statement is added,
    /// then the wide one removed. Left out: report only, as the right source is known to the workload alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_source_account: Option<bool>,
    /// Twelve-digit ids of accounts that may appear in policies, beside the function's own. Enforce removes statements
    /// for others. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(min = 12, max = 12), regex(pattern = "^[0-9]{12}$")))]
    pub trusted_accounts: Option<Vec<String>>,
    /// Ids of AWS organizations, such as o-a1b2c3d4e5, whose principals may appear in policies. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), inner(length(min = 12, max = 34), regex(pattern = "^o-[a-z0-9]{10,32}$")))]
    pub trusted_org_ids: Option<Vec<String>>,
}

impl Access {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self {
            forbid_public: Some(true),
            service_source: Some(true),
            add_source_account: None,
            trusted_accounts: Some(Vec::new()),
            trusted_org_ids: Some(Vec::new()),
        }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    accounts: BTreeSet<String>,
    organizations: BTreeSet<String>,
    add_source_account: bool,
}

impl Compiled {
    pub(super) fn new(access: Option<&Access>) -> Self {
        let Access { trusted_accounts, trusted_org_ids, add_source_account, .. } = access.cloned().unwrap_or_default();
        Self {
            accounts: trusted_accounts.unwrap_or_default().into_iter().collect(),
            organizations: trusted_org_ids.unwrap_or_default().into_iter().collect(),
            add_source_account: add_source_account.unwrap_or_default(),
        }
    }

    /// Whom the baseline trusts with a resource of an account.
    pub(super) fn trust(&self, own_account: &str) -> Trust {
        Trust { accounts: self.accounts.clone(), organizations: self.organizations.clone(), ..Trust::of(own_account) }
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-no-public-policy",
            title: "Function policies grant nothing to everyone",
            severity: Severity::Critical,
            field: "access.forbidPublic",
            default: "true",
            remedy: "removes the statement (RemovePermission)",
            since: "0.2.0",
            sources: &[FUNCTIONS, POLICIES, ALIASES],
        },
        setting: |spec| Setting::switch(spec.access.as_ref().and_then(|access| access.forbid_public)),
        alike: |one, other| one.access == other.access && one.urls.allow_alike(&other.urls),
        check: |parameters, view| check(parameters, view, Class::Public, "no statement that lets in everybody"),
        remedy: Some(|parameters, view| remove(parameters, view, Class::Public)),
    },
    Control {
        about: About {
            id: "lambda-no-confused-deputy",
            title: "AWS service principals are bound to a source account or ARN",
            severity: Severity::High,
            field: "access.serviceSource",
            default: "true",
            remedy: "with addSourceAccount adds a statement for the own account, then removes the wide one (AddPermission, RemovePermission); report only without it",
            since: "0.2.0",
            sources: &[FUNCTIONS, POLICIES, ALIASES],
        },
        setting: |spec| Setting::switch(spec.access.as_ref().and_then(|access| access.service_source)),
        alike: |one, other| one.access == other.access,
        check: |parameters, view| {
            check(parameters, view, Class::ConfusedDeputy, "a source account or ARN for every service that may call")
        },
        remedy: Some(bind_to_account),
    },
    Control {
        about: About {
            id: "lambda-no-untrusted-account",
            title: "Only trusted accounts appear in function policies",
            severity: Severity::High,
            field: "access.trustedAccounts, access.trustedOrgIds",
            default: "the account of the function alone",
            remedy: "removes the statement (RemovePermission)",
            since: "0.2.0",
            sources: &[FUNCTIONS, POLICIES, ALIASES],
        },
        setting: |spec| {
            let access = spec.access.as_ref();
            let named = access.is_some_and(|it| it.trusted_accounts.is_some() || it.trusted_org_ids.is_some());
            if named { Setting::Named } else { Setting::Recommended }
        },
        alike: |one, other| one.access == other.access,
        check: |parameters, view| check(parameters, view, Class::Untrusted, "statements for trusted accounts alone"),
        remedy: Some(|parameters, view| remove(parameters, view, Class::Untrusted)),
    },
];

/// A statement of a class, and the policy that it is in.
struct Offender<'v> {
    qualifier: &'v str,
    /// Of what the policy is.
    of: String,
    policy: &'v Policy,
    statement: &'v Statement,
}

/// The statements of a class.
///
/// # Errors
/// The verdict where they are not known.
fn offenders<'v>(
    parameters: &Parameters,
    view: &'v FunctionView<'_>,
    class: Class,
) -> Result<Vec<Offender<'v>>, Verdict> {
    let policies = view.policies().map_err(|failure| unread("its policies", failure))?;
    let trust = parameters.access.trust(&view.function.account);
    let is_allowed = class == Class::Public && parameters.urls.may_be_unsigned(&view.function.name);
    let mut offenders = Vec::new();
    for (qualifier, policy) in policies {
        let policy = policy.as_ref().map_err(|error| Verdict::unknown(error.to_string()))?;
        let found = policy.judge(&trust).into_iter().filter(|(_, judged)| *judged == class);
        let found = found.filter_map(|(index, _)| policy.statements().get(index));
        // What the baseline allows is taken from nobody.
        let found = found.filter(|statement| !(is_allowed && serves_urls_alone(statement)));
        offenders.extend(found.map(|statement| Offender {
            qualifier,
            of: policy_of(view, qualifier),
            policy,
            statement,
        }));
    }
    Ok(offenders)
}

fn check(parameters: &Parameters, view: &LambdaView<'_>, class: Class, expected: &str) -> Verdict {
    let Some(view) = view.function() else { return Verdict::not_applicable("not a function") };
    let trust = parameters.access.trust(&view.function.account);
    let describe = |offender: &Offender<'_>| {
        let why = offender.statement.why(&trust).unwrap_or_default();
        if offender.qualifier.is_empty() { why } else { format!("{why} (alias {})", offender.qualifier) }
    };
    match offenders(parameters, view, class) {
        Err(unknown) => unknown,
        Ok(found) if found.is_empty() => Verdict::Pass,
        Ok(found) => Verdict::fail(expected, named(found.iter().map(describe))),
    }
}

fn remove(parameters: &Parameters, view: &LambdaView<'_>, class: Class) -> Vec<Remedy> {
    let found = view.function().and_then(|view| offenders(parameters, view, class).ok());
    found.unwrap_or_default().iter().map(removal).collect()
}

/// Of what the policy under a qualifier is: the end of an ARN.
pub(super) fn policy_of(view: &FunctionView<'_>, qualifier: &str) -> String {
    let Function { account, name, .. } = view.function;
    let alias = if qualifier.is_empty() { String::new() } else { format!(":{qualifier}") };
    format!(":{account}:function:{name}{alias}")
}

/// The statement goes, if it can be named, and could be written again.
fn removal(Offender { qualifier, of, policy, statement }: &Offender<'_>) -> Remedy {
    let raw = statement.raw();
    let sid = statement.sid().unwrap_or_default();
    let before = Some(permission::canonical(raw));
    let change = PropertyChange { property: Property::statement(qualifier, sid), before, after: None };
    let remedy = Remedy::set(change);
    match inexpressible(policy, statement, of) {
        Some(why) => remedy.held_by(Withheld::NotExpressible(why)),
        None => remedy,
    }
}

/// Why a statement cannot be removed by its id, or not be added again for an undo. `of` ends the ARN of what the policy
/// is of, which a statement that is added gets as its resource.
pub(super) fn inexpressible(policy: &Policy, statement: &Statement, of: &str) -> Option<String> {
    let Some(sid) = statement.sid() else {
        return Some("the statement has no Sid, by which alone it could be removed".to_owned());
    };
    let same = policy.statements().iter().filter(|other| other.sid() == Some(sid)).count();
    if same > 1 {
        return Some(format!("several statements have the Sid {sid:?}"));
    }
    if permission::has_token(statement.raw()) {
        return Some(format!(
            "the statement {sid:?} holds an event source token, a secret that is not kept for an undo"
        ));
    }
    let expressible = Permission::of(statement.raw()).is_some() && statement.is_about(of);
    (!expressible).then(|| format!("the statement {sid:?} could not be added again as it is"))
}

fn bind_to_account(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Some(view) = view.function().filter(|_| parameters.access.add_source_account) else { return Vec::new() };
    let found = offenders(parameters, view, Class::ConfusedDeputy).unwrap_or_default();
    found.iter().map(|offender| bound(offender, &view.function.account)).collect()
}

/// The statement is replaced by the same for the function's own account. One that is there already, as after a plan that
/// was cut short, stays: it has to be there still when the wide one goes.
fn bound(offender: &Offender<'_>, account: &str) -> Remedy {
    let mut remedy = removal(offender);
    let wanted = offender.statement.with_source_account(account);
    if let Some((sid, same)) = same_under_another_sid(offender, &wanted) {
        let stays = Some(permission::canonical(same));
        let property = Property::statement(offender.qualifier, sid);
        remedy.changes.push(PropertyChange { property, before: stays.clone(), after: stays });
        return remedy;
    }
    let sid = free_sid(offender.policy, offender.statement.sid().unwrap_or_default());
    let narrow = under_sid(&wanted, &sid);
    // Where the statement has that condition already, the API has no operator left to write another one with.
    if remedy.held.is_none() && Permission::of(&narrow).is_none() {
        let why = format!("the statement {sid:?} that is to replace it could not be added");
        remedy.held = Some(Withheld::NotExpressible(why));
    }
    let property = Property::statement(offender.qualifier, &sid);
    remedy.changes.push(PropertyChange { property, before: None, after: Some(permission::canonical(&narrow)) });
    remedy
}

fn under_sid(statement: &Value, sid: &str) -> Value {
    let mut statement = statement.clone();
    if let Some(members) = statement.as_object_mut() {
        members.insert("Sid".to_owned(), Value::String(sid.to_owned()));
    }
    statement
}

/// A statement of the policy that says what is wanted, and alone has its id.
fn same_under_another_sid<'v>(offender: &Offender<'v>, wanted: &Value) -> Option<(&'v str, &'v Value)> {
    let statements = offender.policy.statements();
    let mut others = statements.iter().filter(|other| other.sid() != offender.statement.sid());
    others.find_map(|other| {
        let sid = other.sid()?;
        let is_alone = statements.iter().filter(|statement| statement.sid() == Some(sid)).count() == 1;
        let is_same = permission::canonical(other.raw()) == permission::canonical(&under_sid(wanted, sid));
        (is_alone && is_same).then_some((sid, other.raw()))
    })
}

/// So many characters of an id are taken over.
const MOST_OF_SID: usize = 63;

/// An id that no statement has, made from that of the statement that is replaced (at most 100 characters). Of a long one
/// not all fits, so that a digest tells it from others that begin alike.
fn free_sid(policy: &Policy, sid: &str) -> String {
    let stem = match sid.char_indices().nth(MOST_OF_SID) {
        None => sid.to_owned(),
        Some((end, _)) => {
            let digest: String = Sha256::digest(sid).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{digest}", sid.get(..end).unwrap_or_default())
        }
    };
    let taken = |sid: &String| policy.statements().iter().any(|other| other.sid() == Some(sid));
    let mut candidates = (1..).map(|number| match number {
        1 => format!("{stem}-own-account"),
        number => format!("{stem}-own-account-{number}"),
    });
    candidates.find(|sid| !taken(sid)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::LambdaParameters;
    use super::super::fixtures::{policies, remedies, spec, verdict, with, word};
    use super::*;
    use crate::facts::Inventory;
    use crate::property::PropertyName;

    const PUBLIC: &str = "lambda-no-public-policy";
    const DEPUTY: &str = "lambda-no-confused-deputy";
    const UNTRUSTED: &str = "lambda-no-untrusted-account";

    fn statement(sid: &str, principal: Value, condition: Value) -> Value {
        json!({
            "Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction",
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:checkout", "Condition": condition,
        })
    }

    fn open_to(sid: &str, principal: Value) -> Value {
        statement(sid, principal, json!({}))
    }

    fn under(statements: &[Value]) -> Inventory {
        let mut inventory = with(|_| {});
        inventory.lambda.policies = policies(&[("", json!({"Version": "2012-10-17", "Statement": statements}))]);
        inventory
    }

    fn binding() -> LambdaParameters {
        spec(json!({"access": {"addSourceAccount": true}}))
    }

    fn held(remedy: &Remedy) -> bool {
        matches!(remedy.held, Some(Withheld::NotExpressible(_)))
    }

    #[test]
    fn who_may_use_an_allowed_url_is_not_shut_out() {
        let mut url = statement("url", json!("*"), json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}));
        url["Action"] = json!("lambda:InvokeFunctionUrl");
        let via = statement("via", json!("*"), json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}));
        let allowing = |name: &str| spec(json!({"access": {"forbidPublic": true}, "urls": {"allowFunctions": [name]}}));
        let both = under(&[url.clone(), via.clone()]);
        assert_eq!(verdict(&allowing("check*"), PUBLIC, &both), Verdict::Pass);
        assert_eq!(remedies(&allowing("check*"), PUBLIC, &both), []);
        assert_eq!(remedies(&allowing("pay"), PUBLIC, &both).len(), 2);
        let all = under(&[url, via, open_to("all", json!("*"))]);
        let asked = remedies(&allowing("check*"), PUBLIC, &all);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].changes[0].property, Property::statement("", "all"));
    }

    #[test]
    fn everybody_is_let_in_by_either_spelling_and_goes_by_both() {
        for principal in [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["*"]})] {
            let open = under(&[open_to("all", principal.clone())]);
            assert_eq!(word(&LambdaParameters::default(), PUBLIC, &open), "Fail");
            let asked = remedies(&LambdaParameters::default(), PUBLIC, &open);
            let before = Some(permission::canonical(&open_to("all", json!("*"))));
            let change = PropertyChange { property: Property::statement("", "all"), before, after: None };
            assert_eq!(asked, [Remedy::set(change)], "{principal}");
        }
    }

    #[test]
    fn what_would_not_come_back_as_it_was_stays() {
        let elsewhere = |resource: Value| {
            let mut statement = open_to("all", json!("*"));
            statement["Resource"] = resource;
            statement
        };
        for statement in [
            elsewhere(json!("*")),
            elsewhere(json!("arn:aws:lambda:eu-west-1:111122223333:function:checkout:live")),
            elsewhere(json!("arn:aws:lambda:eu-west-1:444455556666:function:checkout")),
            statement("all", json!("*"), json!({"StringEquals": {"aws:SourceAccount": "*"}})),
        ] {
            let asked = remedies(&LambdaParameters::default(), PUBLIC, &under(std::slice::from_ref(&statement)));
            assert!(asked.len() == 1 && held(&asked[0]), "{statement}: {asked:?}");
        }
    }

    #[test]
    fn a_service_is_bound_to_the_account_or_left_alone() {
        let s3 = || json!({"Service": "s3.amazonaws.com"});
        let open = under(&[open_to("s3", s3())]);
        assert_eq!(remedies(&LambdaParameters::default(), DEPUTY, &open), []);
        let asked = remedies(&binding(), DEPUTY, &open);
        let narrow = json!({"StringEquals": {"aws:SourceAccount": "111122223333"}});
        let after = Some(permission::canonical(&statement("s3-own-account", s3(), narrow)));
        assert_eq!(asked[0].changes[1].after, after);
        assert_eq!((asked[0].changes[0].after.as_ref(), asked[0].held.as_ref()), (None, None));
        // The API knows one operator on accounts, and that is taken.
        let any = json!({"StringEquals": {"aws:SourceAccount": ["111122223333", "4444*"]}});
        let taken = remedies(&binding(), DEPUTY, &under(&[statement("s3", s3(), any)]));
        assert!(taken.len() == 1 && held(&taken[0]), "{taken:?}");
    }

    #[test]
    fn a_narrower_statement_that_is_there_already_is_not_added_again() {
        let s3 = || json!({"Service": "s3.amazonaws.com"});
        let own = json!({"StringEquals": {"AWS:SourceAccount": "111122223333"}});
        let (wide, narrow) = (open_to("s3", s3()), statement("by-hand", s3(), own));
        let asked = remedies(&binding(), DEPUTY, &under(&[wide.clone(), narrow.clone()]));
        let stays = Some(permission::canonical(&narrow));
        let property = Property::statement("", "by-hand");
        let [Remedy { changes, held: None }] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(changes[0].after, None);
        assert_eq!(changes[1..], [PropertyChange { property, before: stays.clone(), after: stays }]);
        // One that cannot be told from another one by its id proves nothing.
        let asked = remedies(&binding(), DEPUTY, &under(&[wide, narrow.clone(), narrow]));
        assert_eq!(asked[0].changes[1].before, None);
    }

    #[test]
    fn long_ids_that_begin_alike_become_different_ids() {
        let sids = ["a", "b"].map(|end| format!("{}{end}", "s".repeat(99)));
        let services = sids.each_ref().map(|sid| open_to(sid, json!({"Service": "s3.amazonaws.com"})));
        let asked = remedies(&binding(), DEPUTY, &under(&services));
        let added = |remedy: &Remedy| remedy.changes[1].property.qualifier_and_sid().1.to_owned();
        let added: BTreeSet<String> = asked.iter().map(added).collect();
        assert_eq!(added.len(), 2);
        assert!(added.iter().all(|sid| sid.len() <= 100), "{added:?}");
        assert!(asked.iter().all(|remedy| remedy.changes[1].property.name == PropertyName::Statement));
    }

    #[test]
    fn only_trusted_accounts_stay() {
        let role = json!({"AWS": "arn:aws:iam::444455556666:role/worker"});
        let foreign = under(&[open_to("them", role)]);
        let (_, actual) = super::super::fixtures::failure(verdict(&LambdaParameters::default(), UNTRUSTED, &foreign));
        assert!(actual.contains("444455556666"), "{actual}");
        assert_eq!(remedies(&LambdaParameters::default(), UNTRUSTED, &foreign).len(), 1);
        let trusting = spec(json!({"access": {"trustedAccounts": ["444455556666"]}}));
        assert_eq!(verdict(&trusting, UNTRUSTED, &foreign), Verdict::Pass);
    }
}
