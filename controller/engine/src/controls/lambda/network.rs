//! `spec.network`: VPC, subnets and security groups.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::regional;
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{About, FUNCTIONS, NETWORK_INTERFACES, SECURITY_GROUPS, SUBNETS, Setting, named};
use crate::facts::{DefaultRoute, Direction, InterfaceUse, SecurityGroup, Vpc};
use crate::finding::{Severity, Verdict};
use crate::property::{Json, Property, PropertyChange, PropertyName};

/// VPC, subnets and security groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minAzs) || !has(self.subnetIds) || self.subnetIds.size() == 0 || self.subnetIds.size() >= self.minAzs",
    "message": "subnetIds names at least minAzs subnets: each of them is in one zone"
}]))]
pub struct Network {
    /// Whether functions must be in a VPC: Vpc, or Any if that is up to them. With subnetIds and securityGroupIds Enforce
    /// puts those into it that are in none: they lose their own way to the internet, and their execution roles need
    /// permissions for network interfaces. Recommended: Any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Required>,
    /// Subnets of one VPC, such as subnet-0a1b2c3d, that Enforce gives to functions. Accounts and regions that do not have
    /// all of them are left alone. Left out: report only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 32), regex(pattern = "^subnet-[0-9a-f]+$")))]
    pub subnet_ids: Option<Vec<String>>,
    /// Security groups of the same VPC, such as sg-0a1b2c3d, that Enforce gives to functions: also to those that are in the VPC
    /// with a default group, or with a group of their own that has ingress rules. Left out: such functions are reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), inner(length(max = 30), regex(pattern = "^sg-[0-9a-f]+$")))]
    pub security_group_ids: Option<Vec<String>>,
    /// How the subnets of functions may reach the internet: Required (all of them through a NAT gateway), Forbidden (no route
    /// to it) or Any (as they like, but not through an internet gateway, which functions cannot use). Reported only.
    /// Recommended: Any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_access: Option<InternetAccess>,
    /// Fewest Availability Zones that the subnets of a function are in. With subnetIds and securityGroupIds Enforce gives
    /// these to functions that are in fewer. Recommended: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 6))]
    pub min_azs: Option<i32>,
}

/// Whether functions must be in a VPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Required {
    /// They must.
    Vpc,
    /// That is up to them.
    #[default]
    Any,
}

/// How the subnets of functions may reach the internet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InternetAccess {
    /// Through a NAT gateway, all of them.
    Required,
    /// Not at all.
    Forbidden,
    /// As they like, but not through an internet gateway.
    #[default]
    Any,
}

impl InternetAccess {
    /// Whether a subnet with this route is as demanded.
    fn allows(self, route: DefaultRoute) -> bool {
        match self {
            Self::Required => route == DefaultRoute::Nat,
            Self::Forbidden => route == DefaultRoute::None,
            Self::Any => route != DefaultRoute::Internet,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Required => "a route to a NAT gateway in every subnet",
            Self::Forbidden => "no route to the internet in any subnet",
            Self::Any => "no route to an internet gateway in any subnet",
        }
    }
}

const MIN_AZS: i32 = 2;

/// What security groups of functions are like.
const SCOPED: &str = "no default group, and no ingress rule where functions alone carry the group";

impl Network {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self {
            require: Some(Required::Any),
            subnet_ids: None,
            security_group_ids: None,
            internet_access: Some(InternetAccess::Any),
            min_azs: Some(MIN_AZS),
        }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    /// Sorted.
    subnets: Vec<String>,
    /// Sorted.
    groups: Vec<String>,
    internet: InternetAccess,
    zones: usize,
    /// Whether the baseline itself says how many zones.
    names_zones: bool,
}

