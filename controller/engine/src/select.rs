//! Which resources a baseline or a grant is about: globs, compiled once and asked many times.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::controls::InvalidParameter;
use crate::facts::{Resource, Tags};
use crate::spec::{Match, Select};

/// A compiled [`Select`].
#[derive(Clone, Debug)]
pub struct Selection {
    matches: Criteria,
    exclude: Option<Criteria>,
}

/// A compiled [`Match`]. Without any list it matches everything.
#[derive(Clone, Debug)]
pub(crate) struct Criteria {
    tags: Vec<TagGlob>,
    names: Option<Globs>,
    arns: Option<Globs>,
    vpc_ids: Option<Globs>,
}

/// Globs that are alternatives, compared by their texts. An empty list matches nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globs {
    texts: Vec<String>,
    plain: Vec<PlainGlob>,
    others: Option<GlobSet>,
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

/// A glob without any wildcard, or with a single `*`: compared without a regular expression, since every resource is
/// held against every selection.
#[derive(Clone, Debug)]
struct PlainGlob {
    head: String,
    /// What follows the `*`.
    tail: Option<String>,
}

/// A glob on the value of one tag.
#[derive(Clone, Debug)]
pub(crate) struct TagGlob {
    pub(crate) key: String,
    value: Globs,
}

impl Selection {
    /// Compiles a selection. `field` is where it stands below `spec`.
    ///
    /// # Errors
    /// A text that is no glob; a selection that is empty (nothing empty ever means everything).
    pub fn new(field: &str, select: &Select) -> Result<Self, InvalidParameter> {
        let Select { all, tags, names, arns, vpc_ids, exclude } = select;
        let wanted = Match { tags: tags.clone(), names: names.clone(), arns: arns.clone(), vpc_ids: vpc_ids.clone() };
        if (*all == Some(true)) != (wanted == Match::default()) {
            return Err(InvalidParameter::new(
                field,
                "write either all: true or at least one of tags, names, arns, vpcIds",
            ));
        }
        let exclude = exclude.as_ref().filter(|exclude| **exclude != Match::default());
        Ok(Self {
            matches: Criteria::new(field, &wanted)?,
            exclude: exclude.map(|exclude| Criteria::new(&format!("{field}.exclude"), exclude)).transpose()?,
        })
    }

    /// Whether a resource is selected.
    pub fn matches(&self, resource: Resource<'_>) -> bool {
        self.matches.matches(resource) && !self.excludes(resource)
    }

    /// Whether the whole VPC of a resource is selected, so that its default group is in scope of the controls on default groups.
    pub fn matches_vpc(&self, resource: Resource<'_>) -> bool {
        let by_vpc = self.matches.vpc_ids.as_ref().is_some_and(|vpc_ids| vpc_ids.is_match(resource.vpc));
        by_vpc && !self.excludes(resource)
    }

    fn excludes(&self, resource: Resource<'_>) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| exclude.matches(resource))
    }
}

impl Criteria {
    pub(crate) fn new(field: &str, wanted: &Match) -> Result<Self, InvalidParameter> {
        let Match { tags, names, arns, vpc_ids } = wanted;
        Ok(Self {
            tags: tag_globs(&format!("{field}.tags"), tags)?,
            names: globs(&format!("{field}.names"), names)?,
            arns: globs(&format!("{field}.arns"), arns)?,
            vpc_ids: globs(&format!("{field}.vpcIds"), vpc_ids)?,
        })
    }

    pub(crate) fn matches(&self, resource: Resource<'_>) -> bool {
        let listed = |globs: &Option<Globs>, text: &str| globs.as_ref().is_none_or(|globs| globs.is_match(text));
        tags_match(&self.tags, resource.tags)
            && listed(&self.names, resource.name)
            && listed(&self.vpc_ids, resource.vpc)
            && self.arns.as_ref().is_none_or(|globs| globs.is_match(&resource.arn()))
    }
}

/// Globs on the values of tags, all of which must match.
pub(crate) fn tag_globs(field: &str, tags: &BTreeMap<String, String>) -> Result<Vec<TagGlob>, InvalidParameter> {
    let compile = |(key, value): (&String, &String)| {
        Ok(TagGlob { key: key.clone(), value: Globs::new(field, std::slice::from_ref(value))? })
    };
    tags.iter().map(compile).collect()
}

/// Whether a resource has all of the tags.
pub(crate) fn tags_match(globs: &[TagGlob], tags: &Tags) -> bool {
    globs.iter().all(|glob| tags.get(&glob.key).is_some_and(|value| glob.value.is_match(value)))
}

fn globs(field: &str, texts: &[String]) -> Result<Option<Globs>, InvalidParameter> {
    if texts.is_empty() {
        return Ok(None);
    }
    Globs::new(field, texts).map(Some)
}

