//! `spec.hygiene`: names, descriptions, tags and size.

use std::sync::LazyLock;

use regex::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiled as Parameters, Control, GroupView, Remedy};
use crate::controls::named;
use crate::controls::tags::{self, RequiredTag};
use crate::controls::{
    About, InvalidParameter, NETWORK_INTERFACES, PATTERN_SIZE_LIMIT, Pattern, SECURITY_GROUPS, Setting,
};
use crate::facts::Rule;
use crate::finding::{Severity, Verdict};

/// Names, descriptions, tags and size: what makes a group reviewable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hygiene {
    /// Regular expression (without look-around) that the name of a group matches. Reported only: names cannot
    /// be changed. Recommended: ^.{3,}$
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name_pattern: Option<String>,
    /// Fewest characters in the description of a group. Reported only: descriptions cannot be changed. Recommended: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub min_description_length: Option<i32>,
    /// Regular expressions that the description of a group must not match. Recommended: launch-wizard, default VPC
    /// security group, Managed by Terraform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 256)))]
    pub forbidden_descriptions: Option<Vec<String>>,
    /// Whether groups made by the console's launch wizard may be in use. Reported only. Recommended: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_launch_wizard: Option<bool>,
    /// Descriptions of rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_descriptions: Option<RuleDescriptions>,
    /// Tags that every group must have. Off while left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub required_tags: Option<Vec<RequiredTag>>,
    /// How many rules a group may have. Reported only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rules: Option<MaxRules>,
}

/// Descriptions of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.stampText) || self.stampText.size() >= (has(self.minLength) ? self.minLength : 5)",
    "message": "stampText is at least minLength characters long: 5, unless minLength says otherwise"
}]))]
pub struct RuleDescriptions {
    /// Whether every rule must be described. Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Fewest characters that describe a rule. Recommended: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub min_length: Option<i32>,
    /// Text that Enforce writes where a rule has no description, or one that is too short. Left out: report only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-zA-Z0-9. _:/()#,@\[\]+=&;{}!$*-]*$"))]
    pub stamp_text: Option<String>,
}

/// How many rules a group may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaxRules {
    /// Most ingress rules. Recommended: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub ingress: Option<i32>,
    /// Most egress rules. Recommended: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub egress: Option<i32>,
}

const NAME_PATTERN: &str = "^.{3,}$";
const MIN_DESCRIPTION_LENGTH: i32 = 10;
const FORBIDDEN_DESCRIPTIONS: [&str; 3] = ["^launch-wizard", "^default VPC security group$", "^Managed by Terraform$"];
const MIN_RULE_DESCRIPTION: i32 = 5;
const MAX_RULES: i32 = 50;

impl Hygiene {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self {
            name_pattern: Some(NAME_PATTERN.to_owned()),
            min_description_length: Some(MIN_DESCRIPTION_LENGTH),
            forbidden_descriptions: Some(FORBIDDEN_DESCRIPTIONS.map(str::to_owned).to_vec()),
            allow_launch_wizard: Some(false),
            rule_descriptions: Some(RuleDescriptions {
                required: Some(true),
                min_length: Some(MIN_RULE_DESCRIPTION),
                stamp_text: None,
            }),
            required_tags: None,
            max_rules: Some(MaxRules { ingress: Some(MAX_RULES), egress: Some(MAX_RULES) }),
        }
    }
}

/// Several regular expressions, asked all at once.
#[derive(Clone, Debug)]
struct Patterns(RegexSet);

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.0.patterns() == other.0.patterns()
    }
}

