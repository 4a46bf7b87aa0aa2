//! `spec.urls`: function URLs.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{inexpressible, policy_of};
use super::view::unread;
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{ALIASES, About, FUNCTIONS, InvalidParameter, POLICIES, Setting, URLS, named};
use crate::edit::Withheld;
use crate::facts::{Cors, FunctionUrl, UrlAuth};
use crate::finding::{Severity, Verdict};
use crate::permission::{self, Permission};
use crate::policy::{Class, Policy, Statement, Trust};
use crate::property::{Json, Property, PropertyChange, PropertyName};
use crate::select::Globs;

/// Function URLs, of functions and of their aliases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.corsOrigins) || !self.corsOrigins.exists(o, o.contains('*'))",
    "message": "corsOrigins cannot contain *: name each origin, such as https://shop.example.com"
}]))]
pub struct Urls {
    /// How callers of a URL have to authenticate: AWS_IAM, or Any for no demand. Enforce sets AWS_IAM, then removes the
    /// statements that let everybody use the URL without a signature. From then on callers that do not sign their
    /// requests, such as browsers and webhooks, are refused. Recommended: AWS_IAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthDemand>,
    /// Globs on the names of functions that may have a URL, also one without authentication: statements that let everybody use
    /// it, and do nothing else, stay whatever access.forbidPublic says. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 255)))]
    pub allow_functions: Option<Vec<String>>,
    /// The only origins whose pages may call a URL (CORS), as browsers write them: https://shop.example.com. Enforce removes
    /// all others; in place of * it names these. An origin that a URL does not let in yet is not added. Left out: any
    /// origin without a wildcard passes, and one with a wildcard is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 100),
        inner(length(min = 1, max = 253), regex(pattern = r"^[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+$"))
    )]
    pub cors_origins: Option<Vec<String>>,
    /// Whether functions must not have a URL at all, unless allowFunctions names them. Reported only: the host name of a URL
    /// that was deleted never comes back. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbid_urls: Option<bool>,
}

/// How callers of a URL have to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthDemand {
    /// They sign their requests, and IAM allows them.
    #[serde(rename = "AWS_IAM")]
    Iam,
    /// Nothing is demanded.
    Any,
}

impl Urls {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { auth: Some(AuthDemand::Iam), allow_functions: None, cors_origins: None, forbid_urls: None }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    allowed: Globs,
    origins: Option<BTreeSet<String>>,
}

impl Compiled {
    pub(super) fn new(urls: Option<&Urls>) -> Result<Self, InvalidParameter> {
        let Urls { auth: _, allow_functions, cors_origins, forbid_urls: _ } = urls.cloned().unwrap_or_default();
        if let Some(origin) = cors_origins.iter().flatten().find(|origin| origin.contains('*')) {
            return Err(InvalidParameter::new("urls.corsOrigins", format!("{origin:?} contains *: name each origin")));
        }
        Ok(Self {
            allowed: Globs::new("urls.allowFunctions", &allow_functions.unwrap_or_default())?,
            origins: cors_origins.map(BTreeSet::from_iter),
        })
    }

    /// Whether the baseline lets everybody use the URLs of a function.
    pub(super) fn may_be_unsigned(&self, function: &str) -> bool {
        self.allowed.is_match(function)
    }

    /// Whether another baseline lets the same functions have such URLs.
    pub(super) fn allow_alike(&self, other: &Self) -> bool {
        self.allowed == other.allowed
    }
}

