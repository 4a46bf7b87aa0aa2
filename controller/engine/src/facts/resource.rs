//! A resource as everything but its own controls looks at it: who it is, whatever it is.

use super::{Location, Tags};

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `AWS::EC2::SecurityGroup`; its id is `sg-…`.
    SecurityGroup,
    /// `AWS::Lambda::Function`; its id is its name, unique in an account and region.
    Function,
    /// `AWS::Lambda::LayerVersion`; its id is `layer:NAME:VERSION`.
    LayerVersion,
    /// What Lambda says about the account in the region; its id is `account-settings`.
    LambdaAccount,
}

/// A resource as selections, exemptions and the rails look at it.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// What it is.
    pub resource_type: ResourceType,
    /// By this it is named in findings and change sets, unique in its cell.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The account that owns it.
    pub owner: &'a str,
    /// The VPC that it is in, empty if it is in none.
    pub vpc: &'a str,
    /// Its tags.
    pub tags: &'a Tags,
    /// Where it is.
    pub location: &'a Location,
}

static NO_TAGS: Tags = Tags::new();

impl<'a> Resource<'a> {
    /// The version of a layer of the account that an id names, whether it was listed or not.
    pub fn layer_version(id: &'a str, location: &'a Location) -> Option<Self> {
        let (name, _) = id.strip_prefix("layer:")?.rsplit_once(':')?;
        let (resource_type, owner) = (ResourceType::LayerVersion, location.account.as_str());
        Some(Self { resource_type, id, name, owner, vpc: "", tags: &NO_TAGS, location })
    }

    /// Whether it is the default group of a VPC.
    pub fn is_default_group(&self) -> bool {
        self.resource_type == ResourceType::SecurityGroup && self.name == super::ec2::DEFAULT_GROUP
    }

    /// The ARN (IAM service authorization reference). Most resources are never asked for it, so it is not kept.
    pub fn arn(&self) -> String {
        let Self { resource_type, id, owner, location, .. } = self;
        let (service, resource) = match resource_type {
            ResourceType::SecurityGroup => ("ec2", format!("security-group/{id}")),
            ResourceType::Function => ("lambda", format!("function:{id}")),
            ResourceType::LayerVersion | ResourceType::LambdaAccount => ("lambda", (*id).to_owned()),
        };
        format!("arn:{}:{service}:{}:{owner}:{resource}", location.partition(), location.region)
    }
}
