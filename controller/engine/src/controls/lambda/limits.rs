//! `spec.limits`: concurrency, recursion, and the size of functions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::{regional, unread};
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{ACCOUNT_SETTINGS, About, CONCURRENCY, FUNCTIONS, InvalidParameter, RECURSION, Setting, named};
use crate::edit::{Edit, Withheld};
use crate::evaluate::MAX_AGE;
use crate::facts::{Function, Inventory, ReadFailure, Recursion};
use crate::finding::{Severity, Verdict};
use crate::plan::ProposedEdit;
use crate::property::{Json, Property, PropertyChange, PropertyName};
use crate::select::Globs;
use crate::sequence::properties::changes;

/// Concurrency, recursion, and the size of functions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How many runs of a function there may be at once. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyLimits>,
    /// What becomes of functions that call themselves in a loop: Terminate (Lambda stops them; Enforce sets this) or Allow
    /// (not judged). Recommended: Terminate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursion: Option<Recursion>,
    /// Globs on the names of functions that loop on purpose: recursion is not judged there. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 140)))]
    pub recursion_exempt_functions: Option<Vec<String>>,
    /// Longest timeout of a function, in seconds. Reported only. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 900))]
    pub max_timeout: Option<i32>,
    /// Most memory of a function, in MiB. Reported only. Off while left out.
    #[serde(default, rename = "maxMemoryMiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 128, max = 32768))]
    pub max_memory_mib: Option<i32>,
    /// Most ephemeral storage of a function, in MiB. Reported only. Off while left out.
    #[serde(default, rename = "maxEphemeralMiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 512, max = 10240))]
    pub max_ephemeral_mib: Option<i32>,
}

/// How many runs of a function there may be at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minUnreserved) || self.minUnreserved >= 100",
    "message": "minUnreserved is 100 or more: Lambda itself keeps 100 unreserved"
}]))]
pub struct ConcurrencyLimits {
    /// Most concurrent runs of every function that perFunction does not name. Enforce reserves so many for functions that
    /// reserve more or nothing: what is reserved is kept from all others. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub default: Option<i32>,
    /// Most concurrent runs of some functions. The first entry whose name matches counts. Left out: default holds for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub per_function: Option<Vec<FunctionConcurrency>>,
    /// Fewest concurrent runs in the account and region that no function has reserved, 100 or more. Reported only, and only
    /// by baselines that select account-settings or everything. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 1_000_000))]
    pub min_unreserved: Option<i32>,
}

/// How many runs of some functions there may be at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.reserved > 0 || !self.name.matches('[*?{\\\\[]')",
    "message": "reserved: 0 stops the function: name one, without a wildcard"
}]))]
pub struct FunctionConcurrency {
    /// Glob on the name of the functions, such as payments-*.
    #[schemars(length(min = 1, max = 140))]
    pub name: String,
    /// Most concurrent runs of each of these functions. Enforce reserves so many; 0, for a function named in full, stops it.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub reserved: i32,
}

impl Limits {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self { recursion: Some(Recursion::Terminate), recursion_exempt_functions: Some(Vec::new()), ..Self::default() }
    }

    fn sizes(&self) -> Sizes {
        Sizes { timeout: self.max_timeout, memory: self.max_memory_mib, storage: self.max_ephemeral_mib }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    ceilings: Ceilings,
    unreserved: i32,
    looping: Globs,
    sizes: Sizes,
}

/// How many runs there may be at once.
#[derive(Clone, Debug, PartialEq)]
struct Ceilings {
    of: Vec<(Globs, i32)>,
    default: Option<i32>,
}

impl Ceilings {
    fn of(&self, function: &str) -> Option<i32> {
        let first = self.of.iter().find(|(name, _)| name.is_match(function));
        first.map(|(_, reserved)| *reserved).or(self.default)
    }
}

/// How large a function may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    timeout: Option<i32>,
    memory: Option<i32>,
    storage: Option<i32>,
}