impl Globs {
    /// `field` is where they stand below `spec`.
    pub(crate) fn new(field: &str, texts: &[String]) -> Result<Self, InvalidParameter> {
        let (mut plain, mut others) = (Vec::new(), GlobSetBuilder::new());
        for text in texts {
            match PlainGlob::new(text) {
                Some(glob) => plain.push(glob),
                None => {
                    others.add(glob(field, text)?);
                }
            }
        }
        let others = others.build().map_err(|problem| InvalidParameter::new(field, problem))?;
        Ok(Self { texts: texts.to_vec(), plain, others: (!others.is_empty()).then_some(others) })
    }

    /// Whether one of them matches.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.plain.iter().any(|glob| glob.is_match(text))
            || self.others.as_ref().is_some_and(|globs| globs.is_match(text))
    }
}

impl PlainGlob {
    fn new(text: &str) -> Option<Self> {
        let (head, tail) = match text.split_once('*') {
            Some((head, tail)) => (head, Some(tail)),
            None => (text, None),
        };
        let special = |text: &str| text.contains(['*', '?', '[', ']', '{', '}', '\\']);
        (!special(head) && !tail.is_some_and(special))
            .then(|| Self { head: head.to_owned(), tail: tail.map(str::to_owned) })
    }

    fn is_match(&self, text: &str) -> bool {
        match &self.tail {
            None => text == self.head,
            Some(tail) => text.strip_prefix(self.head.as_str()).is_some_and(|rest| rest.ends_with(tail.as_str())),
        }
    }
}

fn glob(field: &str, text: &str) -> Result<globset::Glob, InvalidParameter> {
    // A `*` matches any character, also a slash: names, ARNs and tag values are no paths.
    let glob = GlobBuilder::new(text).literal_separator(false).build();
    glob.map_err(|problem| InvalidParameter::new(field, format!("{text:?} is no glob: {}", problem.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Location, ResourceType};

    fn select(yaml: serde_json::Value) -> Selection {
        Selection::new("select", &serde_json::from_value(yaml).unwrap()).unwrap()
    }

    fn matches(selection: &Selection, name: &str, tags: &[(&str, &str)], vpc: &str) -> bool {
        let tags: Tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let location = Location { account: "1".to_owned(), region: "eu-west-1".to_owned() };
        let resource_type = ResourceType::SecurityGroup;
        let (id, owner, tags, location) = ("sg-1", "1", &tags, &location);
        selection.matches(Resource { resource_type, id, name, owner, vpc, tags, location })
    }

    #[test]
    fn different_lists_must_all_match_and_exclude_wins() {
        let selection = select(serde_json::json!({
            "tags": {"tier": "edge*"}, "vpcIds": ["vpc-1", "vpc-2"], "exclude": {"names": ["legacy-*"]}
        }));
        assert!(matches(&selection, "web", &[("tier", "edge-a")], "vpc-2"));
        assert!(!matches(&selection, "web", &[("tier", "core")], "vpc-2"));
        assert!(!matches(&selection, "web", &[("tier", "edge")], "vpc-3"));
        assert!(!matches(&selection, "legacy-web", &[("tier", "edge")], "vpc-1"));
    }

    #[test]
    fn an_empty_selection_is_refused() {
        assert!(Selection::new("select", &Select::default()).is_err());
        let both = Select { all: Some(true), names: vec!["a".to_owned()], ..Select::default() };
        assert!(Selection::new("select", &both).is_err());
    }

    #[test]
    fn a_malformed_glob_names_its_field() {
        let select = Select { names: vec!["[a".to_owned()], ..Select::default() };
        assert!(Selection::new("select", &select).unwrap_err().to_string().starts_with("spec.select.names: "));
    }

    #[test]
    fn no_globs_on_names_match_nothing() {
        let names = |texts: &[&str]| {
            Globs::new("urls.allowFunctions", &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert!(!names(&[]).is_match("web"));
        assert!(names(&["api-*", "w?b"]).is_match("web"));
        assert_eq!(names(&["web"]), names(&["web"]));
        assert_ne!(names(&["web"]), names(&[]));
    }

    #[test]
    fn globs_that_are_compared_as_text_match_what_their_patterns_match() {
        for text in ["", "*", "edge", "edge*", "*edge", "ed*ge", "e.g*", "a/*", "-*-"] {
            let pattern = glob("select", text).unwrap().compile_matcher();
            let plain = PlainGlob::new(text).unwrap();
            for name in
                ["", "edge", "edge-1", "my-edge", "edXge", "e", "ede", "eXge", "e.g.", "a/b/c", "-", "--", "-x-"]
            {
                assert_eq!(plain.is_match(name), pattern.is_match(name), "{text:?} on {name:?}");
            }
        }
        for text in ["a?", "[ab]", "{a,b}", "a**", "*a*", "a\\*"] {
            assert!(PlainGlob::new(text).is_none(), "{text:?}");
        }
    }
}