impl Patterns {
    fn new(field: &str, texts: &[String]) -> Result<Self, InvalidParameter> {
        for text in texts {
            Pattern::new(field, text)?;
        }
        let together = RegexSetBuilder::new(texts).size_limit(PATTERN_SIZE_LIMIT * texts.len().max(1)).build();
        together.map(Self).map_err(|_| InvalidParameter::new(field, "the patterns together are too large"))
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    group_text: GroupText,
    rule_text: RuleText,
    tags: tags::Compiled,
    max_rules: [usize; 2],
}

/// What name and description of a group are to be like.
#[derive(Clone, Debug, PartialEq)]
struct GroupText {
    name: Pattern,
    min_description: usize,
    forbidden: Patterns,
}

/// The recommended patterns, compiled once: most baselines use them.
static RECOMMENDED: LazyLock<Result<GroupText, InvalidParameter>> = LazyLock::new(|| {
    Ok(GroupText {
        name: Pattern::new("hygiene.namePattern", NAME_PATTERN)?,
        min_description: size(None, MIN_DESCRIPTION_LENGTH),
        forbidden: Patterns::new("hygiene.forbiddenDescriptions", &FORBIDDEN_DESCRIPTIONS.map(str::to_owned))?,
    })
});

/// What descriptions of rules are to be like.
#[derive(Clone, Debug, PartialEq)]
struct RuleText {
    min_length: usize,
    stamp: Option<String>,
}

impl Compiled {
    pub(super) fn new(hygiene: Option<&Hygiene>) -> Result<Self, InvalidParameter> {
        let Hygiene {
            name_pattern,
            min_description_length,
            forbidden_descriptions,
            allow_launch_wizard: _,
            rule_descriptions,
            required_tags,
            max_rules,
        } = hygiene.cloned().unwrap_or_default();
        let rules = rule_descriptions.unwrap_or_default();
        let max = max_rules.unwrap_or_default();
        let mut group_text = RECOMMENDED.clone()?;
        group_text.min_description = size(min_description_length, MIN_DESCRIPTION_LENGTH);
        if let Some(pattern) = name_pattern {
            group_text.name = Pattern::new("hygiene.namePattern", &pattern)?;
        }
        if let Some(patterns) = forbidden_descriptions {
            group_text.forbidden = Patterns::new("hygiene.forbiddenDescriptions", &patterns)?;
        }
        Ok(Self {
            group_text,
            rule_text: RuleText { min_length: size(rules.min_length, MIN_RULE_DESCRIPTION), stamp: rules.stamp_text },
            tags: tags::Compiled::new("hygiene.requiredTags", required_tags.as_deref())?,
            max_rules: [size(max.ingress, MAX_RULES), size(max.egress, MAX_RULES)],
        })
    }
}

fn size(written: Option<i32>, recommended: i32) -> usize {
    usize::try_from(written.unwrap_or(recommended)).unwrap_or(0)
}

macro_rules! about {
    ($id:literal, $title:literal, $severity:ident, $field:literal, $default:literal, $remedy:literal, $sources:expr) => {
        About {
            id: $id,
            title: $title,
            severity: Severity::$severity,
            field: concat!("hygiene.", $field),
            default: $default,
            remedy: $remedy,
            since: "0.1.0",
            sources: $sources,
        }
    };
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        about: about!(
            "sg-group-described",
            "Security groups have a meaningful name and description",
            Low,
            "namePattern, hygiene.minDescriptionLength, hygiene.forbiddenDescriptions",
            "^.{3,}$, 10 characters",
            "report only: name and description cannot be changed",
            &[SECURITY_GROUPS]
        ),
        setting: |spec| match &spec.hygiene {
            Some(Hygiene {
                name_pattern: None, min_description_length: None, forbidden_descriptions: None, ..
            })
            | None => Setting::Recommended,
            Some(_) => Setting::Named,
        },
        alike: |one, other| one.hygiene.group_text == other.hygiene.group_text,
        check: check_group_described,
        remedy: None,
    },
    Control {
        about: about!(
            "sg-no-launch-wizard",
            "Console-wizard security groups are not used",
            Medium,
            "allowLaunchWizard",
            "false",
            "report only: which group replaces it is not known",
            &[SECURITY_GROUPS, NETWORK_INTERFACES]
        ),
        setting: |spec| {
            Setting::switch(spec.hygiene.as_ref().and_then(|hygiene| hygiene.allow_launch_wizard).map(|allow| !allow))
        },
        alike: |_, _| true,
        check: check_launch_wizard,
        remedy: None,
    },
    Control {
        about: about!(
            "sg-rule-described",
            "Every rule carries a description",
            Low,
            "ruleDescriptions",
            "{required: true, minLength: 5}",
            "writes ruleDescriptions.stampText (ModifySecurityGroupRules); report only without it",
            &[SECURITY_GROUPS]
        ),
        setting: |spec| match spec.hygiene.as_ref().and_then(|hygiene| hygiene.rule_descriptions.as_ref()) {
            None => Setting::Recommended,
            Some(RuleDescriptions { required: Some(false), .. }) => Setting::Off,
            Some(_) => Setting::Named,
        },
        alike: |one, other| one.hygiene.rule_text == other.hygiene.rule_text,
        check: check_rules_described,
        remedy: Some(describe_rules),
    },
    Control {
        about: about!(
            "sg-required-tags",
            "Security groups carry the required tags",
            Low,
            "requiredTags",
            "Off",
            "sets the default where the key is missing (CreateTags)",
            &[SECURITY_GROUPS]
        ),
        setting: |spec| {
            let tags = spec.hygiene.as_ref().and_then(|hygiene| hygiene.required_tags.as_ref());
            Setting::optional(tags.filter(|tags| !tags.is_empty()))
        },
        alike: |one, other| one.hygiene.tags == other.hygiene.tags,
        check: check_tags,
        remedy: Some(add_tags),
    },
    Control {
        about: about!(
            "sg-rule-count",
            "Security groups stay below a reviewable number of rules",
            Low,
            "maxRules",
            "{ingress: 50, egress: 50}",
            "report only: merging rules needs their meaning",
            &[SECURITY_GROUPS]
        ),
        setting: |spec| Setting::recommended(spec.hygiene.as_ref().and_then(|hygiene| hygiene.max_rules.as_ref())),
        alike: |one, other| one.hygiene.max_rules == other.hygiene.max_rules,
        check: check_rule_count,
        remedy: None,
    },
];