impl Compiled {
    pub(super) fn new(limits: Option<&Limits>) -> Result<Self, InvalidParameter> {
        let limits = limits.cloned().unwrap_or_default();
        let sizes = limits.sizes();
        let ConcurrencyLimits { default, per_function, min_unreserved } = limits.concurrency.unwrap_or_default();
        let ceiling = |FunctionConcurrency { name, reserved }| {
            Ok((Globs::new("limits.concurrency.perFunction", &[name])?, reserved))
        };
        let of = per_function.unwrap_or_default().into_iter().map(ceiling).collect::<Result<_, _>>()?;
        let looping = limits.recursion_exempt_functions.unwrap_or_default();
        Ok(Self {
            ceilings: Ceilings { of, default },
            unreserved: min_unreserved.unwrap_or_default(),
            looping: Globs::new("limits.recursionExemptFunctions", &looping)?,
            sizes,
        })
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-reserved-concurrency",
            title: "Functions have a concurrency ceiling",
            severity: Severity::Low,
            field: "limits.concurrency.default, limits.concurrency.perFunction",
            default: "Off",
            remedy: "reserves as many as the ceiling says (PutFunctionConcurrency), if the account has enough for all functions; a function that was stopped stays so",
            since: "0.2.0",
            sources: &[FUNCTIONS, CONCURRENCY, ACCOUNT_SETTINGS],
        },
        setting: |spec| {
            let concurrency = spec.limits.as_ref().and_then(|limits| limits.concurrency.as_ref());
            let some = |it: &&ConcurrencyLimits| {
                it.default.is_some() || it.per_function.as_ref().is_some_and(|functions| !functions.is_empty())
            };
            Setting::optional(concurrency.filter(some))
        },
        alike: |one, other| one.limits.ceilings == other.limits.ceilings,
        check: check_ceiling,
        remedy: Some(reserve),
    },
    Control {
        about: About {
            id: "lambda-concurrency-headroom",
            title: "Unreserved concurrency keeps a safety margin",
            severity: Severity::Medium,
            field: "limits.concurrency.minUnreserved",
            default: "Off",
            remedy: "report only: it takes a higher quota or lower reservations",
            since: "0.2.0",
            sources: &[ACCOUNT_SETTINGS],
        },
        setting: |spec| {
            let concurrency = spec.limits.as_ref().and_then(|limits| limits.concurrency.as_ref());
            Setting::optional(concurrency.and_then(|it| it.min_unreserved.as_ref()))
        },
        alike: |one, other| one.limits.unreserved == other.limits.unreserved,
        check: check_headroom,
        remedy: None,
    },
    Control {
        about: About {
            id: "lambda-recursion-terminate",
            title: "Recursive invocation loops are stopped",
            severity: Severity::Low,
            field: "limits.recursion",
            default: "Terminate",
            remedy: "has Lambda stop them (PutFunctionRecursionConfig)",
            since: "0.2.0",
            sources: &[FUNCTIONS, RECURSION],
        },
        setting: |spec| match spec.limits.as_ref().and_then(|limits| limits.recursion) {
            None => Setting::Recommended,
            Some(Recursion::Terminate) => Setting::Named,
            Some(Recursion::Allow) => Setting::Off,
        },
        alike: |one, other| one.limits.looping == other.limits.looping,
        check: check_recursion,
        remedy: Some(stop_loops),
    },
    Control {
        about: About {
            id: "lambda-resource-bounds",
            title: "Timeout, memory and storage stay inside declared bounds",
            severity: Severity::Low,
            field: "limits.maxTimeout, limits.maxMemoryMiB, limits.maxEphemeralMiB",
            default: "Off",
            remedy: "report only: a function may fail with less",
            since: "0.2.0",
            sources: &[FUNCTIONS],
        },
        setting: |spec| Setting::optional(spec.limits.as_ref().filter(|limits| limits.sizes() != Sizes::default())),
        alike: |one, other| one.limits.sizes == other.limits.sizes,
        check: check_sizes,
        remedy: None,
    },
];

/// The function and its ceiling, unless the control has nothing to say about it.
fn limited<'v, 'a>(parameters: &Parameters, view: &'v LambdaView<'a>) -> Result<(&'v FunctionView<'a>, i32), Verdict> {
    let view = regional(view)?;
    let ceiling = parameters.limits.ceilings.of(&view.function.name);
    let ceiling = ceiling.ok_or_else(|| Verdict::not_applicable("limits.concurrency names no ceiling for it"))?;
    Ok((view, ceiling))
}

