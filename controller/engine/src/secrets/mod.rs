//! Credentials in environment variables, by three detectors of falling certainty: the form of a value, the name of its
//! variable, the randomness of a value.
//!
//! Values come in and never go out, not even shortened, hashed or counted: a [`Suspicion`] says which variable and
//! which rule. Facts keep the suspicions and drop the values. The tokens, descriptors, placeholders and references of
//! the control catalogue are closed lists: what is not on them does not count.

mod certain;
mod entropy;
mod named;
mod reference;
#[cfg(test)]
mod vectors;

use std::cmp::Reverse;

use regex::{RegexBuilder, RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::controls::InvalidParameter;
use crate::finding::{Severity, Verdict};

/// How sure a detector is. Ordered: the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The value has the form of a credential.
    Certain,
    /// The variable is named like a credential, and its value could be one.
    Named,
    /// The value looks random: a person has to look at it.
    Entropy,
}

/// A variable that seems to hold a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Suspicion {
    /// The variable's name.
    pub name: String,
    /// What gave it away, such as `aws-access-key-id`.
    pub rule: &'static str,
    /// How sure that is.
    pub tier: Tier,
    /// How bad it is if it is one.
    pub severity: Severity,
}

/// What a person would have to find out: the value is a credential, or merely looks random.
const RANDOM: Severity = Severity::Medium;

/// Looks at names and values, and returns the worst suspicion of each variable and tier, sorted by both.
pub fn suspicions<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Suspicion> {
    let mut found: Vec<_> = variables.flat_map(|(name, value)| of_variable(name, value.trim())).collect();
    let order = |suspicion: &Suspicion| (suspicion.tier, Reverse(suspicion.severity), suspicion.rule);
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name).then_with(|| order(a).cmp(&order(b))));
    found.dedup_by(|other, worst| (&other.name, other.tier) == (&worst.name, worst.tier));
    found
}

fn of_variable(name: &str, value: &str) -> impl Iterator<Item = Suspicion> {
    let certain = certain::rule(value).map(|rule| (Tier::Certain, rule, Severity::Critical));
    let named = named::rule(name, value).map(|(rule, severity)| (Tier::Named, rule, severity));
    let entropy = entropy::rule(name, value).map(|rule| (Tier::Entropy, rule, RANDOM));
    let found = [certain, named, entropy].into_iter().flatten();
    found.map(|(tier, rule, severity)| Suspicion { name: name.to_owned(), rule, tier, severity })
}

/// Which detectors a control listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Detectors {
    /// Only values that have the form of a credential.
    Certain,
    /// Also variables that are named like a credential.
    #[default]
    Named,
    /// Also values that look random. They are reported for review, never as failed.
    Entropy,
}

impl Detectors {
    /// Whether the suspicions of a tier count.
    pub fn include(self, tier: Tier) -> bool {
        match self {
            Self::Certain => tier == Tier::Certain,
            Self::Named => tier <= Tier::Named,
            Self::Entropy => true,
        }
    }
}

/// The suspicions that a baseline wants to hear of.
#[derive(Clone, Debug)]
pub struct Filter {
    detectors: Detectors,
    allowed_names: RegexSet,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.detectors == other.detectors && self.allowed_names.patterns() == other.allowed_names.patterns()
    }
}

impl Filter {
    /// From parameters. A variable is allowed if a regular expression matches all of its name; `field` is the path of
    /// these expressions below `spec`.
    pub fn new(field: &str, detectors: Detectors, allowed_names: &[String]) -> Result<Self, InvalidParameter> {
        Ok(Self { detectors, allowed_names: whole_names(field, allowed_names)? })
    }

    /// The suspicions of the detectors about variables that are not allowed, in the order given.
    pub fn apply<'s>(&self, suspicions: &'s [Suspicion]) -> impl Iterator<Item = &'s Suspicion> {
        suspicions
            .iter()
            .filter(|suspicion| self.detectors.include(suspicion.tier) && !self.allowed_names.is_match(&suspicion.name))
    }

    /// `Fail` by form and name, `Unknown` if randomness alone speaks for a credential.
    pub fn verdict(&self, suspicions: &[Suspicion]) -> Verdict {
        let (random, credentials): (Vec<_>, Vec<_>) =
            self.apply(suspicions).partition(|suspicion| suspicion.tier == Tier::Entropy);
        if !credentials.is_empty() {
            Verdict::fail("no credentials in environment variables", listed(&credentials))
        } else if !random.is_empty() {
            Verdict::unknown(format!("review: random values that may be credentials in {}", listed(&random)))
        } else {
            Verdict::Pass
        }
    }
}

/// More variables than these are counted, not named.
const LISTED: usize = 10;

/// `DB_PASSWORD (named-password), SESSION (json-web-token)`: each variable once, by its surest detector.
fn listed(suspicions: &[&Suspicion]) -> String {
    let mut once = suspicions.to_vec();
    once.dedup_by(|other, surest| other.name == surest.name);
    let texts: Vec<_> = once.iter().take(LISTED).map(|found| format!("{} ({})", found.name, found.rule)).collect();
    match once.len().saturating_sub(LISTED) {
        0 => texts.join(", "),
        more => format!("{} and {more} more", texts.join(", ")),
    }
}