impl Compiled {
    pub(super) fn new(network: Option<&Network>) -> Self {
        let Network { require: _, subnet_ids, security_group_ids, internet_access, min_azs } =
            network.cloned().unwrap_or_default();
        let sorted = |ids: Option<Vec<String>>| {
            let ids: BTreeSet<String> = ids.unwrap_or_default().into_iter().collect();
            ids.into_iter().collect()
        };
        Self {
            subnets: sorted(subnet_ids),
            groups: sorted(security_group_ids),
            internet: internet_access.unwrap_or_default(),
            zones: usize::try_from(min_azs.unwrap_or(MIN_AZS)).unwrap_or_default(),
            names_zones: min_azs.is_some(),
        }
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: About {
            id: "lambda-in-vpc",
            title: "Functions run inside the VPC",
            severity: Severity::Low,
            field: "network.require",
            default: "Off",
            remedy: "with subnetIds and securityGroupIds puts the function into them (UpdateFunctionConfiguration); its role needs ec2:CreateNetworkInterface; report only without them",
            since: "0.2.0",
            sources: &[FUNCTIONS, SUBNETS],
        },
        setting: |spec| match spec.network.as_ref().and_then(|network| network.require) {
            Some(Required::Vpc) => Setting::Named,
            Some(Required::Any) | None => Setting::Off,
        },
        alike: |one, other| one.network == other.network,
        check: check_in_vpc,
        remedy: Some(put_into_vpc),
    },
    Control {
        about: About {
            id: "lambda-vpc-multi-az",
            title: "VPC functions use subnets in several zones",
            severity: Severity::Medium,
            field: "network.minAzs",
            default: "2",
            remedy: "with subnetIds and securityGroupIds gives these to the function if they are in enough zones (UpdateFunctionConfiguration); report only without them",
            since: "0.2.0",
            sources: &[FUNCTIONS, SUBNETS],
        },
        setting: |spec| Setting::recommended(spec.network.as_ref().and_then(|network| network.min_azs.as_ref())),
        alike: |one, other| one.network == other.network,
        check: check_zones,
        remedy: Some(spread),
    },
    Control {
        about: About {
            id: "lambda-vpc-private-egress",
            title: "VPC functions reach the internet through NAT from private subnets",
            severity: Severity::Medium,
            field: "network.internetAccess",
            default: "Any",
            remedy: "report only: other workloads share the routes",
            since: "0.2.0",
            sources: &[FUNCTIONS, SUBNETS],
        },
        setting: |spec| {
            Setting::recommended(spec.network.as_ref().and_then(|network| network.internet_access.as_ref()))
        },
        alike: |one, other| one.network.internet == other.network.internet,
        check: check_routes,
        remedy: None,
    },
    Control {
        about: About {
            id: "lambda-vpc-scoped-security-group",
            title: "VPC functions use a dedicated security group",
            severity: Severity::Medium,
            field: "network.securityGroupIds",
            default: SCOPED,
            remedy: "with securityGroupIds gives these to the function (UpdateFunctionConfiguration); report only without them",
            since: "0.2.0",
            sources: &[FUNCTIONS, SECURITY_GROUPS, NETWORK_INTERFACES],
        },
        setting: |spec| {
            Setting::recommended(spec.network.as_ref().and_then(|network| network.security_group_ids.as_ref()))
        },
        alike: |one, other| one.network == other.network,
        check: check_groups,
        remedy: Some(scope),
    },
];

/// The function and its part of a VPC, unless the control has nothing to say about it.
fn inside<'v, 'a>(view: &'v LambdaView<'a>) -> Result<(&'v FunctionView<'a>, &'a Vpc), Verdict> {
    let view = regional(view)?;
    let vpc = view.configuration().vpc.as_ref().ok_or_else(|| Verdict::not_applicable("not in a VPC"))?;
    Ok((view, vpc))
}

fn check_in_vpc(_: &Parameters, view: &LambdaView<'_>) -> Verdict {
    match regional(view).map(|view| view.configuration().vpc.is_some()) {
        Err(verdict) => verdict,
        Ok(true) => Verdict::Pass,
        Ok(false) => Verdict::fail("a VPC", "none"),
    }
}

/// The zones of subnets, as far as they are known, and why not all of them are.
fn zones<'a>(view: &FunctionView<'a>, subnets: &[String]) -> (BTreeSet<&'a str>, Option<&'static str>) {
    let mut unknown = None;
    let zone = |id: &String| view.subnet(id).map(|subnet| subnet.zone.as_str()).map_err(|why| unknown = Some(why)).ok();
    (subnets.iter().filter_map(zone).collect(), unknown)
}

fn check_zones(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let (view, vpc) = match inside(view) {
        Err(verdict) => return verdict,
        Ok(inside) => inside,
    };
    let least = parameters.network.zones;
    match zones(view, &vpc.subnets) {
        (zones, _) if zones.len() >= least => Verdict::Pass,
        (_, Some(why)) => Verdict::unknown(why),
        (zones, None) => {
            Verdict::fail(format!("subnets in {least} zones or more"), format!("in {}", named(zones.into_iter())))
        }
    }
}