fn check_ceiling(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let (view, ceiling) = match limited(parameters, view) {
        Err(verdict) => return verdict,
        Ok(limited) => limited,
    };
    let expected = format!("{ceiling} concurrent runs reserved, or fewer");
    match view.lambda().concurrency.of(&view.function.name, view.now()) {
        Err(failure) => unread("the reserved concurrency", failure),
        Ok(None) => Verdict::fail(expected, "none reserved"),
        Ok(Some(0)) if ceiling > 0 => Verdict::fail(expected, "0 reserved: the function is stopped"),
        Ok(Some(reserved)) if *reserved <= ceiling => Verdict::Pass,
        Ok(Some(reserved)) => Verdict::fail(expected, format!("{reserved} reserved")),
    }
}

fn reserve(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Ok((view, ceiling)) = limited(parameters, view) else { return Vec::new() };
    let Ok(reserved) = view.lambda().concurrency.of(&view.function.name, view.now()) else { return Vec::new() };
    // Whoever stopped the function starts it again.
    if reserved.is_some_and(|reserved| reserved <= ceiling) {
        return Vec::new();
    }
    vec![Remedy::set(PropertyChange {
        property: Property::only(PropertyName::Concurrency),
        before: reserved.as_ref().map(Json::of),
        after: Some(Json::of(&ceiling)),
    })]
}

/// Lambda takes no reservation that leaves fewer unreserved (Lambda developer guide, reserved concurrency).
const ALWAYS_UNRESERVED: i64 = 100;

/// Plans the reservations of all functions together: if they do not fit, none of them is made. Lowering one, also to 0,
/// always fits. What lowering gives back does not count: which comes first is not known.
pub(super) fn within_the_pool(mut edits: Vec<ProposedEdit>, inventory: &Inventory) -> Vec<ProposedEdit> {
    let takes = |proposed: &ProposedEdit| match proposed.hold {
        None | Some(Withheld::Approval) => growth(&proposed.edit),
        Some(_) => 0,
    };
    let needed = edits.iter().map(takes).sum();
    let Some(shortage) = still_unread(needed, inventory).or_else(|| shortage(needed, inventory)) else { return edits };
    for proposed in edits.iter_mut().filter(|proposed| takes(proposed) > 0) {
        proposed.hold = Some(shortage.clone());
    }
    edits
}

/// How much more an edit reserves than was reserved before.
fn growth(edit: &Edit) -> i64 {
    let reserved = |json: &Option<Json>| json.as_ref().and_then(Json::read::<i64>).unwrap_or_default();
    let concurrency = changes(edit).iter().filter(|change| change.property.name == PropertyName::Concurrency);
    concurrency.map(|change| (reserved(&change.after) - reserved(&change.before)).max(0)).sum()
}

/// What the functions need whose turn to be read is still to come is not known: they must not find the pool used up.
fn still_unread(needed: i64, Inventory { lambda, .. }: &Inventory) -> Option<Withheld> {
    let (functions, now) = (lambda.functions.facts().ok()?, lambda.functions.read_at());
    let is_unread =
        |function: &Function| lambda.concurrency.of(&function.name, now).err() == Some(ReadFailure::NotReadYet);
    (needed > 0 && functions.iter().any(is_unread)).then_some(Withheld::IncompleteKnowledge)
}

/// Why so much more cannot be reserved.
fn shortage(needed: i64, inventory: &Inventory) -> Option<Withheld> {
    let lambda = &inventory.lambda;
    // No older than the functions may be: their read is the one that the plan rests on.
    let settings = lambda.account.fresh(lambda.functions.read_at(), MAX_AGE).and_then(|settings| settings.first());
    match settings.map(|settings| i64::from(settings.unreserved)) {
        _ if needed == 0 => None,
        None => Some(Withheld::IncompleteKnowledge),
        Some(unreserved) if unreserved - needed >= ALWAYS_UNRESERVED => None,
        Some(unreserved) => Some(Withheld::ConcurrencyQuota(format!(
            "{needed} more concurrent runs needed, {} left to reserve",
            (unreserved - ALWAYS_UNRESERVED).max(0)
        ))),
    }
}

fn check_headroom(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let LambdaView::Account(settings) = view else { return Verdict::not_applicable("not the settings of an account") };
    let (least, unreserved) = (parameters.limits.unreserved, settings.unreserved);
    if unreserved >= least {
        return Verdict::Pass;
    }
    let actual = format!("{unreserved} of {}", settings.concurrency);
    Verdict::fail(format!("{least} concurrent runs unreserved, or more"), actual)
}

