//! Whether a policy lets a request through, worked out from the JSON as the documentation of IAM describes it
//! ("Policy evaluation logic"), and nothing of the module under test.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::*;

/// Somebody who asks for something. Keys of the context are in lower case.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The type of the principal as policies write it, and who it is; `None` is anonymous.
    pub(super) principal: Option<(&'static str, &'static str)>,
    pub(super) action: &'static str,
    pub(super) resource: &'static str,
    pub(super) context: BTreeMap<String, &'static str>,
}

impl Request {
    /// Whether a policy document lets it through.
    pub(super) fn passes(&self, document: &Value) -> bool {
        let statements = document["Statement"].as_array().unwrap();
        let any = |effect: &str| statements.iter().any(|it| it["Effect"] == effect && self.matches(it));
        any("Allow") && !any("Deny")
    }

    pub(super) fn matches(&self, statement: &Value) -> bool {
        let action = |pattern: &str| glob(&pattern.to_lowercase(), &self.action.to_lowercase());
        let resource = |pattern: &str| glob(pattern, self.resource);
        let select = |name: &str, inverse: &str, holds: &dyn Fn(&str) -> bool| match statement.get(inverse) {
            Some(names) => !list(names).iter().any(|name| holds(name)),
            None => statement.get(name).is_none_or(|names| list(names).iter().any(|name| holds(name))),
        };
        let principal = match statement.get("NotPrincipal") {
            Some(principal) => !self.is_one_of(principal),
            None => self.is_one_of(&statement["Principal"]),
        };
        principal
            && select("Action", "NotAction", &action)
            && select("Resource", "NotResource", &resource)
            && statement.get("Condition").is_none_or(|condition| self.meets(condition))
    }

    fn is_one_of(&self, principal: &Value) -> bool {
        let Some(types) = principal.as_object() else { return true };
        types.iter().any(|(of, names)| list(names).iter().any(|name| self.is(of, name)))
    }

    fn is(&self, of: &str, name: &str) -> bool {
        match self.principal {
            _ if of == "AWS" && name == "*" => true,
            Some((mine, arn)) if mine == of && of == "AWS" => {
                let root = format!("arn:aws:iam::{}:root", arn.split(':').nth(4).unwrap());
                glob(name, arn) || glob(name, &root) || root == format!("arn:aws:iam::{name}:root")
            }
            Some((mine, me)) => mine == of && glob(name, me),
            None => false,
        }
    }

    fn meets(&self, condition: &Value) -> bool {
        let mut tests = condition.as_object().unwrap().iter().flat_map(|(operator, keys)| {
            keys.as_object().unwrap().iter().map(move |(key, values)| (operator, key, list(values)))
        });
        tests.all(|(operator, key, values)| self.meets_one(&operator.to_lowercase(), &key.to_lowercase(), &values))
    }

    fn meets_one(&self, operator: &str, key: &str, values: &[String]) -> bool {
        let value = self.context.get(key).copied();
        if operator == "null" {
            return values.iter().any(|absent| (absent == "true") == value.is_none());
        }
        let (for_all, operator) = match operator.split_once(':') {
            Some((qualifier, operator)) => (qualifier == "forallvalues", operator),
            None => (false, operator),
        };
        let (if_exists, operator) = match operator.strip_suffix("ifexists") {
            Some(operator) => (true, operator),
            None => (false, operator),
        };
        let negative = operator.contains("not");
        let Some(value) = value else { return for_all || if_exists || negative };
        negative != values.iter().any(|expected| holds(&operator.replace("not", ""), expected, value))
    }
}

fn holds(operator: &str, expected: &str, value: &str) -> bool {
    match operator {
        "stringlike" | "arnlike" | "arnequals" => glob(expected, value),
        "stringequalsignorecase" => expected.to_lowercase() == value.to_lowercase(),
        "ipaddress" => {
            let network = expected.parse().or_else(|_| expected.parse::<IpAddr>().map(IpNet::from));
            network.is_ok_and(|network| value.parse::<IpAddr>().is_ok_and(|address| network.contains(&address)))
        }
        _ => expected == value,
    }
}

fn list(values: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.as_array().map_or_else(|| vec![text(values)], |values| values.iter().map(text).collect())
}

fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => glob(rest.as_str(), text) || (!text.is_empty() && glob(pattern, &text[1..])),
        Some(letter) => {
            let mut text = text.chars();
            text.next().is_some_and(|first| letter == '?' || letter == first) && glob(rest.as_str(), text.as_str())
        }
    }
}
