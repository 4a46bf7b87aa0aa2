//! Statements as `AddPermission` writes them: what of a resource policy can be made again by its parts.

use serde_json::{Map, Value};

use crate::property::Json;

/// The parts of a statement, as `AddPermission` and `AddLayerVersionPermission` take them (Lambda API reference).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// `StatementId`.
    pub sid: String,
    /// `Action`.
    pub action: String,
    /// `Principal`: a service, the ARN of an account, role or user, or `*`.
    pub principal: String,
    /// `SourceArn`.
    pub source_arn: Option<String>,
    /// `SourceAccount`.
    pub source_account: Option<String>,
    /// `PrincipalOrgID`, or `OrganizationId` of a layer.
    pub organization: Option<String>,
    /// `FunctionUrlAuthType`.
    pub url_auth: Option<String>,
    /// `InvokedViaFunctionUrl`.
    pub via_url: Option<bool>,
}

impl Permission {
    /// The parts of a statement, if it has no others and the API takes them all. One with an event source token has others:
    /// that is a secret, which is kept nowhere, so such a statement is never taken away.
    pub fn of(statement: &Value) -> Option<Self> {
        let statement = normal(statement);
        let members = statement.as_object()?;
        let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
        if members.keys().any(|key| !known.contains(&key.as_str())) || members.get("Effect")? != "Allow" {
            return None;
        }
        // The API writes the ARN of what the policy is of, and nothing else.
        let is_whole = |resource: &str| resource.starts_with("arn:") && !resource.contains(['*', '?', '$']);
        members.get("Resource").and_then(Value::as_str).filter(|resource| is_whole(resource))?;
        let mut permission = Self {
            sid: text(members.get("Sid")?)?,
            action: text(members.get("Action")?)?,
            principal: principal(members.get("Principal")?)?,
            ..Self::default()
        };
        for (operator, keys) in members.get("Condition").and_then(Value::as_object).into_iter().flatten() {
            for (key, value) in keys.as_object()? {
                permission.add(operator, &key.to_ascii_lowercase(), text(value)?)?;
            }
        }
        permission.is_taken().then_some(permission)
    }

    /// Whether the API takes every part as it is (patterns of `AddPermission` in the Lambda API reference).
    fn is_taken(&self) -> bool {
        let name = self.action.strip_prefix("lambda:");
        let action = self.action == "*"
            || name.is_some_and(|name| {
                name == "*" || (!name.is_empty() && name.bytes().all(|letter| letter.is_ascii_alphabetic()))
            });
        let account = self.source_account.as_deref().is_none_or(is_account);
        let url_auth = self.url_auth.as_deref().is_none_or(|auth| ["NONE", "AWS_IAM"].contains(&auth));
        action
            && account
            && url_auth
            && is_sid(&self.sid)
            && self.source_arn.as_deref().is_none_or(is_source)
            && self.organization.as_deref().is_none_or(is_organization)
    }

    /// Whether `AddLayerVersionPermission` can say it too, which knows no condition but the organization.
    pub fn shares_a_layer(&self) -> bool {
        let Self { sid: _, action, principal, source_arn, source_account, organization: _, url_auth, via_url } = self;
        let is_root = principal.starts_with("arn:") && principal.ends_with(":root");
        action == "lambda:GetLayerVersion"
            && (principal == "*" || is_root)
            && [source_arn, source_account, url_auth].into_iter().all(Option::is_none)
            && via_url.is_none()
    }

    fn add(&mut self, operator: &str, key: &str, value: String) -> Option<()> {
        let part = match (operator, key) {
            ("ArnLike", "aws:sourcearn") => &mut self.source_arn,
            ("StringEquals", "aws:sourceaccount") => &mut self.source_account,
            ("StringEquals", "aws:principalorgid") => &mut self.organization,
            ("StringEquals", "lambda:functionurlauthtype") => &mut self.url_auth,
            ("Bool", "lambda:invokedviafunctionurl") => {
                self.via_url = Some(value.parse().ok()?);
                return Some(());
            }
            _ => return None,
        };
        *part = Some(value);
        Some(())
    }
}

/// A statement as change sets keep it: of all spellings that say the same the one in which Lambda writes statements, so that
/// one which was added again shows as what it was before.
pub fn canonical(statement: &Value) -> Json {
    Json::of(&normal(statement))
}