/// Compiled patterns must stay small: a spec may hold many of them.
const PATTERN_SIZE_LIMIT: usize = 256 * 1024;

fn whole_names(field: &str, texts: &[String]) -> Result<RegexSet, InvalidParameter> {
    // Nearly always: an expression of no alternatives takes long to compile, too.
    if texts.is_empty() {
        return Ok(RegexSet::empty());
    }
    // Each alone first: `a)|(b` would be valid only between the parentheses that are put around it.
    for text in texts {
        RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build().map_err(|_| {
            let problem = format!("{text:?} is no regular expression without look-around, or too large a one");
            InvalidParameter::new(field, problem)
        })?;
    }
    let whole = texts.iter().map(|text| format!(r"\A(?:{text})\z"));
    let together = RegexSetBuilder::new(whole).size_limit(PATTERN_SIZE_LIMIT * texts.len().max(1)).build();
    together.map_err(|_| InvalidParameter::new(field, "the patterns together are too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_ID: &str = concat!("AK", "IAFAKEFAKEFAKEFAKE");
    const RANDOM_TEXT: &str = "q7RzT2mXc9LwKp4VbN8sYd3FhJ6gA5eU";

    fn rules(found: &[Suspicion]) -> Vec<(&str, Tier, &str)> {
        found.iter().map(|suspicion| (suspicion.name.as_str(), suspicion.tier, suspicion.rule)).collect()
    }

    #[test]
    fn one_suspicion_per_variable_and_tier_sorted() {
        let pem = concat!("-----BEGIN PRI", "VATE KEY-----");
        let both = format!("{pem} {KEY_ID}");
        let variables = [("ZZ", KEY_ID), ("DB_TOKEN_PASSWORD", both.as_str()), ("STAGE", "prod"), ("ZZ", pem)];
        let found = suspicions(variables.into_iter());
        assert_eq!(
            rules(&found),
            [
                ("DB_TOKEN_PASSWORD", Tier::Certain, "aws-access-key-id"),
                ("DB_TOKEN_PASSWORD", Tier::Named, "named-password"),
                ("ZZ", Tier::Certain, "aws-access-key-id"),
            ]
        );
        assert!(found.iter().all(|suspicion| suspicion.severity == Severity::Critical));
    }

    #[test]
    fn detectors_and_allowed_names_decide_what_is_heard() {
        let variables = [("APP", KEY_ID), ("BLOB", RANDOM_TEXT), ("TEST_PASSWORD", "hunter22")];
        let found = suspicions(variables.into_iter());
        let names = |detectors, allowed: &[&str]| {
            let allowed: Vec<_> = allowed.iter().map(|&text| text.to_owned()).collect();
            let filter = Filter::new("environment.allowNames", detectors, &allowed).unwrap();
            filter.apply(&found).map(|suspicion| suspicion.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names(Detectors::Certain, &[]), ["APP"]);
        assert_eq!(names(Detectors::default(), &[]), ["APP", "TEST_PASSWORD"]);
        assert_eq!(names(Detectors::Entropy, &[]), ["APP", "BLOB", "TEST_PASSWORD"]);
        assert_eq!(names(Detectors::Named, &["TEST_.*", "AP"]), ["APP"]);
        assert_eq!(names(Detectors::Named, &["A|TEST", "B|.*P"]), ["TEST_PASSWORD"]);
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_named() {
        for text in ["(?=a)", "a)|(b", "(?x)a #"] {
            let problem = Filter::new("environment.allowNames", Detectors::Named, &[text.to_owned()]).unwrap_err();
            assert_eq!(problem.field, "environment.allowNames");
        }
    }

    #[test]
    fn randomness_alone_is_unknown() {
        let verdict = |variables: &[(&str, &str)], detectors| {
            let filter = Filter::new("environment.allowNames", detectors, &[]).unwrap();
            filter.verdict(&suspicions(variables.iter().copied()))
        };
        let random = ("BLOB", RANDOM_TEXT);
        assert_eq!(verdict(&[random], Detectors::Named), Verdict::Pass);
        let Verdict::Unknown { why } = verdict(&[random], Detectors::Entropy) else { panic!("not unknown") };
        assert_eq!(why, "review: random values that may be credentials in BLOB (random-base64)");
        let Verdict::Fail { actual, .. } = verdict(&[random, ("A_TOKEN", KEY_ID)], Detectors::Entropy) else {
            panic!("not failed")
        };
        assert_eq!(actual, "A_TOKEN (aws-access-key-id)");
    }

    #[test]
    fn many_variables_are_counted() {
        let names: Vec<_> = (0..12).map(|number| format!("PASSWORD_{number:02}")).collect();
        let found = suspicions(names.iter().map(|name| (name.as_str(), "hunter22")));
        let filter = Filter::new("environment.allowNames", Detectors::Named, &[]).unwrap();
        let Verdict::Fail { actual, .. } = filter.verdict(&found) else { panic!("not failed") };
        assert!(actual.ends_with("PASSWORD_09 (named-password) and 2 more"), "{actual}");
    }
}