fn check_routes(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let (view, vpc) = match inside(view) {
        Err(verdict) => return verdict,
        Ok(inside) => inside,
    };
    let access = parameters.network.internet;
    let (mut found, mut unknown) = (Vec::new(), None);
    for id in &vpc.subnets {
        match view.subnet(id).map(|subnet| subnet.default_route) {
            Err(why) => unknown = Some(why),
            Ok(route) if access.allows(route) => {}
            Ok(route) => found.push(format!("{id} routes to {}", target(route))),
        }
    }
    judged(access.expected(), &found, unknown)
}

fn target(route: DefaultRoute) -> &'static str {
    match route {
        DefaultRoute::None => "nowhere",
        DefaultRoute::Other => "another target",
        DefaultRoute::Nat => "a NAT gateway",
        DefaultRoute::Internet => "an internet gateway",
    }
}

/// What is wrong weighs more than what is not known.
fn judged(expected: &str, found: &[String], unknown: Option<&'static str>) -> Verdict {
    match unknown {
        _ if !found.is_empty() => Verdict::fail(expected, named(found.iter())),
        Some(why) => Verdict::unknown(why),
        None => Verdict::Pass,
    }
}

fn check_groups(_: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let (view, vpc) = match inside(view) {
        Err(verdict) => return verdict,
        Ok(inside) => inside,
    };
    let (mut found, mut unknown) = (Vec::new(), None);
    for id in &vpc.security_groups {
        match view.group(id) {
            Err(why) => unknown = Some(why),
            Ok(group) => found.extend(unfit(group)),
        }
    }
    judged(SCOPED, &found, unknown)
}

/// Why a group is not for functions. Nothing connects to a function through its interfaces, so that a group which
/// functions alone carry needs no ingress rule.
fn unfit((group, usage): (&SecurityGroup, InterfaceUse)) -> Option<String> {
    let ingress = group.rules.iter().filter(|rule| rule.grant.direction == Direction::Ingress).count();
    let only_functions = usage.interfaces > 0 && usage.interfaces == usage.functions;
    if group.is_default() {
        Some(format!("{} is a default group", group.id))
    } else if only_functions && ingress > 0 {
        Some(format!("{} has {ingress} ingress rule(s)", group.id))
    } else {
        None
    }
}

/// The same once one function more carries the group: a group that nobody carries is theirs alone then.
fn is_fit_for_one_more((group, usage): (&SecurityGroup, InterfaceUse)) -> bool {
    let InterfaceUse { interfaces, functions, .. } = usage;
    unfit((group, InterfaceUse { interfaces: interfaces + 1, functions: functions + 1, ..usage })).is_none()
}

/// The part of a VPC that the baseline names, if it is whole and in this account and region.
fn place(parameters: &Parameters, view: &FunctionView<'_>) -> Option<Vpc> {
    let Compiled { subnets, groups, .. } = &parameters.network;
    let whole = !subnets.is_empty() && !groups.is_empty();
    let here = || subnets.iter().all(|id| view.subnet(id).is_ok());
    // Whatever is set of a VPC is sent whole.
    let ipv6 = view.configuration().vpc.as_ref().is_some_and(|vpc| vpc.ipv6);
    (whole && here()).then(|| Vpc { subnets: subnets.clone(), security_groups: groups.clone(), ipv6, ..Vpc::default() })
}

/// The one property of all remedies of this topic: subnets and groups are set together.
fn give(view: &FunctionView<'_>, after: &Vpc) -> Vec<Remedy> {
    let before = view.configuration().vpc.as_ref().map(Json::of);
    let after = Some(Json::of(after));
    if before == after {
        return Vec::new();
    }
    vec![Remedy::set(PropertyChange { property: Property::only(PropertyName::Vpc), before, after })]
}

fn put_into_vpc(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Some(view) = view.function() else { return Vec::new() };
    place(parameters, view).map(|place| give(view, &place)).unwrap_or_default()
}

