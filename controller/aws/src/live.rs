//! The read right before and after a write, whatever the resource is.

use std::collections::{BTreeMap, BTreeSet};

use engine::edit::Edit;
use engine::facts::{Live, ResourceType};
use engine::plan::Target;
use engine::property::Property;
use engine::sequence::properties;
use jiff::Timestamp;

use crate::connection::Connection;
use crate::error::AwsError;
use crate::{ec2, lambda};

/// A resource that is to be read, and the properties that matter.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it is.
    pub resource_type: ResourceType,
    /// Its id.
    pub id: &'a str,
    /// What edits of it change; of security groups everything is read.
    pub properties: &'a BTreeSet<Property>,
    /// Whether all its tags matter, by which it was selected, exempt or owned: a security group is never read without.
    pub with_tags: bool,
}

/// The properties that some edits change.
pub fn properties_of<'e>(edits: impl IntoIterator<Item = &'e Edit>) -> BTreeSet<Property> {
    edits.into_iter().flat_map(properties::changes).map(|change| change.property.clone()).collect()
}

impl<'a> Wanted<'a> {
    /// Whether it is read together with others of its kind, by one call.
    pub fn is_of_a_batch(&self) -> bool {
        self.resource_type == ResourceType::SecurityGroup
    }

    /// A resource of which some properties are being changed.
    pub fn new(target: &'a Target, properties: &'a BTreeSet<Property>) -> Self {
        Self { resource_type: target.resource_type, id: &target.id, properties, with_tags: false }
    }

    /// The same with its tags, before it is changed.
    #[must_use]
    pub fn with_tags(self) -> Self {
        Self { with_tags: true, ..self }
    }
}

/// Some resources of one kind as they are now, by id. One that is absent from the answer was not found by this read, which
/// alone does not prove that it was deleted.
///
/// # Errors
/// Any failure of any call: there is no partial answer.
pub async fn read_live(
    connection: &Connection,
    wanted: &[Wanted<'_>],
    now: impl Fn() -> Timestamp,
) -> Result<BTreeMap<String, Live>, AwsError> {
    let groups: Vec<String> =
        wanted.iter().filter(|wanted| wanted.is_of_a_batch()).map(|wanted| wanted.id.to_owned()).collect();
    let mut found = BTreeMap::new();
    if !groups.is_empty() {
        let live = ec2::live::read_live(connection, &groups, &now).await?;
        found.extend(live.into_iter().map(|(id, group)| (id, Live::Group(group))));
    }
    for wanted in wanted.iter().filter(|wanted| !wanted.is_of_a_batch()) {
        if let Some(live) = lambda::live::read(connection, wanted, &now).await? {
            found.insert(wanted.id.to_owned(), Live::Function(live));
        }
    }
    Ok(found)
}