const LAUNCH_WIZARD: &str = "launch-wizard-";

fn check_group_described(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let GroupText { name, min_description, forbidden } = &parameters.hygiene.group_text;
    let group = view.group;
    if group.is_default() || group.name.starts_with(LAUNCH_WIZARD) {
        return Verdict::not_applicable("default and launch-wizard groups have controls of their own");
    }
    if !name.is_match(&group.name) {
        return Verdict::fail(format!("a name that matches {name}"), format!("{:?}", group.name));
    }
    if group.description.chars().count() < *min_description {
        return Verdict::fail(
            format!("a description of {min_description} characters or more"),
            format!("{:?}", group.description),
        );
    }
    if forbidden.0.is_match(&group.description) {
        return Verdict::fail("a description that says what the group is for", format!("{:?}", group.description));
    }
    Verdict::Pass
}

fn check_launch_wizard(_: &Parameters, view: &GroupView<'_>) -> Verdict {
    if !view.group.name.starts_with(LAUNCH_WIZARD) {
        return Verdict::Pass;
    }
    match view.usage.map(|usage| usage.interfaces) {
        None => Verdict::unknown("the network interfaces could not be read"),
        Some(0) => Verdict::Pass,
        Some(interfaces) => {
            Verdict::fail("no launch-wizard group in use", format!("{} on {interfaces} interface(s)", view.group.name))
        }
    }
}

fn undescribed<'v>(parameters: &'v Parameters, view: &'v GroupView<'_>) -> impl Iterator<Item = (usize, &'v Rule)> {
    let least = parameters.hygiene.rule_text.min_length;
    let short = move |rule: &Rule| rule.description.as_ref().map_or(0, |text| text.chars().count()) < least;
    view.group.rules.iter().enumerate().filter(move |(_, rule)| short(rule))
}

fn check_rules_described(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let least = parameters.hygiene.rule_text.min_length;
    if view.shortest_description >= least {
        return Verdict::Pass;
    }
    let found = named(undescribed(parameters, view).map(|(_, rule)| &rule.grant));
    Verdict::fail(format!("a description of {least} characters or more on every rule"), format!("none on {found}"))
}

fn describe_rules(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let Some(text) = &parameters.hygiene.rule_text.stamp else {
        return Vec::new();
    };
    undescribed(parameters, view).map(|(rule, _)| Remedy::Describe { rule, text: text.clone() }).collect()
}

fn check_tags(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    parameters.hygiene.tags.check(&view.group.tags)
}

fn add_tags(parameters: &Parameters, view: &GroupView<'_>) -> Vec<Remedy> {
    let tags = parameters.hygiene.tags.missing(&view.group.tags);
    if tags.is_empty() { Vec::new() } else { vec![Remedy::Tag(tags)] }
}

fn check_rule_count(parameters: &Parameters, view: &GroupView<'_>) -> Verdict {
    let ([ingress, egress], [max_ingress, max_egress]) = (view.rule_counts, parameters.hygiene.max_rules);
    if ingress <= max_ingress && egress <= max_egress {
        return Verdict::Pass;
    }
    Verdict::fail(
        format!("at most {max_ingress} ingress and {max_egress} egress rules"),
        format!("{ingress} ingress and {egress} egress rules"),
    )
}