/// Condition keys, which IAM reads in any case, in the case that Lambda writes; `*` for every AWS principal; one value in
/// place of a list of one; truth values as texts; and no empty conditions.
fn normal(statement: &Value) -> Value {
    let mut normal = statement.clone();
    let Some(members) = normal.as_object_mut() else { return normal };
    for (element, value) in members.iter_mut() {
        match (element.as_str(), &mut *value) {
            ("Condition", Value::Object(operators)) => {
                for keys in operators.values_mut().filter_map(Value::as_object_mut) {
                    *keys = std::mem::take(keys).into_iter().map(one_condition).collect::<Map<_, _>>();
                }
                operators.retain(|_, keys| keys.as_object().is_none_or(|keys| !keys.is_empty()));
            }
            ("Principal", Value::Object(types)) => {
                types.values_mut().for_each(unlisted);
                if types.len() == 1 && types.get("AWS").is_some_and(|who| who == "*") {
                    *value = Value::from("*");
                }
            }
            _ => unlisted(value),
        }
    }
    if members.get("Condition").and_then(Value::as_object).is_some_and(Map::is_empty) {
        members.remove("Condition");
    }
    normal
}

fn one_condition((key, mut value): (String, Value)) -> (String, Value) {
    unlisted(&mut value);
    let value = match value {
        Value::Bool(flag) => Value::from(flag.to_string()),
        value => value,
    };
    (spelled(&key), value)
}

/// The only one of a list.
fn unlisted(value: &mut Value) {
    if let Value::Array(values) = value
        && values.len() == 1
        && let Some(only) = values.pop()
    {
        *value = only;
    }
}

/// Whether a statement is bound to a token of an event source, which is a secret.
pub fn has_token(statement: &Value) -> bool {
    let condition = statement.get("Condition").and_then(Value::as_object);
    let mut keys = condition.into_iter().flat_map(|condition| condition.values()).filter_map(Value::as_object);
    keys.any(|keys| keys.keys().any(|key| key.eq_ignore_ascii_case("lambda:EventSourceToken")))
}

fn spelled(key: &str) -> String {
    const SPELLINGS: [&str; 5] = [
        "AWS:SourceArn",
        "AWS:SourceAccount",
        "aws:PrincipalOrgID",
        "lambda:FunctionUrlAuthType",
        "lambda:InvokedViaFunctionUrl",
    ];
    SPELLINGS.into_iter().find(|known| known.eq_ignore_ascii_case(key)).unwrap_or(key).to_owned()
}

