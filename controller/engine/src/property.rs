//! Properties: the parts of a resource that are set one by one, each with a value before and after.
//!
//! What a security group lets through is a set of grants with an algebra of its own. Nearly everything else that AWS
//! lets one configure is a property: it has one value, and a baseline names another one. Properties of every service
//! are planned, written down, made, verified and undone by the same code.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::facts::Cors;

/// What is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PropertyName {
    /// `Runtime` of a function.
    Runtime,
    /// `KMSKeyArn` of a function: the key that its environment variables are encrypted with.
    KmsKey,
    /// `TracingConfig.Mode` of a function.
    Tracing,
    /// `Layers` of a function: the whole list, in order.
    Layers,
    /// `VpcConfig` of a function: subnets and security groups together.
    Vpc,
    /// `DeadLetterConfig.TargetArn` of a function.
    DeadLetter,
    /// `LoggingConfig` of a function: format and levels; its log group stays.
    Logging,
    /// `AuthType` of the URL of a function or of one of its aliases.
    UrlAuth,
    /// `Cors` of the URL of a function or of one of its aliases.
    UrlCors,
    /// One statement of the resource policy of a function or of one of its aliases.
    Statement,
    /// One statement of the resource policy of a layer version.
    LayerStatement,
    /// `ReservedConcurrentExecutions` of a function.
    Concurrency,
    /// `CodeSigningConfigArn` of a function.
    CodeSigning,
    /// `RecursiveLoop` of a function.
    Recursion,
    /// How AWS updates the runtime of a function.
    RuntimeManagement,
    /// One tag.
    Tag,
}

impl PropertyName {
    /// Every name.
    pub const ALL: [Self; 16] = [
        Self::Runtime,
        Self::KmsKey,
        Self::Tracing,
        Self::Layers,
        Self::Vpc,
        Self::DeadLetter,
        Self::Logging,
        Self::UrlAuth,
        Self::UrlCors,
        Self::Statement,
        Self::LayerStatement,
        Self::Concurrency,
        Self::CodeSigning,
        Self::Recursion,
        Self::RuntimeManagement,
        Self::Tag,
    ];

    /// The name as change sets write it.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.to_string() == text)
    }
}

impl fmt::Display for PropertyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One property of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Property {
    /// What is set.
    pub name: PropertyName,
    /// Which of them, where a resource has several: the key of a tag, `QUALIFIER` of a URL, `QUALIFIER/SID` of a
    /// statement. The qualifier of the function itself is empty.
    pub of: String,
}

impl Property {
    /// The only one of its name.
    pub fn only(name: PropertyName) -> Self {
        Self { name, of: String::new() }
    }

    /// One of several.
    pub fn one(name: PropertyName, of: impl Into<String>) -> Self {
        Self { name, of: of.into() }
    }

    /// A statement of the policy of a function (empty qualifier) or of one of its aliases.
    pub fn statement(qualifier: &str, sid: &str) -> Self {
        Self::one(PropertyName::Statement, format!("{qualifier}/{sid}"))
    }

    /// Qualifier and statement id of a statement.
    pub fn qualifier_and_sid(&self) -> (&str, &str) {
        self.of.split_once('/').unwrap_or(("", &self.of))
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of.as_str() {
            "" => self.name.fmt(f),
            of => write!(f, "{} {of}", self.name),
        }
    }
}

/// A value as canonical JSON: keys sorted, no spaces. Equal values are equal texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json(String);

impl Json {
    /// From a value that can be written as JSON.
    pub fn of(value: &impl Serialize) -> Self {
        // Through a value: its maps are sorted, those of a struct are not.
        let value = serde_json::to_value(value).unwrap_or_default();
        Self(value.to_string())
    }

    /// From a text that was written by [`Json::text`].
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<serde_json::Value>(text).ok().map(|value| Self(value.to_string()))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value, if it is of that type.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One property that changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyChange {
    /// Which.
    pub property: Property,
    /// The value that was read; `None` where it is not set.
    pub before: Option<Json>,
    /// The value to set; `None` removes it.
    pub after: Option<Json>,
}

impl PropertyChange {
    /// The change that takes this one back.
    pub fn reversed(&self) -> Self {
        Self { property: self.property.clone(), before: self.after.clone(), after: self.before.clone() }
    }

    /// The change that leaves what both leave, where each of them only takes away: of origins those that are in both.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        let same = self.property == other.property && self.before == other.before;
        let cors = |change: &Self| change.after.as_ref().and_then(Json::read::<Cors>);
        let is_cors = same && self.property.name == PropertyName::UrlCors;
        let (mut both, theirs) = (cors(self).filter(|_| is_cors)?, cors(other)?);
        both.allow_origins.retain(|origin| theirs.allow_origins.contains(origin));
        let after = Some(Json::of(&both));
        let rest = Cors { allow_origins: both.allow_origins, ..theirs };
        (after == Some(Json::of(&rest))).then(|| Self { after, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_texts() {
        let one: serde_json::Value = serde_json::from_str(r#"{"b": [1, 2], "a": null}"#).unwrap();
        assert_eq!(Json::of(&one), Json::parse(r#"{"a":null,"b":[1,2]}"#).unwrap());
        assert_eq!(Json::of(&"x").read::<String>().as_deref(), Some("x"));
        assert_eq!(Json::parse("{"), None);
    }

    #[test]
    fn every_name_is_found_by_its_text() {
        for name in PropertyName::ALL {
            assert_eq!(PropertyName::of(&name.to_string()), Some(name));
        }
    }

    #[test]
    fn a_statement_knows_its_qualifier() {
        assert_eq!(Property::statement("live", "a").qualifier_and_sid(), ("live", "a"));
        assert_eq!(Property::statement("", "a").qualifier_and_sid(), ("", "a"));
    }
}