/// Whether a statement lets whomever it names do nothing but use a URL, without a signature: the two that Lambda asks for
/// since October 2025 ("Control access to Lambda function URLs").
pub(super) fn serves_urls_alone(statement: &Statement) -> bool {
    let by_auth = || statement.demands("StringEquals", "lambda:FunctionUrlAuthType", "NONE");
    let by_way = || statement.demands("Bool", "lambda:InvokedViaFunctionUrl", "true");
    (statement.allows_only("lambda:invokefunctionurl") && by_auth())
        || (statement.allows_only("lambda:invokefunction") && by_way())
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-url-auth-iam",
            title: "Function URLs require IAM authentication",
            severity: Severity::High,
            field: "urls.auth",
            default: "AWS_IAM",
            remedy: "sets AWS_IAM (UpdateFunctionUrlConfig), then removes the statements that let everybody use the URL without a signature (RemovePermission)",
            since: "0.2.0",
            sources: &[FUNCTIONS, URLS, POLICIES, ALIASES],
        },
        setting: |spec| match spec.urls.as_ref().and_then(|urls| urls.auth) {
            None => Setting::Recommended,
            Some(AuthDemand::Iam) => Setting::Named,
            Some(AuthDemand::Any) => Setting::Off,
        },
        alike: |one, other| one.urls.allowed == other.urls.allowed,
        check: check_auth,
        remedy: Some(demand_signatures),
    },
    Control {
        about: About {
            id: "lambda-url-cors-restricted",
            title: "Function URL CORS has no wildcard origin",
            severity: Severity::Medium,
            field: "urls.corsOrigins",
            default: "any origin without *",
            remedy: "with corsOrigins removes all other origins (UpdateFunctionUrlConfig); report only without it",
            since: "0.2.0",
            sources: &[FUNCTIONS, URLS],
        },
        setting: |spec| Setting::recommended(spec.urls.as_ref().and_then(|urls| urls.cors_origins.as_ref())),
        alike: |one, other| one.urls.origins == other.urls.origins,
        check: check_cors,
        remedy: Some(restrict_cors),
    },
    Control {
        about: About {
            id: "lambda-url-absent",
            title: "Functions are exposed through API Gateway, not function URLs",
            severity: Severity::Medium,
            field: "urls.forbidUrls",
            default: "Off",
            remedy: "report only: a deleted URL never gets its host name back",
            since: "0.2.0",
            sources: &[FUNCTIONS, URLS],
        },
        setting: |spec| match spec.urls.as_ref().and_then(|urls| urls.forbid_urls) {
            Some(true) => Setting::Named,
            Some(false) | None => Setting::Off,
        },
        alike: |one, other| one.urls.allowed == other.urls.allowed,
        check: check_absent,
        remedy: None,
    },
];

/// The function with its URLs, unless there is nothing to judge or they are not known.
fn judged<'v, 'a>(view: &'v LambdaView<'a>) -> Result<(&'v FunctionView<'a>, &'a [FunctionUrl]), Verdict> {
    let Some(view) = view.function() else { return Err(Verdict::not_applicable("not a function")) };
    let urls = view.lambda().urls.of(&view.function.name, view.now());
    urls.map(|urls| (view, urls.as_slice())).map_err(|failure| unread("its URLs", failure))
}

/// The same, unless the baseline lets the function have any URL.
fn judged_unless_allowed<'v, 'a>(
    parameters: &Parameters,
    view: &'v LambdaView<'a>,
) -> Result<(&'v FunctionView<'a>, &'a [FunctionUrl]), Verdict> {
    match view.function() {
        Some(view) if parameters.urls.may_be_unsigned(&view.function.name) => {
            Err(Verdict::not_applicable("urls.allowFunctions names the function"))
        }
        _ => judged(view),
    }
}

/// Which URL, behind what is said of it.
fn of_alias(url: &FunctionUrl) -> String {
    if url.qualifier.is_empty() { String::new() } else { format!(" (alias {})", url.qualifier) }
}

/// The function with those of its URLs that demand no signature.
fn unsigned<'v, 'a>(
    parameters: &Parameters,
    view: &'v LambdaView<'a>,
) -> Result<(&'v FunctionView<'a>, Vec<&'a FunctionUrl>), Verdict> {
    let (view, urls) = judged_unless_allowed(parameters, view)?;
    Ok((view, urls.iter().filter(|url| url.auth == UrlAuth::None).collect()))
}

/// The statements that let everybody use a URL without a signature, as far as the policies are known. Without any, AWS
/// refuses every caller: but one call of AddPermission is all that is missing.
fn anonymous<'v>(view: &'v FunctionView<'_>, qualifier: &str) -> Vec<(&'v Policy, &'v Statement)> {
    // Whether everybody is let in does not depend on who is trusted.
    let trust = Trust::of(&view.function.account);
    let opens = |statement: &&Statement| {
        let parts = Permission::of(statement.raw());
        let unsigned = parts.is_some_and(|it| it.principal == "*" && it.url_auth.as_deref() == Some("NONE"));
        unsigned && statement.class(&trust) == Class::Public
    };
    let policies = view.policies().unwrap_or_default().iter().filter(|(of, _)| *of == qualifier);
    let readable = policies.filter_map(|(_, policy)| policy.as_ref().ok());
    readable.flat_map(|policy| policy.statements().iter().filter(opens).map(move |found| (policy, found))).collect()
}

