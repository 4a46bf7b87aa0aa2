//! `spec.async`: asynchronous events that failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::{regional, unread};
use super::{Compiled as Parameters, Control, FunctionView, LambdaView, Remedy};
use crate::controls::{ALIASES, About, EVENT_INVOKE, FUNCTIONS, POLICIES, Setting};
use crate::finding::{Severity, Verdict};
use crate::policy::{Policy, Statement};
use crate::property::{Json, Property, PropertyChange, PropertyName};

/// Asynchronous events that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asynchronous {
    /// ARN of the SQS queue or SNS topic (not FIFO) that Enforce has failed events sent to where they would be lost. Its
    /// region is that of the functions, and their execution roles need sqs:SendMessage or sns:Publish. Left out: report
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320), regex(pattern = "^arn:aws[a-z-]*:(sqs|sns):[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$"))]
    pub dlq_arn: Option<String>,
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    queue: Option<String>,
}

impl Compiled {
    pub(super) fn new(asynchronous: Option<&Asynchronous>) -> Self {
        let Asynchronous { dlq_arn } = asynchronous.cloned().unwrap_or_default();
        Self { queue: dlq_arn }
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "lambda-async-failure-destination",
        title: "Failed asynchronous events are kept",
        severity: Severity::Low,
        field: "async.dlqArn",
        default: "any destination",
        remedy: "with dlqArn sets it as the dead-letter queue in its region (UpdateFunctionConfiguration); the execution role needs sqs:SendMessage or sns:Publish; report only without it",
        since: "0.2.0",
        sources: &[FUNCTIONS, EVENT_INVOKE, POLICIES, ALIASES],
    },
    setting: |spec| Setting::recommended(spec.asynchronous.as_ref().and_then(|it| it.dlq_arn.as_ref())),
    alike: |one, other| one.asynchronous == other.asynchronous,
    check: check_destination,
    remedy: Some(keep_failed),
}];

/// The services that invoke functions asynchronously by the word of their policy ("Invoking Lambda with events from other
/// AWS services" in the Lambda developer guide; alarms by the CloudWatch user guide).
const SOURCES: [&str; 11] = [
    "cloudformation",
    "codecommit",
    "codepipeline",
    "config",
    "events",
    "iot",
    "lambda.alarms.cloudwatch",
    "logs",
    "s3",
    "ses",
    "sns",
];

/// In lower case.
const INVOKE: &str = "lambda:invokefunction";

/// The asynchronous source among the services of a statement.
fn source(statement: &Statement) -> Option<&str> {
    let invokes = statement.may_allow(INVOKE);
    statement.services().filter(|_| invokes).find(|service| is_source(service))
}

fn is_source(service: &str) -> bool {
    let Some((name, "" | ".cn")) = service.split_once(".amazonaws.com") else { return false };
    // Some services go by the name of their region too: `logs.eu-west-1`.
    let name = match name.split_once('.') {
        Some((service, region)) if region.contains('-') => service,
        _ => name,
    };
    SOURCES.contains(&name)
}

/// A service that invokes the function asynchronously, if there is one.
fn asynchronous<'v>(view: &'v FunctionView<'_>) -> Result<Option<&'v str>, Verdict> {
    let policies = view.policies().map_err(|failure| unread("the resource policy", failure))?;
    let parsed = policies.iter().filter_map(|(_, policy)| policy.as_ref().ok());
    let unreadable = policies.iter().find_map(|(_, policy)| policy.as_ref().err());
    match (parsed.flat_map(Policy::statements).find_map(source), unreadable) {
        (Some(source), _) => Ok(Some(source)),
        (None, Some(problem)) => Err(Verdict::unknown(problem.to_string())),
        (None, None) => Ok(None),
    }
}

fn check_destination(_: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let view = match regional(view) {
        Err(verdict) => return verdict,
        Ok(view) => view,
    };
    if view.configuration().dead_letter.is_some() {
        return Verdict::Pass;
    }
    let source = match asynchronous(view) {
        Err(verdict) => return verdict,
        Ok(None) => return Verdict::not_applicable("no service invokes it asynchronously"),
        Ok(Some(source)) => source,
    };
    match view.lambda().event_invoke.of(&view.function.name, view.now()) {
        Err(failure) => unread("the destination of failed events", failure),
        Ok(true) => Verdict::Pass,
        Ok(false) => {
            Verdict::fail("a dead-letter queue or a destination for failures", format!("none, and {source} invokes it"))
        }
    }
}

