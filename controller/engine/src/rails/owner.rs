//! Who owns a resource so that nobody else may write it.

use crate::edit::Withheld;
use crate::facts::{Resource, ResourceType};

/// Tag keys by which a service of AWS or a controller in a cluster marks what it manages; a trailing `*`
/// stands for any rest (control catalogue, part 2, item 6).
const SERVICE_TAGS: [&str; 7] = [
    "elbv2.k8s.aws/cluster",
    "aws:eks:cluster-name",
    "karpenter.sh/*",
    "GuardDutyManaged",
    "aws:elasticmapreduce:*",
    "elasticbeanstalk:*",
    "kubernetes.io/cluster/*",
];

/// Name prefixes of groups that services make without such a tag.
const SERVICE_NAMES: [(&str, &str); 4] = [
    ("eks-cluster-sg-", "Amazon EKS"),
    ("FMManagedSecurityGroup", "AWS Firewall Manager"),
    ("ElasticMapReduce-", "Amazon EMR"),
    ("GuardDutyManagedSecurityGroup-", "Amazon GuardDuty"),
];

/// Who owns a resource so that it is not to be written, whatever the baselines say.
pub(super) fn owner(resource: Resource<'_>) -> Option<Withheld> {
    if resource.owner != resource.location.account {
        return Some(Withheld::OwnedByOtherAccount(resource.owner.to_owned()));
    }
    service(resource).map(Withheld::ManagedByService)
}

fn service(resource: Resource<'_>) -> Option<String> {
    let names = match resource.resource_type {
        ResourceType::SecurityGroup => SERVICE_NAMES.as_slice(),
        ResourceType::Function | ResourceType::LayerVersion | ResourceType::LambdaAccount => &[],
    };
    let by_name =
        names.iter().find(|(prefix, _)| resource.name.starts_with(prefix)).map(|(_, service)| (*service).to_owned());
    let marks = |(key, value): &(&String, &String)| {
        SERVICE_TAGS.iter().any(|pattern| match pattern.strip_suffix('*') {
            // A cluster that merely uses a group tags it `shared`.
            Some(prefix) if prefix == "kubernetes.io/cluster/" => key.starts_with(prefix) && *value == "owned",
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    };
    by_name.or_else(|| resource.tags.iter().find(marks).map(|(key, _)| format!("tag {key}")))
}