fn check_auth(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let (view, urls) = match unsigned(parameters, view) {
        Err(verdict) => return verdict,
        Ok((_, urls)) if urls.is_empty() => return Verdict::Pass,
        Ok(found) => found,
    };
    let describe = |url: &FunctionUrl| {
        let open = if anonymous(view, &url.qualifier).is_empty() { "" } else { ", and its policy lets everybody in" };
        format!("NONE{open}{}", of_alias(url))
    };
    Verdict::fail("AWS_IAM for every URL", named(urls.into_iter().map(describe)))
}

fn demand_signatures(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Ok((view, urls)) = unsigned(parameters, view) else { return Vec::new() };
    let demand = |url: &FunctionUrl| PropertyChange {
        property: Property::one(PropertyName::UrlAuth, &url.qualifier),
        before: Some(Json::of(&UrlAuth::None)),
        after: Some(Json::of(&UrlAuth::Iam)),
    };
    let remedy = |url: &FunctionUrl| {
        let of = policy_of(view, &url.qualifier);
        let open = anonymous(view, &url.qualifier).into_iter();
        let open = open.filter(|(policy, statement)| inexpressible(policy, statement, &of).is_none());
        let removals = open.map(|(_, statement)| PropertyChange {
            property: Property::statement(&url.qualifier, statement.sid().unwrap_or_default()),
            before: Some(permission::canonical(statement.raw())),
            after: None,
        });
        let mut changes: Vec<PropertyChange> = removals.collect();
        // In whatever order AWS lists them: an approval is of the edit as it was proposed.
        changes.sort();
        changes.insert(0, demand(url));
        Remedy { changes, held: None }
    };
    urls.into_iter().map(remedy).collect()
}

/// The URLs with origins that may not be let in, each with these.
fn too_open<'a>(parameters: &Parameters, urls: &'a [FunctionUrl]) -> Vec<(&'a FunctionUrl, &'a Cors, Vec<&'a String>)> {
    let allowed = |origin: &String| match &parameters.urls.origins {
        _ if origin.contains('*') => false,
        Some(origins) => origins.contains(origin),
        None => true,
    };
    let with_cors = urls.iter().filter_map(|url| Some((url, url.cors.as_ref()?)));
    let judged = with_cors.map(|(url, cors)| {
        let forbidden: Vec<&String> = cors.allow_origins.iter().filter(|origin| !allowed(origin)).collect();
        (url, cors, forbidden)
    });
    judged.filter(|(_, _, forbidden)| !forbidden.is_empty()).collect()
}

fn check_cors(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let urls = match judged(view) {
        Err(verdict) => return verdict,
        Ok((_, urls)) => urls,
    };
    let found = too_open(parameters, urls);
    if found.is_empty() {
        return Verdict::Pass;
    }
    let describe = |(url, cors, forbidden): &(&FunctionUrl, &Cors, Vec<&String>)| {
        let with_credentials = cors.allow_credentials == Some(true);
        let wildcard = forbidden.iter().any(|origin| origin.contains('*'));
        let credentials = if with_credentials && wildcard { " with credentials" } else { "" };
        format!("{}{credentials}{}", in_sorts(forbidden), of_alias(url))
    };
    let expected = match &parameters.urls.origins {
        Some(origins) => format!("CORS for {} alone", named(origins.iter())),
        None => "no CORS origin with *".to_owned(),
    };
    Verdict::fail(expected, named(found.iter().map(describe)))
}

/// Any origin.
const EVERY_ORIGIN: &str = "*";

