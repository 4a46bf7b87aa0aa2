//! `spec.requiredTags`: tags that every function must have.

use super::{Compiled as Parameters, Control, LambdaView, Remedy};
use crate::controls::{About, FUNCTIONS, Setting};
use crate::finding::{Severity, Verdict};
use crate::property::{Json, Property, PropertyChange, PropertyName};

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "lambda-required-tags",
        title: "Functions carry the required tags",
        severity: Severity::Low,
        field: "requiredTags",
        default: "Off",
        remedy: "sets the default where the key is missing (TagResource)",
        since: "0.2.0",
        sources: &[FUNCTIONS],
    },
    setting: |spec| Setting::optional(spec.required_tags.as_ref().filter(|tags| !tags.is_empty())),
    alike: |one, other| one.tags == other.tags,
    check: check_tags,
    remedy: Some(add_tags),
}];

fn check_tags(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    match view.function() {
        Some(view) => parameters.tags.check(&view.function.tags),
        None => Verdict::not_applicable("not a function"),
    }
}

fn add_tags(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let missing = view.function().map(|view| parameters.tags.missing(&view.function.tags)).unwrap_or_default();
    let change = |(key, value): (String, String)| PropertyChange {
        property: Property::one(PropertyName::Tag, key),
        before: None,
        after: Some(Json::of(&value)),
    };
    missing.into_iter().map(change).map(Remedy::set).collect()
}
