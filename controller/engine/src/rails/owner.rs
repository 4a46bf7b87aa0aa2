//! Who owns a group so that nobody else may write it.

use crate::edit::Withheld;
use crate::facts::{Location, SecurityGroup};

/// Tag keys by which a service of AWS or a controller in a cluster marks the groups that it manages; a trailing `*`
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

/// Who owns a group so that it is not to be written, whatever the baselines say.
pub(super) fn owner(group: &SecurityGroup, location: &Location) -> Option<Withheld> {
    if group.owner != location.account {
        return Some(Withheld::OwnedByOtherAccount(group.owner.clone()));
    }
    service(group).map(Withheld::ManagedByService)
}

fn service(group: &SecurityGroup) -> Option<String> {
    let by_name = SERVICE_NAMES
        .iter()
        .find(|(prefix, _)| group.name.starts_with(prefix))
        .map(|(_, service)| (*service).to_owned());
    let marks = |(key, value): &(&String, &String)| {
        SERVICE_TAGS.iter().any(|pattern| match pattern.strip_suffix('*') {
            // A cluster that merely uses a group tags it `shared`.
            Some(prefix) if prefix == "kubernetes.io/cluster/" => key.starts_with(prefix) && *value == "owned",
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    };
    by_name.or_else(|| group.tags.iter().find(marks).map(|(key, _)| format!("tag {key}")))
}