fn keep_failed(parameters: &Parameters, view: &LambdaView<'_>) -> Vec<Remedy> {
    let (Some(view), Some(queue)) = (view.function(), &parameters.asynchronous.queue) else { return Vec::new() };
    let is_here = queue.split(':').nth(3) == Some(view.location().region.as_str());
    if !is_here || view.configuration().dead_letter.is_some() {
        return Vec::new();
    }
    vec![Remedy::set(PropertyChange {
        property: Property::only(PropertyName::DeadLetter),
        before: None,
        after: Some(Json::of(queue)),
    })]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::LambdaParameters;
    use super::super::fixtures::{
        at_the_edge, change, gathered, policies, remedies, setting, spec, verdict, with, word,
    };
    use super::*;
    use crate::facts::{Inventory, QualifiedPolicy};

    const DESTINATION: &str = "lambda-async-failure-destination";

    const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:failed";

    fn policy(effect: &str, principal: Value, action: &str) -> Value {
        let statement = json!({
            "Sid": "one", "Effect": effect, "Principal": principal, "Action": action,
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:checkout"
        });
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }

    fn invoked_by(service: &str) -> Value {
        policy("Allow", json!({"Service": service}), "lambda:InvokeFunction")
    }

    /// A function with these policies, and with a destination for failures or none.
    fn under(documents: &[(&str, Value)], destination: bool) -> Inventory {
        let mut inventory = with(|_| {});
        inventory.lambda.policies = policies(documents);
        inventory.lambda.event_invoke = gathered(Ok(destination));
        inventory
    }

    fn judged(document: Value) -> &'static str {
        word(&LambdaParameters::default(), DESTINATION, &under(&[("", document)], false))
    }

    #[test]
    fn defaults() {
        let setting = |written| setting(&spec(written), DESTINATION);
        assert_eq!(setting(json!({})), Setting::Recommended);
        assert_eq!(setting(json!({"async": {}})), Setting::Recommended);
        assert_eq!(setting(json!({"async": {"dlqArn": QUEUE}})), Setting::Named);
    }

    #[test]
    fn services_that_wait_for_no_answer_need_a_destination() {
        for service in ["s3.amazonaws.com", "logs.eu-west-1.amazonaws.com", "config.amazonaws.com.cn"] {
            assert_eq!(judged(invoked_by(service)), "Fail", "{service}");
        }
        assert_eq!(judged(invoked_by("lambda.alarms.cloudwatch.amazonaws.com")), "Fail");
        for service in ["apigateway.amazonaws.com", "s3.example.com", "s3", "cognito-idp.amazonaws.com"] {
            assert_eq!(judged(invoked_by(service)), "NotApplicable", "{service}");
        }
        let s3 = || json!({"Service": "s3.amazonaws.com"});
        assert_eq!(judged(policy("Allow", s3(), "lambda:*")), "Fail");
        assert_eq!(judged(policy("Allow", s3(), "*")), "Fail");
        assert_eq!(judged(policy("Allow", s3(), "lambda:GetFunction")), "NotApplicable");
        assert_eq!(judged(policy("Deny", s3(), "lambda:InvokeFunction")), "NotApplicable");
        assert_eq!(judged(policy("Allow", json!("*"), "lambda:InvokeFunctionUrl")), "NotApplicable");
        let all_but = |action: &str| {
            let mut policy = policy("Allow", s3(), "*");
            let statement = policy["Statement"][0].as_object_mut().unwrap();
            statement.remove("Action");
            statement.insert("NotAction".to_owned(), json!(action));
            policy
        };
        assert_eq!(judged(all_but("lambda:GetFunction")), "Fail");
        assert_eq!(judged(all_but("lambda:InvokeFunction")), "NotApplicable");
        let list = json!({"Service": ["apigateway.amazonaws.com", "sns.amazonaws.com"]});
        assert_eq!(judged(policy("Allow", list, "lambda:InvokeFunction")), "Fail");
    }

    #[test]
    fn any_destination_will_do() {
        let default = LambdaParameters::default();
        let by_s3 = [("", invoked_by("apigateway.amazonaws.com")), ("live", invoked_by("s3.amazonaws.com"))];
        let expected = "a dead-letter queue or a destination for failures";
        assert_eq!(
            verdict(&default, DESTINATION, &under(&by_s3, false)),
            Verdict::fail(expected, "none, and s3.amazonaws.com invokes it")
        );
        assert_eq!(verdict(&default, DESTINATION, &under(&by_s3, true)), Verdict::Pass);
        let queue = with(|configuration| configuration.dead_letter = Some(QUEUE.to_owned()));
        assert_eq!(verdict(&default, DESTINATION, &queue), Verdict::Pass);
        assert_eq!(word(&default, DESTINATION, &under(&[], false)), "NotApplicable");
        assert_eq!(word(&default, DESTINATION, &at_the_edge()), "NotApplicable");
    }

    #[test]
    fn what_could_not_be_read_is_unknown() {
        let default = LambdaParameters::default();
        assert_eq!(word(&default, DESTINATION, &with(|_| {})), "Unknown");
        let mut inventory = under(&[("", invoked_by("s3.amazonaws.com"))], false);
        inventory.lambda.event_invoke = Default::default();
        assert_eq!(word(&default, DESTINATION, &inventory), "Unknown");
        let broken = QualifiedPolicy { qualifier: String::new(), document: "{}".into() };
        inventory.lambda.policies = gathered(Ok(vec![broken.clone()]));
        assert_eq!(word(&default, DESTINATION, &inventory), "Unknown");
        let sound = QualifiedPolicy {
            qualifier: "live".to_owned(),
            document: invoked_by("sns.amazonaws.com").to_string().into(),
        };
        inventory.lambda.policies = gathered(Ok(vec![broken, sound]));
        inventory.lambda.event_invoke = gathered(Ok(false));
        assert_eq!(word(&default, DESTINATION, &inventory), "Fail");
    }

    #[test]
    fn a_queue_is_set_in_its_region_alone() {
        let inventory = under(&[("", invoked_by("s3.amazonaws.com"))], false);
        let with_queue = |queue: &str| spec(json!({"async": {"dlqArn": queue}}));
        let after = Some(Json::of(&QUEUE));
        assert_eq!(change(&with_queue(QUEUE), DESTINATION, &inventory), (PropertyName::DeadLetter, None, after));
        let elsewhere = with_queue("arn:aws:sqs:eu-central-1:111122223333:failed");
        assert_eq!(remedies(&elsewhere, DESTINATION, &inventory), []);
        assert_eq!(remedies(&LambdaParameters::default(), DESTINATION, &inventory), []);
        let taken = with(|configuration| configuration.dead_letter = Some("arn:other".to_owned()));
        assert_eq!(remedies(&with_queue(QUEUE), DESTINATION, &taken), []);
    }
}