fn spread(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let Some(view) = view.function() else { return Vec::new() };
    let wide_enough = |place: &Vpc| zones(view, &place.subnets).0.len() >= parameters.network.zones;
    place(parameters, view).filter(wide_enough).map(|place| give(view, &place)).unwrap_or_default()
}

fn scope(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    // The baseline moves the function to other subnets, and gives it these groups on the way: two remedies that set the
    // same property to different values would only hold each other up.
    let close = matches!(check_zones(parameters, view), Verdict::Fail { .. });
    if parameters.network.names_zones && close && !spread(parameters, view).is_empty() {
        return Vec::new();
    }
    let Ok((view, vpc)) = inside(view) else { return Vec::new() };
    let groups = &parameters.network.groups;
    let is_fit = |id: &String| view.group(id).is_ok_and(|group| group.0.vpc == vpc.id && is_fit_for_one_more(group));
    if groups.is_empty() || !groups.iter().all(is_fit) {
        return Vec::new();
    }
    give(view, &Vpc { security_groups: groups.clone(), ..vpc.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::LambdaParameters;
    use super::super::fixtures::{
        at_the_edge, carry, change, control, remedies, setting, spec, subnets, verdict, vpc, with, word,
    };
    use super::*;
    use crate::facts::{Inventory, ReadFailure, Source};

    const IN_VPC: &str = "lambda-in-vpc";
    const ZONES: &str = "lambda-vpc-multi-az";
    const EGRESS: &str = "lambda-vpc-private-egress";
    const GROUPS: &str = "lambda-vpc-scoped-security-group";

    const NOBODY: InterfaceUse = InterfaceUse { interfaces: 0, load_balancers: 0, functions: 0 };
    const FUNCTIONS_ALONE: InterfaceUse = InterfaceUse { interfaces: 2, load_balancers: 0, functions: 2 };
    const OTHERS_TOO: InterfaceUse = InterfaceUse { interfaces: 2, load_balancers: 0, functions: 1 };
    const OTHERS_ALONE: InterfaceUse = InterfaceUse { interfaces: 2, load_balancers: 0, functions: 0 };

    /// A function in some subnets and groups, with three subnets in two zones and a few groups around it.
    fn placed(subnet_ids: &[&str], groups: &[&str]) -> Inventory {
        let mut inventory = with(|configuration| configuration.vpc = Some(vpc(subnet_ids, groups)));
        inventory.subnets = subnets(&[
            ("subnet-1", "euw1-az1", DefaultRoute::Nat),
            ("subnet-2", "euw1-az2", DefaultRoute::Nat),
            ("subnet-3", "euw1-az1", DefaultRoute::None),
            ("subnet-4", "euw1-az2", DefaultRoute::Internet),
            ("subnet-5", "euw1-az2", DefaultRoute::Other),
        ]);
        carry(
            &mut inventory,
            &[
                ("sg-d", "default", 1, OTHERS_ALONE),
                ("sg-1", "shop", 0, FUNCTIONS_ALONE),
                ("sg-2", "open", 2, FUNCTIONS_ALONE),
                ("sg-3", "shared", 1, OTHERS_TOO),
                ("sg-4", "hosts", 1, OTHERS_ALONE),
                ("sg-5", "new", 0, NOBODY),
                ("sg-6", "elsewhere", 0, NOBODY),
                ("sg-7", "new and open", 1, NOBODY),
            ],
        );
        inventory
    }

    /// The same with a function outside of any VPC.
    fn outside() -> Inventory {
        let around = placed(&[], &[]);
        Inventory { lambda: with(|_| {}).lambda, ..around }
    }

    fn named_place(subnet_ids: &[&str], groups: &[&str]) -> LambdaParameters {
        spec(json!({"network": {"require": "Vpc", "subnetIds": subnet_ids, "securityGroupIds": groups, "minAzs": 2}}))
    }

    #[test]
    fn defaults() {
        let setting = |written, id: &str| setting(&spec(written), id);
        for (id, expected) in [
            (IN_VPC, Setting::Off),
            (ZONES, Setting::Recommended),
            (EGRESS, Setting::Recommended),
            (GROUPS, Setting::Recommended),
        ] {
            assert_eq!(setting(json!({}), id), expected, "{id}");
            assert_eq!(setting(json!({"network": {}}), id), expected, "{id}");
        }
        assert_eq!(setting(json!({"network": {"require": "Any"}}), IN_VPC), Setting::Off);
        assert_eq!(setting(json!({"network": {"require": "Vpc"}}), IN_VPC), Setting::Named);
        assert_eq!(setting(json!({"network": {"minAzs": 3}}), ZONES), Setting::Named);
        assert_eq!(setting(json!({"network": {"internetAccess": "Any"}}), EGRESS), Setting::Named);
        assert_eq!(setting(json!({"network": {"securityGroupIds": ["sg-1"]}}), GROUPS), Setting::Named);
        let written = Compiled::new(Some(&Network::recommended()));
        assert_eq!(Compiled { names_zones: false, ..written }, Compiled::new(None));
    }

    #[test]
    fn functions_outside_of_a_vpc_and_at_the_edge() {
        let spec = named_place(&["subnet-1", "subnet-2"], &["sg-1"]);
        assert_eq!(verdict(&spec, IN_VPC, &outside()), Verdict::fail("a VPC", "none"));
        assert_eq!(word(&spec, IN_VPC, &placed(&["subnet-1"], &["sg-1"])), "Pass");
        for id in [ZONES, EGRESS, GROUPS] {
            assert_eq!(verdict(&spec, id, &outside()), Verdict::not_applicable("not in a VPC"), "{id}");
        }
        for id in [IN_VPC, ZONES, EGRESS, GROUPS] {
            assert_eq!(word(&spec, id, &at_the_edge()), "NotApplicable", "{id}");
        }
    }

    #[test]
    fn a_function_is_put_into_what_the_baseline_names() {
        let spec = named_place(&["subnet-2", "subnet-1", "subnet-2"], &["sg-5", "sg-1"]);
        let after = Json::parse(r#"{"securityGroups":["sg-1","sg-5"],"subnets":["subnet-1","subnet-2"]}"#);
        assert_eq!(change(&spec, IN_VPC, &outside()), (PropertyName::Vpc, None, after));
    }

    #[test]
    fn nothing_is_put_into_what_is_not_here() {
        let none = |spec: &LambdaParameters, inventory: &Inventory| {
            assert_eq!(remedies(spec, IN_VPC, inventory), []);
        };
        none(&named_place(&["subnet-1", "subnet-9"], &["sg-1"]), &outside());
        none(&named_place(&[], &["sg-1"]), &outside());
        none(&named_place(&["subnet-1"], &[]), &outside());
        let unread = Inventory { subnets: Source::default(), ..outside() };
        none(&named_place(&["subnet-1"], &["sg-1"]), &unread);
    }

    #[test]
    fn zones_are_counted_once_each() {
        let verdict = |ids: &[&str]| verdict(&LambdaParameters::default(), ZONES, &placed(ids, &["sg-1"]));
        assert_eq!(verdict(&["subnet-1", "subnet-2"]), Verdict::Pass);
        assert_eq!(verdict(&["subnet-1", "subnet-3"]), Verdict::fail("subnets in 2 zones or more", "in euw1-az1"));
        assert_eq!(verdict(&["subnet-1", "subnet-2", "subnet-9"]), Verdict::Pass);
        assert_eq!(
            verdict(&["subnet-1", "subnet-9"]),
            Verdict::unknown("one of its subnets is not among those that were read")
        );
        let one = spec(json!({"network": {"minAzs": 1}}));
        assert_eq!(word(&one, ZONES, &placed(&["subnet-1"], &["sg-1"])), "Pass");
        let mut unread = placed(&["subnet-1"], &["sg-1"]);
        unread.subnets = Source::failed(ReadFailure::AccessDenied, unread.lambda.functions.read_at());
        assert_eq!(word(&one, ZONES, &unread), "Unknown");
    }

    #[test]
    fn a_function_is_spread_only_over_enough_zones() {
        let close = placed(&["subnet-1", "subnet-3"], &["sg-2"]);
        let wide = named_place(&["subnet-1", "subnet-2"], &["sg-1"]);
        let before = Json::of(&vpc(&["subnet-1", "subnet-3"], &["sg-2"]));
        let after = Json::of(&vpc(&["subnet-1", "subnet-2"], &["sg-1"]));
        assert_eq!(change(&wide, ZONES, &close), (PropertyName::Vpc, Some(before), Some(after)));
        assert_eq!(remedies(&named_place(&["subnet-1", "subnet-3"], &["sg-1"]), ZONES, &close), []);
        assert_eq!(remedies(&spec(json!({"network": {"minAzs": 2}})), ZONES, &close), []);
    }

    #[test]
    fn routes_are_judged_by_what_is_demanded() {
        let verdict = |access: &str, id: &str| {
            verdict(
                &spec(json!({"network": {"internetAccess": access}})),
                EGRESS,
                &placed(&["subnet-1", id], &["sg-1"]),
            )
        };
        let words = |access: &str| {
            ["subnet-2", "subnet-3", "subnet-4", "subnet-5", "subnet-9"].map(|id| verdict(access, id).word())
        };
        assert_eq!(words("Any"), ["Pass", "Pass", "Fail", "Pass", "Unknown"]);
        assert_eq!(words("Required"), ["Pass", "Fail", "Fail", "Fail", "Unknown"]);
        assert_eq!(words("Forbidden"), ["Fail"; 5]);
        let expected = "no route to an internet gateway in any subnet";
        assert_eq!(verdict("Any", "subnet-4"), Verdict::fail(expected, "subnet-4 routes to an internet gateway"));
        assert_eq!(word(&LambdaParameters::default(), EGRESS, &placed(&["subnet-4"], &["sg-1"])), "Fail");
        assert!(control(EGRESS).remedy.is_none());
    }

    #[test]
    fn groups_are_judged_by_who_carries_them() {
        let verdict = |ids: &[&str]| verdict(&LambdaParameters::default(), GROUPS, &placed(&["subnet-1"], ids));
        assert_eq!(verdict(&["sg-1", "sg-3", "sg-4", "sg-5"]), Verdict::Pass);
        assert_eq!(verdict(&["sg-1", "sg-d"]), Verdict::fail(SCOPED, "sg-d is a default group"));
        assert_eq!(verdict(&["sg-2"]), Verdict::fail(SCOPED, "sg-2 has 2 ingress rule(s)"));
        assert_eq!(
            verdict(&["sg-1", "sg-9"]),
            Verdict::unknown("one of its security groups is not among those that were read")
        );
        assert_eq!(verdict(&["sg-2", "sg-9"]).word(), "Fail");
        let mut unread = placed(&["subnet-1"], &["sg-1"]);
        unread.network_interfaces = Source::default();
        assert_eq!(word(&LambdaParameters::default(), GROUPS, &unread), "Unknown");
    }

    #[test]
    fn groups_change_and_subnets_stay() {
        let open = placed(&["subnet-1"], &["sg-2"]);
        let scoped = spec(json!({"network": {"securityGroupIds": ["sg-5", "sg-1"]}}));
        let before = Json::of(&vpc(&["subnet-1"], &["sg-2"]));
        let after = Json::of(&vpc(&["subnet-1"], &["sg-1", "sg-5"]));
        assert_eq!(change(&scoped, GROUPS, &open), (PropertyName::Vpc, Some(before), Some(after)));
        for useless in [&[][..], &["sg-d"], &["sg-2"], &["sg-6"], &["sg-7"], &["sg-9"]] {
            let useless = spec(json!({"network": {"securityGroupIds": useless}}));
            assert_eq!(remedies(&useless, GROUPS, &open), []);
        }
    }

    #[test]
    fn two_remedies_never_set_different_values() {
        let both = placed(&["subnet-1"], &["sg-2"]);
        let moves = named_place(&["subnet-1", "subnet-2"], &["sg-1"]);
        assert_eq!(remedies(&moves, ZONES, &both).len(), 1);
        assert_eq!(remedies(&moves, GROUPS, &both), []);
        // Where nothing moves the function, the groups do not wait for it.
        let stays = named_place(&["subnet-1", "subnet-3"], &["sg-1"]);
        assert_eq!(remedies(&stays, ZONES, &both), []);
        assert_eq!(remedies(&stays, GROUPS, &both).len(), 1);
        // A number of zones that the baseline does not write is enforced by nobody.
        let unnamed = spec(json!({"network": {"subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]}}));
        assert_eq!(remedies(&unnamed, GROUPS, &both).len(), 1);
        let (_, _, after) = change(&unnamed, GROUPS, &both);
        assert_eq!(after, Some(Json::of(&vpc(&["subnet-1"], &["sg-1"]))));
    }
}
