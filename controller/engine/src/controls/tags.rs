//! Required tags: a topic that every kind has.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InvalidParameter, Pattern, named};
use crate::facts::Tags;
use crate::finding::Verdict;

/// A tag that every resource must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!self.key.startsWith('aws:')",
    "message": "keys that start with aws: belong to AWS and cannot be set"
}]))]
pub struct RequiredTag {
    /// The tag's key.
    #[schemars(length(min = 1, max = 128))]
    pub key: String,
    /// Regular expression (without look-around) that the value matches. Left out: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
    /// The value that Enforce sets where the key is missing. Left out: report only. A value that is there is never overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub default: Option<String>,
}

/// The tags that every resource must have, parsed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Compiled(Vec<TagDemand>);

#[derive(Clone, Debug, PartialEq)]
struct TagDemand {
    key: String,
    pattern: Option<Pattern>,
    default: Option<String>,
}

impl Compiled {
    /// `field` is where they stand below `spec`.
    pub(super) fn new(field: &str, tags: Option<&[RequiredTag]>) -> Result<Self, InvalidParameter> {
        let demands = tags.unwrap_or_default().iter().map(|tag| TagDemand::new(field, tag.clone()));
        demands.collect::<Result<_, _>>().map(Self)
    }

    /// Whether some tags are those that are required.
    pub(super) fn check(&self, tags: &Tags) -> Verdict {
        let missing = self.0.iter().filter(|tag| !tag.met_by(tags));
        let describe = |tag: &TagDemand| match tags.get(&tag.key) {
            None => format!("no tag {}", tag.key),
            // Values may say more than everybody may read.
            Some(_) => format!("a value of {} that does not match", tag.key),
        };
        let found = named(missing.map(describe));
        if found.is_empty() { Verdict::Pass } else { Verdict::fail("the required tags", found) }
    }

    /// The defaults of the keys that are missing: a value that somebody wrote is never overwritten.
    pub(super) fn missing(&self, tags: &Tags) -> BTreeMap<String, String> {
        let missing = self.0.iter().filter(|tag| !tags.contains_key(&tag.key));
        missing.filter_map(|tag| Some((tag.key.clone(), tag.default.clone()?))).collect()
    }
}

impl TagDemand {
    fn new(field: &str, RequiredTag { key, pattern, default }: RequiredTag) -> Result<Self, InvalidParameter> {
        let pattern = pattern.map(|text| Pattern::new(field, &text)).transpose()?;
        match (&pattern, &default) {
            (Some(pattern), Some(value)) if !pattern.is_match(value) => {
                Err(InvalidParameter::new(field, format!("the default of {key:?} does not match its own pattern")))
            }
            _ => Ok(Self { key, pattern, default }),
        }
    }

    fn met_by(&self, tags: &Tags) -> bool {
        tags.get(&self.key).is_some_and(|value| self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value)))
    }
}