/// How many origins of each sort. Which ones stands in the edit alone: what somebody wrote there is told nowhere else.
fn in_sorts(origins: &[&String]) -> String {
    let every = origins.iter().any(|origin| *origin == EVERY_ORIGIN);
    let patterns = origins.iter().filter(|origin| **origin != EVERY_ORIGIN && origin.contains('*')).count();
    let others = origins.iter().filter(|origin| !origin.contains('*')).count();
    let sorts = [
        every.then(|| "every origin".to_owned()),
        (patterns > 0).then(|| format!("{patterns} with a wildcard")),
        (others > 0).then(|| format!("{others} that the baseline does not name")),
    ];
    sorts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn restrict_cors(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let (Ok((_, urls)), Some(origins)) = (judged(view), &parameters.urls.origins) else { return Vec::new() };
    let remedy = |(url, before, forbidden): (&FunctionUrl, &Cors, Vec<&String>)| {
        let every = before.allow_origins.iter().any(|origin| origin == EVERY_ORIGIN);
        // What both sides let in: nothing that was closed opens, and nothing closes that the baseline allows.
        let both = origins.iter().filter(|origin| every || before.allow_origins.contains(origin));
        let allow_origins: Vec<String> = both.cloned().collect();
        let undocumented = forbidden.iter().find(|origin| !every && origin.contains('*'));
        let undecided = undocumented
            .filter(|_| allow_origins.len() < origins.len())
            .map(|_| Withheld::NotExpressible("AWS does not say which origins one with * in it lets in".to_owned()));
        let after = Cors { allow_origins, ..before.clone() };
        let change = PropertyChange {
            property: Property::one(PropertyName::UrlCors, &url.qualifier),
            before: Some(Json::of(before)),
            after: Some(Json::of(&after)),
        };
        Remedy { held: undecided, ..Remedy::set(change) }
    };
    too_open(parameters, urls).into_iter().map(remedy).collect()
}

fn check_absent(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    match judged_unless_allowed(parameters, view) {
        Err(verdict) => verdict,
        Ok((_, [])) => Verdict::Pass,
        Ok((_, urls)) => {
            Verdict::fail("no function URL", named(urls.iter().map(|url| format!("a URL{}", of_alias(url)))))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixtures::{configured, failure, gathered, remedies, setting, spec, verdict};
    use super::*;
    use crate::facts::{Inventory, QualifiedPolicy, ReadFailure};

    const AUTH: &str = "lambda-url-auth-iam";
    const CORS: &str = "lambda-url-cors-restricted";
    const ABSENT: &str = "lambda-url-absent";

    fn url(qualifier: &str, auth: UrlAuth, cors: Option<Cors>) -> FunctionUrl {
        FunctionUrl { qualifier: qualifier.to_owned(), auth, cors }
    }

    fn with_urls(urls: Result<Vec<FunctionUrl>, ReadFailure>) -> Inventory {
        let mut inventory = configured(Default::default());
        inventory.lambda.urls = gathered(urls);
        inventory
    }

    fn policy(qualifier: &str, statements: &[Value]) -> QualifiedPolicy {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string().into_boxed_str();
        QualifiedPolicy { qualifier: qualifier.to_owned(), document }
    }

    fn open_to_all(sid: &str, condition: Value) -> Value {
        json!({
            "Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl",
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:checkout", "Condition": condition,
        })
    }

    fn none() -> Value {
        json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}})
    }

    fn origins(of: &[&str]) -> Option<Cors> {
        let allow_origins = of.iter().map(|origin| (*origin).to_owned()).collect();
        Some(Cors { allow_origins, allow_methods: vec!["GET".to_owned()], max_age: Some(60), ..Cors::default() })
    }

    #[test]
    fn what_the_spec_leaves_out_is_recommended_or_off() {
        for (id, written, expected) in [
            (AUTH, json!({}), Setting::Recommended),
            (AUTH, json!({"urls": {"auth": "AWS_IAM"}}), Setting::Named),
            (AUTH, json!({"urls": {"auth": "Any"}}), Setting::Off),
            (CORS, json!({"urls": {"forbidUrls": true}}), Setting::Recommended),
            (CORS, json!({"urls": {"corsOrigins": ["https://a.example"]}}), Setting::Named),
            (ABSENT, json!({}), Setting::Off),
            (ABSENT, json!({"urls": {"forbidUrls": false}}), Setting::Off),
            (ABSENT, json!({"urls": {"forbidUrls": true}}), Setting::Named),
        ] {
            assert_eq!(setting(&spec(written.clone()), id), expected, "{id} {written}");
        }
    }

    #[test]
    fn texts_that_cannot_be_used_name_their_field() {
        let problem = |urls: Value| Compiled::new(Some(&serde_json::from_value(urls).unwrap())).unwrap_err().field;
        assert_eq!(problem(json!({"corsOrigins": ["https://*"]})), "urls.corsOrigins");
        assert_eq!(problem(json!({"allowFunctions": ["[a"]})), "urls.allowFunctions");
    }

    #[test]
    fn without_a_url_everything_passes_and_unread_ones_are_unknown() {
        for id in [AUTH, CORS, ABSENT] {
            assert_eq!(verdict(&spec(json!({})), id, &with_urls(Ok(Vec::new()))), Verdict::Pass, "{id}");
            let unread = verdict(&spec(json!({})), id, &with_urls(Err(ReadFailure::AccessDenied)));
            assert_eq!(unread, Verdict::unknown("its URLs could not be read (AccessDenied)"), "{id}");
        }
        assert!(remedies(&spec(json!({})), AUTH, &with_urls(Err(ReadFailure::Throttled))).is_empty());
        assert!(remedies(&spec(json!({})), AUTH, &with_urls(Ok(vec![url("", UrlAuth::Iam, None)]))).is_empty());
    }

    #[test]
    fn every_url_without_authentication_is_named() {
        let urls =
            vec![url("", UrlAuth::None, None), url("live", UrlAuth::None, None), url("test", UrlAuth::Iam, None)];
        let mut inventory = with_urls(Ok(urls));
        let (expected, actual) = failure(verdict(&spec(json!({})), AUTH, &inventory));
        assert_eq!((expected.as_str(), actual.as_str()), ("AWS_IAM for every URL", "NONE; NONE (alias live)"));
        inventory.lambda.policies = gathered(Ok(vec![policy("live", &[open_to_all("all", none())])]));
        let (_, actual) = failure(verdict(&spec(json!({})), AUTH, &inventory));
        assert_eq!(actual, "NONE; NONE, and its policy lets everybody in (alias live)");
    }

    #[test]
    fn an_allowed_function_may_have_any_url_but_not_any_cors() {
        let inventory = with_urls(Ok(vec![url("", UrlAuth::None, origins(&["*"]))]));
        let written = || json!({"urls": {"allowFunctions": ["check*t"], "forbidUrls": true}});
        for id in [AUTH, ABSENT] {
            assert!(matches!(verdict(&spec(written()), id, &inventory), Verdict::NotApplicable { .. }), "{id}");
        }
        assert!(remedies(&spec(written()), AUTH, &inventory).is_empty());
        assert!(matches!(verdict(&spec(written()), CORS, &inventory), Verdict::Fail { .. }));
        let (_, actual) = failure(verdict(&spec(json!({"urls": {"allowFunctions": ["x"]}})), ABSENT, &inventory));
        assert_eq!(actual, "a URL");
    }

    fn signature_for(qualifier: &str) -> PropertyChange {
        let property = Property::one(PropertyName::UrlAuth, qualifier);
        PropertyChange { property, before: Some(Json::of(&"NONE")), after: Some(Json::of(&"AWS_IAM")) }
    }

    #[test]
    fn a_url_is_signed_first_and_then_loses_the_statements_that_opened_it() {
        let urls = vec![url("", UrlAuth::None, None), url("live", UrlAuth::None, None)];
        let mut inventory = with_urls(Ok(urls));
        let alone = remedies(&spec(json!({})), AUTH, &inventory);
        assert_eq!(alone, ["", "live"].map(|qualifier| Remedy::set(signature_for(qualifier))));

        let kept = [
            open_to_all("signed", json!({"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}})),
            open_to_all(
                "odd",
                json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}, "Bool": {"aws:SecureTransport": "true"}}),
            ),
            open_to_all(
                "ours",
                json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE", "aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
            ),
            open_to_all("twice", none()),
            open_to_all("twice", none()),
        ];
        let mut statements = kept.to_vec();
        statements.push(open_to_all("all", none()));
        inventory.lambda.policies =
            gathered(Ok(vec![policy("", &statements), policy("other", &[open_to_all("all", none())])]));
        let both = remedies(&spec(json!({})), AUTH, &inventory);
        let changed: Vec<String> = both[0].changes.iter().map(|change| change.property.to_string()).collect();
        assert_eq!(changed, ["UrlAuth", "Statement /all"]);
        assert_eq!(both[0].changes[1].before, Some(permission::canonical(&open_to_all("all", none()))));
        assert_eq!(both[0].changes[1].after, None);
        assert_eq!(both[1], alone[1]);
        assert_eq!(both[0].held, None);
    }

    #[test]
    fn an_origin_with_a_wildcard_fails_whatever_the_rest() {
        let of = |cors| with_urls(Ok(vec![url("live", UrlAuth::Iam, cors)]));
        let judged = |cors| verdict(&spec(json!({})), CORS, &of(cors));
        assert_eq!(judged(None), Verdict::Pass);
        assert_eq!(judged(origins(&[])), Verdict::Pass);
        assert_eq!(judged(origins(&["https://a.example"])), Verdict::Pass);
        for (origin, told) in
            [("*", "every origin"), ("https://*", "1 with a wildcard"), ("https://*.example.com", "1 with a wildcard")]
        {
            let (expected, actual) = failure(judged(origins(&["https://a.example", origin])));
            assert_eq!((expected, actual), ("no CORS origin with *".to_owned(), format!("{told} (alias live)")));
            assert!(remedies(&spec(json!({})), CORS, &of(origins(&[origin]))).is_empty());
        }
        let credentials = Cors { allow_credentials: Some(true), ..origins(&["*"]).unwrap() };
        assert_eq!(failure(judged(Some(credentials))).1, "every origin with credentials (alias live)");
    }

    #[test]
    fn only_named_origins_pass_once_some_are_named() {
        let written = || json!({"urls": {"corsOrigins": ["https://a.example", "https://b.example"]}});
        let of = |present: &[&str]| with_urls(Ok(vec![url("", UrlAuth::Iam, origins(present))]));
        assert_eq!(verdict(&spec(written()), CORS, &of(&["https://b.example"])), Verdict::Pass);
        assert!(remedies(&spec(written()), CORS, &of(&["https://b.example"])).is_empty());
        let actual = |present: &[&str]| {
            let (expected, actual) = failure(verdict(&spec(written()), CORS, &of(present)));
            assert_eq!(expected, "CORS for https://a.example; https://b.example alone");
            actual
        };
        assert_eq!(actual(&["https://b.example", "https://c.example"]), "1 that the baseline does not name");
        assert_eq!(
            actual(&["*", "https://c.example", "https://*.d.example"]),
            "every origin, 1 with a wildcard, 1 that the baseline does not name"
        );
    }

    #[test]
    fn a_narrower_list_of_origins_never_lets_in_another_one() {
        let written = || json!({"urls": {"corsOrigins": ["https://a.example", "https://b.example"]}});
        let after = |present: &[&str]| {
            let before = origins(present).unwrap();
            let inventory = with_urls(Ok(vec![url("live", UrlAuth::Iam, Some(before.clone()))]));
            let remedies = remedies(&spec(written()), CORS, &inventory);
            let [Remedy { changes, held }] = remedies.as_slice() else { panic!("{remedies:?}") };
            assert_eq!(changes[0].property, Property::one(PropertyName::UrlCors, "live"));
            assert_eq!(changes[0].before, Some(Json::of(&before)));
            let after: Cors = changes[0].after.as_ref().and_then(Json::read).unwrap();
            assert_eq!(
                Cors { allow_origins: Vec::new(), ..after.clone() },
                Cors { allow_origins: Vec::new(), ..before }
            );
            (after.allow_origins, held.as_ref().map(Withheld::reason))
        };
        let (a, b) = ("https://a.example", "https://b.example");
        let texts = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(after(&["*", a]), (texts(&[a, b]), None));
        assert_eq!(after(&["https://c.example", b]), (texts(&[b]), None));
        assert_eq!(after(&["https://c.example"]), (texts(&[]), None));
        assert_eq!(after(&["https://*", a, b]), (texts(&[a, b]), None));
        assert_eq!(after(&["https://*", a]), (texts(&[a]), Some("NotExpressible")));
    }
}
