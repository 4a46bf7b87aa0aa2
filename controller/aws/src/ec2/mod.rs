//! EC2: a file per source of the inventory, and the reads and writes around a change.

pub mod live;
pub mod network_interfaces;
pub mod prefix_lists;
mod rules;
pub mod security_groups;
pub mod subnets;
pub mod write;

use aws_sdk_ec2::types::{Filter, Tag};
use engine::facts::Tags;

/// The most values that a filter of EC2 takes (`Filter`).
const FILTER_VALUES: usize = 200;
/// The largest page of security groups, rules and interfaces (`MaxResults`).
const PAGE: i32 = 1_000;

fn filter(name: &str, values: &[String]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.to_vec())).build()
}

fn tags(given: Option<Vec<Tag>>) -> Tags {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    given.unwrap_or_default().into_iter().filter_map(pair).collect()
}

fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}