fn check_recursion(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let Some(view) = view.function() else { return Verdict::not_applicable("not a function") };
    if parameters.limits.looping.is_match(&view.function.name) {
        return Verdict::not_applicable("limits.recursionExemptFunctions lets it loop");
    }
    match view.lambda().recursion.of(&view.function.name, view.now()) {
        Err(failure) => unread("what becomes of recursive loops", failure),
        Ok(Recursion::Terminate) => Verdict::Pass,
        Ok(Recursion::Allow) => Verdict::fail("recursive loops are stopped", "Allow"),
    }
}

fn stop_loops(_: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    if view.function().is_none() {
        return Vec::new();
    }
    vec![Remedy::set(PropertyChange {
        property: Property::only(PropertyName::Recursion),
        before: Some(Json::of(&Recursion::Allow)),
        after: Some(Json::of(&Recursion::Terminate)),
    })]
}

fn check_sizes(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let Some(view) = view.function() else { return Verdict::not_applicable("not a function") };
    let (configuration, Sizes { timeout, memory, storage }) = (view.configuration(), parameters.limits.sizes);
    let sizes = [
        ("timeout", "s", timeout, configuration.timeout),
        ("memory", "MiB", memory, configuration.memory),
        ("ephemeral storage", "MiB", storage, configuration.storage),
    ];
    let beyond = || sizes.iter().filter_map(|(what, unit, most, is)| Some((what, unit, (*most)?, is)));
    let beyond = || beyond().filter(|(.., most, is)| *is > most);
    if beyond().next().is_none() {
        return Verdict::Pass;
    }
    Verdict::fail(
        named(beyond().map(|(what, unit, most, _)| format!("{what} of {most} {unit} or less"))),
        named(beyond().map(|(what, unit, _, is)| format!("{what} of {is} {unit}"))),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::LambdaParameters;
    use super::super::fixtures::{
        ACCOUNT, NAME, at_the_edge, change, complete, control, function, gathered, inventory, now, remedies, setting,
        spec, verdict, with, word,
    };
    use super::*;
    use crate::edit::{Change, Impact};
    use crate::facts::{AccountSettings, ReadFailure, Source};

    const CEILING: &str = "lambda-reserved-concurrency";
    const HEADROOM: &str = "lambda-concurrency-headroom";
    const LOOPS: &str = "lambda-recursion-terminate";
    const SIZES: &str = "lambda-resource-bounds";

    #[test]
    fn defaults() {
        let settings = |limits: Value| {
            [CEILING, HEADROOM, LOOPS, SIZES].map(|id| setting(&spec(json!({"limits": limits.clone()})), id))
        };
        use Setting::{Named, Off, Recommended};
        assert_eq!(settings(Value::Null), [Off, Off, Recommended, Off]);
        assert_eq!(settings(json!({"concurrency": {"perFunction": []}})), [Off, Off, Recommended, Off]);
        assert_eq!(settings(json!({"concurrency": {"default": 5}})), [Named, Off, Recommended, Off]);
        let named = json!({"concurrency": {"perFunction": [{"name": "a", "reserved": 5}], "minUnreserved": 100}});
        assert_eq!(settings(named), [Named, Named, Recommended, Off]);
        assert_eq!(settings(json!({"recursion": "Terminate", "maxTimeout": 60})), [Off, Off, Named, Named]);
        assert_eq!(settings(json!({"recursion": "Allow", "maxMemoryMiB": 512})), [Off, Off, Off, Named]);
        assert_eq!(settings(json!({"maxEphemeralMiB": 512})), [Off, Off, Recommended, Named]);
        assert_eq!(Compiled::new(Some(&Limits::recommended())), Compiled::new(None));
    }

    fn ceilings(default: Option<i32>, of: &[(&str, i32)]) -> LambdaParameters {
        let of: Vec<Value> = of.iter().map(|(name, reserved)| json!({"name": name, "reserved": reserved})).collect();
        spec(json!({"limits": {"concurrency": {"default": default, "perFunction": of}}}))
    }

    fn reserving(reserved: Option<i32>) -> Inventory {
        let mut inventory = with(|_| {});
        inventory.lambda.concurrency = gathered(Ok(reserved));
        inventory
    }

    #[test]
    fn the_first_name_that_matches_says_the_ceiling() {
        let of = [("check*", 20), (NAME, 5)];
        assert_eq!(word(&ceilings(None, &of), CEILING, &reserving(Some(20))), "Pass");
        assert_eq!(
            verdict(&ceilings(Some(10), &of), CEILING, &reserving(Some(21))),
            Verdict::fail("20 concurrent runs reserved, or fewer", "21 reserved")
        );
        assert_eq!(word(&ceilings(Some(10), &[("other", 50)]), CEILING, &reserving(Some(10))), "Pass");
        assert_eq!(word(&ceilings(Some(10), &[("other", 50)]), CEILING, &reserving(Some(11))), "Fail");
        assert_eq!(word(&ceilings(None, &[("other", 50)]), CEILING, &reserving(None)), "NotApplicable");
        let mut edge = at_the_edge();
        edge.lambda.concurrency = gathered(Ok(None));
        assert_eq!(word(&ceilings(Some(10), &[]), CEILING, &edge), "NotApplicable");
        assert_eq!(remedies(&ceilings(Some(10), &[]), CEILING, &edge), []);
        let problem = Compiled::new(ceilings(None, &[("[a", 1)]).limits.as_ref()).unwrap_err();
        assert_eq!(problem.field, "limits.concurrency.perFunction");
    }

    #[test]
    fn what_was_not_read_is_unknown_and_changes_nothing() {
        let limits = ceilings(Some(10), &[]);
        assert_eq!(word(&limits, CEILING, &with(|_| {})), "Unknown");
        assert_eq!(remedies(&limits, CEILING, &with(|_| {})), []);
        assert_eq!(word(&LambdaParameters::default(), LOOPS, &with(|_| {})), "Unknown");
    }

    #[test]
    fn a_ceiling_is_reserved() {
        let limits = ceilings(Some(10), &[]);
        let number = |number: i32| Some(Json::of(&number));
        assert_eq!(verdict(&limits, CEILING, &reserving(None)).word(), "Fail");
        assert_eq!(change(&limits, CEILING, &reserving(None)), (PropertyName::Concurrency, None, number(10)));
        assert_eq!(change(&limits, CEILING, &reserving(Some(30))), (PropertyName::Concurrency, number(30), number(10)));
    }

    #[test]
    fn a_stopped_function_is_reported_and_never_started() {
        let limits = ceilings(Some(10), &[]);
        assert_eq!(
            verdict(&limits, CEILING, &reserving(Some(0))),
            Verdict::fail("10 concurrent runs reserved, or fewer", "0 reserved: the function is stopped")
        );
        assert_eq!(remedies(&limits, CEILING, &reserving(Some(0))), []);
        let stops = ceilings(Some(10), &[(NAME, 0)]);
        assert_eq!(verdict(&stops, CEILING, &reserving(Some(0))), Verdict::Pass);
        let (_, _, after) = change(&stops, CEILING, &reserving(Some(10)));
        assert_eq!(after, Some(Json::of(&0)));
    }

    fn account(unreserved: i32) -> AccountSettings {
        let tags = Default::default();
        AccountSettings { account: ACCOUNT.to_owned(), concurrency: 1000, unreserved, tags }
    }

    fn having(unreserved: i32) -> Inventory {
        let mut inventory = reserving(None);
        inventory.lambda.account = complete(vec![account(unreserved)]);
        inventory
    }

    fn proposed(function: &str, name: PropertyName, [before, after]: [Option<i32>; 2]) -> ProposedEdit {
        let json = |number: Option<i32>| number.map(|number| Json::of(&number));
        let change = PropertyChange { property: Property::only(name), before: json(before), after: json(after) };
        let edit = Edit::new(function, Change::Properties(vec![change]), Vec::new(), Impact::Callers);
        ProposedEdit { edit, hold: None }
    }

    fn reservation(function: &str, before: Option<i32>, after: i32) -> ProposedEdit {
        proposed(function, PropertyName::Concurrency, [before, Some(after)])
    }

    fn holds(edits: Vec<ProposedEdit>, inventory: &Inventory) -> Vec<Option<Withheld>> {
        within_the_pool(edits, inventory).into_iter().map(|proposed| proposed.hold).collect()
    }

    #[test]
    fn reservations_fit_together_or_none_is_made() {
        let approval = Some(Withheld::Approval);
        let edits = || {
            let waits = ProposedEdit { hold: approval.clone(), ..reservation("b", Some(10), 60) };
            vec![
                reservation("a", None, 50),
                waits,
                reservation("c", Some(90), 10),
                reservation("d", None, 0),
                proposed("e", PropertyName::Tracing, [None, Some(500)]),
                ProposedEdit { hold: Some(Withheld::Audit), ..reservation("f", None, 500) },
            ]
        };
        let audit = Some(Withheld::Audit);
        assert_eq!(holds(edits(), &having(200)), [None, approval.clone(), None, None, None, audit.clone()]);
        let quota = Withheld::ConcurrencyQuota("100 more concurrent runs needed, 99 left to reserve".to_owned());
        let quota = Some(quota);
        assert_eq!(holds(edits(), &having(199)), [quota.clone(), quota, None, None, None, audit]);
        let empty = Withheld::ConcurrencyQuota("1 more concurrent runs needed, 0 left to reserve".to_owned());
        assert_eq!(holds(vec![reservation("a", None, 1)], &having(20)), [Some(empty)]);
    }

    #[test]
    fn nothing_is_reserved_while_the_needs_of_some_function_are_still_to_be_read() {
        let mut inventory = having(1000);
        inventory.lambda.concurrency = Default::default();
        let edits = vec![reservation("a", None, 50), reservation("c", Some(9), 8)];
        assert_eq!(holds(edits, &inventory), [Some(Withheld::IncompleteKnowledge), None]);
    }

    #[test]
    fn nothing_is_reserved_from_an_unknown_pool() {
        let edits = || vec![reservation("a", None, 50), reservation("b", None, 0), reservation("c", Some(9), 8)];
        let held = [Some(Withheld::IncompleteKnowledge), None, None];
        assert_eq!(holds(edits(), &with(|_| {})), held);
        let mut inventory = having(1000);
        assert_eq!(holds(edits(), &inventory), [None, None, None]);
        inventory.lambda.account = Source::complete(vec![account(1000)], now() - MAX_AGE - MAX_AGE);
        assert_eq!(holds(edits(), &inventory), held);
        inventory.lambda.account = Source::failed(ReadFailure::AccessDenied, now());
        assert_eq!(holds(edits(), &inventory), held);
    }

    #[test]
    fn headroom_is_that_of_the_account() {
        let spec = spec(json!({"limits": {"concurrency": {"minUnreserved": 200}}}));
        assert_eq!(verdict(&spec, HEADROOM, &having(200)), Verdict::Pass);
        assert_eq!(
            verdict(&spec, HEADROOM, &having(199)),
            Verdict::fail("200 concurrent runs unreserved, or more", "199 of 1000")
        );
        assert!(control(HEADROOM).remedy.is_none());
    }

    #[test]
    fn loops_are_stopped() {
        let looping = |recursion| {
            let mut inventory = with(|_| {});
            inventory.lambda.recursion = gathered(Ok(recursion));
            inventory
        };
        let default = LambdaParameters::default();
        assert_eq!(verdict(&default, LOOPS, &looping(Recursion::Terminate)), Verdict::Pass);
        let allowed = looping(Recursion::Allow);
        assert_eq!(verdict(&default, LOOPS, &allowed), Verdict::fail("recursive loops are stopped", "Allow"));
        let json = |text| Json::parse(text);
        let expected = (PropertyName::Recursion, json(r#""Allow""#), json(r#""Terminate""#));
        assert_eq!(change(&default, LOOPS, &allowed), expected);
        let exempt = spec(json!({"limits": {"recursionExemptFunctions": ["check*"]}}));
        assert_eq!(word(&exempt, LOOPS, &allowed), "NotApplicable");
    }

    #[test]
    fn sizes_stay_inside_the_bounds_that_are_named() {
        let large = inventory(vec![{
            let mut large = function(NAME);
            (large.configuration.timeout, large.configuration.memory) = (900, 3008);
            large
        }]);
        let verdict = |limits: Value| verdict(&spec(json!({"limits": limits})), SIZES, &large);
        assert_eq!(verdict(json!({"maxTimeout": 900, "maxEphemeralMiB": 512})), Verdict::Pass);
        assert_eq!(
            verdict(json!({"maxTimeout": 60, "maxMemoryMiB": 1024, "maxEphemeralMiB": 512})),
            Verdict::fail(
                "timeout of 60 s or less; memory of 1024 MiB or less",
                "timeout of 900 s; memory of 3008 MiB"
            )
        );
        assert!(control(SIZES).remedy.is_none());
    }
}
