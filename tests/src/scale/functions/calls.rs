//! What the calls of Lambda tell: the pages of each listing, and how fast the rest came.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::emulator::Call;
use crate::scale::rest::{Counts, count, is_write};

/// What lists all functions, and what their tags.
pub(super) const LISTS: [&str; 2] = ["ListFunctions", "GetResources"];

/// It has a rate of its own.
const GET_POLICY: &str = "GetPolicy";

/// The calls of each list in one sweep: all sweeps that the calls hold whole must be alike.
pub(super) fn listings(calls: &[Call]) -> Result<Counts> {
    let mut each = Counts::new();
    for operation in LISTS {
        let pages = pages(calls, operation);
        let first = pages.first().with_context(|| format!("no whole sweep has called {operation}"))?;
        ensure!(pages.iter().all(|other| other == first), "{operation} has {pages:?} pages: sweeps are not alike");
        each.insert(operation.to_owned(), *first);
    }
    Ok(each)
}

/// The pages of each listing that begins and is over among the calls: another one has begun after it.
fn pages(calls: &[Call], operation: &str) -> Vec<u64> {
    let mut pages = Vec::new();
    for call in calls.iter().filter(|call| call.operation() == operation) {
        match (is_first(call), pages.last_mut()) {
            (true, _) => pages.push(1),
            (false, Some(last)) => *last += 1,
            (false, None) => {}
        }
    }
    pages.pop();
    pages
}

fn is_first(call: &Call) -> bool {
    let token = |name: &str| call.parameters.get(name).and_then(|token| token.as_str()).unwrap_or_default();
    token("Marker").is_empty() && token("PaginationToken").is_empty()
}

/// What reads function by function came to in some seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Deep {
    /// By operation.
    #[serde(rename = "deep_calls")]
    pub(super) calls: Counts,
    /// Those that share the rate of the control plane, in a second.
    #[serde(rename = "deep_calls_per_second")]
    pub(super) per_second: f64,
    /// Those that have one of their own.
    #[serde(rename = "policies_per_second")]
    pub(super) policies_per_second: f64,
}

impl Deep {
    pub(super) fn of(calls: &[Call], seconds: f64) -> Self {
        let is_deep = |call: &&Call| is_lambda(call) && !LISTS.contains(&call.operation()) && !is_write(call);
        let calls = count(calls.iter().filter(is_deep));
        let policies = calls.get(GET_POLICY).copied().unwrap_or_default();
        let others = calls.values().sum::<u64>() - policies;
        Self { calls, per_second: others as f64 / seconds, policies_per_second: policies as f64 / seconds }
    }
}

fn is_lambda(call: &Call) -> bool {
    call.service.as_deref() == Some("lambda")
}

/// The most calls that shared the rate of the control plane within any second, and the most for policies.
pub(super) fn busiest(calls: &[Call]) -> (u64, u64) {
    let (policies, others): (Vec<&Call>, _) =
        calls.iter().filter(|call| is_lambda(call)).partition(|call| call.operation() == GET_POLICY);
    (most_in_a_second(&others), most_in_a_second(&policies))
}

fn most_in_a_second(calls: &[&Call]) -> u64 {
    let mut times: Vec<f64> = calls.iter().map(|call| call.time).collect();
    times.sort_by(f64::total_cmp);
    let within = |(first, begin): (usize, &f64)| times.partition_point(|time| *time < begin + 1.0) - first;
    times.iter().enumerate().map(within).max().unwrap_or_default() as u64
}

/// Calls of Lambda that share the rate of the control plane, in a second between the first and the last.
pub(super) fn control_plane_per_second(calls: &[Call]) -> f64 {
    let times = calls.iter().filter(|call| is_lambda(call) && call.operation() != GET_POLICY).map(|call| call.time);
    let (first, last, number) = times
        .fold((f64::MAX, f64::MIN, 0_u32), |(first, last, number), time| (first.min(time), last.max(time), number + 1));
    if number < 2 { 0.0 } else { f64::from(number) / (last - first) }
}

/// The writes that each function got.
pub(super) fn writes_of_functions(calls: &[Call]) -> BTreeMap<&str, Vec<&Call>> {
    let mut of_function: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for write in calls.iter().filter(|call| is_lambda(call) && is_write(call)) {
        let name = write.parameters.get("FunctionName").and_then(|name| name.as_str()).unwrap_or_default();
        of_function.entry(name).or_default().push(write);
    }
    of_function
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call(time: f64, operation: &str, parameters: Value) -> Call {
        let service = if operation == "GetResources" { "tagging" } else { "lambda" };
        let call = json!({
            "seq": 1, "time": time, "service": service, "operation": operation, "parameters": parameters, "effect": false,
        });
        serde_json::from_value(call).unwrap()
    }

    fn page(operation: &str, token: &str) -> Call {
        let name = if operation == "GetResources" { "PaginationToken" } else { "Marker" };
        call(1.0, operation, if token.is_empty() { json!({}) } else { json!({ name: token }) })
    }

    #[test]
    fn whole_listings_are_counted_and_must_be_alike() -> Result<()> {
        let functions = ["b", "", "a", "b", "", "a", "b", ""].map(|token| page("ListFunctions", token));
        let tags = ["", "a", "", "a", ""].map(|token| page("GetResources", token));
        let calls = [functions.as_slice(), &tags].concat();
        let expected = Counts::from([("ListFunctions".to_owned(), 3), ("GetResources".to_owned(), 2)]);
        assert_eq!(listings(&calls)?, expected);
        assert!(listings(&functions).is_err(), "no tags");
        let unlike = [calls.as_slice(), &[page("ListFunctions", "a"), page("ListFunctions", "")]].concat();
        assert!(listings(&unlike).is_err());
        Ok(())
    }

    #[test]
    fn what_is_read_function_by_function_has_two_rates() {
        let calls = [
            page("ListFunctions", ""),
            call(1.0, "ListAliases", json!({})),
            call(1.5, "GetPolicy", json!({})),
            call(1.9, "ListFunctionUrlConfigs", json!({})),
            call(2.5, "ListAliases", json!({})),
            call(2.6, "UpdateFunctionConfiguration", json!({"FunctionName": "a"})),
        ];
        let deep = Deep::of(&calls, 2.0);
        assert_eq!((deep.per_second, deep.policies_per_second), (1.5, 0.5));
        assert_eq!(deep.calls.get("ListAliases"), Some(&2));
        assert_eq!(busiest(&calls), (3, 1));
        assert_eq!(writes_of_functions(&calls)["a"].len(), 1);
        assert!((control_plane_per_second(&calls) - 5.0 / 1.6).abs() < 1e-9);
        assert_eq!(control_plane_per_second(&[]), 0.0);
    }
}