fn principal(value: &Value) -> Option<String> {
    match value {
        Value::String(all) if all == "*" => Some(all.clone()),
        Value::Object(members) if members.len() == 1 => {
            let (kind, value) = members.iter().next()?;
            let principal = text(value)?;
            // The API takes the text alone: what it does not say by itself would come back as somebody else.
            let is_told = match kind.as_str() {
                "Service" => principal.ends_with(".amazonaws.com") || principal.ends_with(".amazonaws.com.cn"),
                "AWS" => principal.starts_with("arn:"),
                _ => false,
            };
            is_told.then_some(principal)
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `StatementId`.
fn is_sid(text: &str) -> bool {
    let is_part = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
    (1..=100).contains(&text.len()) && text.bytes().all(is_part)
}

/// Twelve digits.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// `SourceArn`: region and account are whole, or left out.
fn is_source(text: &str) -> bool {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let is_plain = |field: &str| field.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
    match fields.as_slice() {
        ["arn", partition, service, region, account, _] => {
            partition.starts_with("aws")
                && !service.is_empty()
                && [partition, service, region].into_iter().all(|field| is_plain(field))
                && (account.is_empty() || is_account(account))
        }
        _ => false,
    }
}

/// `PrincipalOrgID`, and `OrganizationId` of a layer.
fn is_organization(text: &str) -> bool {
    let is_part = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let id = text.strip_prefix("o-");
    id.is_some_and(|id| (10..=32).contains(&id.len()) && id.bytes().all(is_part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(condition: &Value) -> Value {
        json!({
            "Sid": "s", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction",
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:f", "Condition": condition,
        })
    }

    #[test]
    fn what_add_permission_can_say_has_parts_and_nothing_else_has() {
        let parts = Permission::of(&statement(&json!({
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}, "StringEquals": {"AWS:SourceAccount": "111122223333"}
        })));
        let parts = parts.unwrap();
        assert_eq!(
            (parts.principal.as_str(), parts.source_arn.as_deref()),
            ("s3.amazonaws.com", Some("arn:aws:s3:::b"))
        );
        assert_eq!(parts.source_account.as_deref(), Some("111122223333"));
        for other in [
            json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
            json!({"StringEquals": {"lambda:EventSourceToken": "t"}}),
            json!({"StringLike": {"aws:SourceAccount": "111122223333"}}),
            json!({"StringEquals": {"aws:SourceAccount": ["1", "2"]}}),
            json!({"StringEquals": {"aws:SourceAccount": "*"}}),
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:*"}}),
            json!({"StringEquals": {"aws:PrincipalOrgID": "o-*"}}),
            json!({"StringEquals": {"lambda:FunctionUrlAuthType": "OTHER"}}),
        ] {
            assert_eq!(Permission::of(&statement(&other)), None, "{other}");
        }
        assert!(has_token(&statement(&json!({"StringEquals": {"Lambda:eventsourcetoken": "t"}}))));
    }

    #[test]
    fn keys_of_any_case_are_the_same_statement() {
        let of = |key: &str| canonical(&statement(&json!({"StringEquals": {key: "1"}})));
        assert_eq!(of("aws:sourceaccount"), of("AWS:SourceAccount"));
    }

    fn with(element: &str, value: Value) -> Value {
        let mut statement = statement(&json!({}));
        statement[element] = value;
        statement
    }

    #[test]
    fn what_the_api_refuses_has_no_parts() {
        assert!(Permission::of(&with("Action", json!("lambda:*"))).is_some());
        for (element, value) in [
            ("Action", json!("lambda:Invoke*")),
            ("Action", json!(["lambda:InvokeFunction", "lambda:GetFunction"])),
            ("Action", json!("sqs:SendMessage")),
            ("Sid", json!("with a space")),
            ("Sid", json!("s".repeat(101))),
            ("Resource", json!("*")),
            ("Resource", json!("arn:aws:lambda:eu-west-1:111122223333:function:*")),
            ("Resource", Value::Null),
            ("Principal", json!({"AWS": "444455556666"})),
            ("Effect", json!("Deny")),
            ("NotAction", json!("lambda:GetFunction")),
        ] {
            assert_eq!(Permission::of(&with(element, value.clone())), None, "{element} {value}");
        }
    }

    #[test]
    fn a_layer_is_shared_with_accounts_or_an_organization() {
        let of = |element: &str, value: Value| {
            let mut statement = with("Action", json!("lambda:GetLayerVersion"));
            statement["Principal"] = json!("*");
            statement[element] = value;
            Permission::of(&statement).is_some_and(|parts| parts.shares_a_layer())
        };
        assert!(of("Principal", json!({"AWS": "*"})));
        assert!(of("Principal", json!({"AWS": "arn:aws:iam::444455556666:root"})));
        assert!(of("Condition", json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})));
        assert!(!of("Condition", json!({"StringEquals": {"aws:SourceAccount": "444455556666"}})));
        assert!(!of("Principal", json!({"AWS": "arn:aws:iam::444455556666:role/worker"})));
        assert!(!of("Action", json!("lambda:*")));
    }

    #[test]
    fn spellings_of_one_statement_are_one_statement() {
        let plain = canonical(&with("Principal", json!("*")));
        let mut wordy = with("Principal", json!({"AWS": ["*"]}));
        wordy["Action"] = json!(["lambda:InvokeFunction"]);
        wordy["Resource"] = json!([wordy["Resource"]]);
        wordy["Condition"] = json!({"StringEquals": {}});
        assert_eq!(canonical(&wordy), plain);
        assert_eq!(Permission::of(&wordy), Permission::of(&with("Principal", json!("*"))));
        let via = |value: Value| canonical(&statement(&json!({"Bool": {"lambda:InvokedViaFunctionUrl": value}})));
        assert_eq!(via(json!(true)), via(json!(["true"])));
        let both = json!({"AWS": "*", "Service": "s3.amazonaws.com"});
        assert_ne!(canonical(&with("Principal", both)), plain);
    }
}
