//! What holds an edit of a function back, at planning, as its calls are ordered, and right before a write.

mod concord;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::budget::{Charge, Ledger, Spent};
use engine::call::{Call, LambdaCall, LambdaOperation};
use engine::desired::{Baseline, Desired};
use engine::edit::{BaselineRef, Edit, Operation, Withheld};
use engine::evaluate::{Keep, evaluate};
use engine::exempt::{Exempting, Exemption};
use engine::facts::{
    AccountSettings, Configuration, Cors, DefaultRoute, Environment, Function, FunctionUrl, Gathered, Inventory, Live,
    LiveFunction, Pace, QualifiedPolicy, RuntimeManagement, SecurityGroup, Source, Subnet, Tags, UpdateOn,
    UpdateStatus, UrlAuth, Variables, Vpc,
};
use engine::kind::Kind;
use engine::permit::Permit;
use engine::plan::{Permitted, PermittedResource, Plan, plan};
use engine::property::{Json, Property, PropertyName};
use engine::rails::{self, Authority, Circumstances, FRESHNESS, Moment};
use engine::rivals::{Part, Subject};
use engine::sequence::properties::renewed;
use engine::sequence::{State, sequence};
use engine::spec::{Mode, OverrideMode};
use engine::tenancy::Account;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::limits::later;
use super::{ACCOUNT, LEASE, NOW, OTHER_ACCOUNT, location};

const NAME: &str = "checkout";
const ARN: &str = "arn:aws:lambda:eu-west-1:111122223333:function:checkout";
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// An account in which one baseline closes a policy and switches tracing on, and every rail lets it through.
#[derive(Clone)]
struct Case {
    functions: Vec<Function>,
    statements: Vec<Value>,
    urls: Vec<FunctionUrl>,
    management: Option<RuntimeManagement>,
    groups: Vec<SecurityGroup>,
    reserved: Option<i32>,
    unreserved: Option<i32>,
    account: Account,
    baselines: Vec<Baseline>,
    exemptions: Vec<Exemption>,
    leading: bool,
    circumstances: Circumstances,
}

fn function(name: &str) -> Function {
    Function {
        name: name.to_owned(),
        account: ACCOUNT.to_owned(),
        tags: BTreeMap::new(),
        edge: false,
        revision: "1".to_owned(),
        configuration: Configuration { runtime: Some("nodejs24.x".to_owned()), ..Configuration::default() },
    }
}

fn open(sid: &str) -> Value {
    json!({"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN})
}

fn baseline(name: &str, parameters: Value) -> Baseline {
    let group = super::baseline(name, json!({}));
    let parameters: engine::controls::lambda::LambdaParameters = serde_json::from_value(parameters).unwrap();
    Baseline {
        reference: BaselineRef { kind: Kind::Lambda, ..group.reference.clone() },
        parameters: parameters.into(),
        ..group
    }
}

fn tracing() -> Value {
    json!({"observability": {"xray": true}})
}

fn closing() -> Value {
    json!({"access": {"forbidPublic": true}})
}

impl Case {
    fn new(parameters: Value) -> Self {
        Self {
            functions: vec![function(NAME)],
            statements: vec![open("all")],
            urls: Vec::new(),
            management: None,
            groups: Vec::new(),
            reserved: None,
            unreserved: Some(1000),
            account: super::Case::new().account,
            baselines: vec![baseline("functions", parameters)],
            exemptions: Vec::new(),
            leading: true,
            circumstances: Circumstances::default(),
        }
    }

    fn with(parameters: Value, change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::new(parameters);
        change(&mut case);
        case
    }

    fn inventory(&self) -> Inventory {
        fn gathered<T: Clone>(case: &Case, fact: T) -> Gathered<T> {
            let pace = Pace::of(SignedDuration::from_mins(1), SignedDuration::ZERO);
            let read = |function: &Function| (function.name.clone(), Source::complete(fact.clone(), NOW));
            Gathered::new(case.functions.iter().map(read).collect(), pace)
        }
        let document = json!({"Version": "2012-10-17", "Statement": self.statements}).to_string().into();
        let policy = QualifiedPolicy { qualifier: String::new(), document };
        let settings = |unreserved| AccountSettings {
            account: ACCOUNT.to_owned(),
            concurrency: 1000,
            unreserved,
            tags: BTreeMap::new(),
        };
        let mut inventory = Inventory::unread(location());
        inventory.lambda.functions = Source::complete(self.functions.clone(), NOW);
        inventory.lambda.account = Source::complete(self.unreserved.map(settings).into_iter().collect(), NOW);
        let policies = if self.statements.is_empty() { Vec::new() } else { vec![policy] };
        inventory.lambda.policies = gathered(self, policies);
        inventory.lambda.urls = gathered(self, self.urls.clone());
        inventory.lambda.concurrency = gathered(self, self.reserved);
        if let Some(management) = &self.management {
            inventory.lambda.runtime_management = gathered(self, management.clone());
        }
        let subnet = |(id, zone): (&str, &str)| {
            (id.to_owned(), Subnet { zone: zone.to_owned(), default_route: DefaultRoute::Nat })
        };
        inventory.subnets = Source::complete([("subnet-1", "az1"), ("subnet-2", "az2")].map(subnet).into(), NOW);
        inventory.security_groups = Source::complete(self.groups.clone(), NOW);
        inventory.network_interfaces = Source::complete(BTreeMap::new(), NOW);
        inventory
    }

    fn desired(&self) -> Vec<Desired> {
        let accounts = std::slice::from_ref(&self.account);
        let accepted = self.baselines.iter().map(|baseline| baseline.accept(accounts).unwrap());
        let exemptions: Vec<Exempting> = self.exemptions.iter().map(|one| one.accept().unwrap()).collect();
        accepted.filter_map(|accepted| Some(accepted.in_cell(&location())?.exempted(&exemptions))).collect()
    }

    fn plan(&self, now: Timestamp) -> Plan<Permitted> {
        let (desired, inventory) = (self.desired(), self.inventory());
        let evaluation = evaluate(Kind::Lambda, &desired, &inventory, NOW, Keep::All);
        let plan = rails::hold_for_good(plan(&desired, &inventory, &evaluation), &inventory, &self.account);
        let plan = rails::hold_for_now(plan, &self.account, self.leading);
        let moment = Moment { desired: &desired, circumstances: &self.circumstances, now };
        rails::apply(plan, &inventory, &self.account, moment)
    }

    /// What is done, and the reasons for which the rest is not. `NotNamed` apart, the reason of recommended controls.
    fn outcome(&self) -> (Vec<Operation>, Vec<&'static str>) {
        let Permitted { resources, withheld, .. } = self.plan(NOW).stage;
        let made = resources.iter().flat_map(|resource| &resource.edits).map(|edit| edit.operation).collect();
        let held = withheld.iter().map(|held| held.reason.reason()).filter(|reason| *reason != "NotNamed").collect();
        (made, held)
    }

    fn resource(&self) -> PermittedResource {
        self.plan(NOW).stage.resources.remove(0)
    }

    /// Asks for the permit of the first call; `now` is what holds by then.
    fn permit(&self, now: &Self, live: &LiveFunction) -> Result<Permit, Withheld> {
        let resource = self.resource();
        let call = self.calls(live).unwrap().remove(0);
        let desired = now.desired();
        let authority = Authority {
            desired: &desired,
            account: Some(&now.account),
            approved: &BTreeSet::new(),
            namespaces: &[],
            lease_left: LEASE,
            write_timeout: Duration::from_secs(5),
        };
        let live = Live::Function(live.clone());
        rails::permit(&location(), &resource, call, &resource.target.planned, &live, &authority, NOW)
    }

    /// A fresh read that shows what was planned on.
    fn live(&self) -> LiveFunction {
        let State::Properties(properties) = self.resource().target.planned else { panic!("a function is no group") };
        LiveFunction {
            id: NAME.to_owned(),
            arn: ARN.to_owned(),
            properties,
            revisions: ["", "/"].map(|of| (of.to_owned(), format!("{of}1"))).into(),
            status: Some(UpdateStatus::Ready),
            tags: Some(self.resource().target.tags),
            environment: Some(Variables::default()),
            read_at: NOW,
        }
    }

    /// The calls for what is permitted on what was just read.
    fn calls(&self, live: &LiveFunction) -> Result<Vec<Call>, Withheld> {
        let planned = LiveFunction { properties: self.live().properties, ..live.clone() };
        let steps = sequence(&self.resource().edits, &Live::Function(planned))?;
        Ok(steps.into_iter().map(|step| step.call).collect())
    }
}

#[test]
fn what_every_rail_lets_through_is_done() {
    assert_eq!(Case::new(tracing()).outcome(), (vec![Operation::SetTracing], vec![]));
    assert_eq!(Case::new(closing()).outcome(), (vec![Operation::RemoveStatement], vec![]));
}

fn tagged(key: &str, value: &str) -> Case {
    Case::with(closing(), |case| {
        case.functions[0].tags.insert(key.to_owned(), value.to_owned());
    })
}

#[test]
fn each_rail_holds_an_edit_back_and_names_itself() {
    let over = |mode| {
        let over = json!([{"control": "lambda-no-public-policy", "mode": mode}]);
        Case::with(closing(), |case| case.baselines[0].overrides = serde_json::from_value(over).unwrap())
    };
    let cases: [(&str, Case); 13] = [
        ("Audit", Case::with(closing(), |case| case.baselines[0].mode = Mode::Audit)),
        ("Audit", over(OverrideMode::Audit)),
        ("Approval", over(OverrideMode::Propose)),
        ("ReadOnlyAccount", Case::with(closing(), |case| case.account.writable = false)),
        ("WritesStopped", Case::with(closing(), |case| case.account.writes_stopped = true)),
        ("NotLeader", Case::with(closing(), |case| case.leading = false)),
        ("OwnedByOtherAccount", Case::with(tracing(), |case| case.functions[0].account = OTHER_ACCOUNT.to_owned())),
        ("InfrastructureAsCode", tagged("aws:cloudformation:stack-name", "shop")),
        ("InfrastructureAsCode", tagged("ManagedBy", "Terraform")),
        ("ManagedByService", tagged("elasticbeanstalk:environment-name", "shop")),
        ("EdgeFunction", Case::with(closing(), |case| case.functions[0].edge = true)),
        ("IncompleteKnowledge", Case::with(reserving(50), |case| case.unreserved = None)),
        ("ConcurrencyQuota", Case::with(reserving(50), |case| case.unreserved = Some(149))),
    ];
    for (expected, case) in cases {
        let (made, mut held) = case.outcome();
        // In Audit the recommended controls say so, too.
        held.dedup();
        assert_eq!((made, held), (vec![], vec![expected]));
    }
}

fn reserving(most: i32) -> Value {
    json!({"limits": {"concurrency": {"default": most}}})
}

#[test]
fn what_is_reserved_has_to_fit_for_all_functions_together() {
    let two = |unreserved| {
        Case::with(reserving(50), |case| {
            case.functions.push(function("pay"));
            case.unreserved = Some(unreserved);
        })
    };
    assert_eq!(two(200).outcome(), (vec![Operation::SetConcurrency; 2], vec![]));
    assert_eq!(two(199).outcome(), (vec![], vec!["ConcurrencyQuota"; 2]));
    let lowered = Case::with(reserving(50), |case| (case.reserved, case.unreserved) = (Some(60), Some(100)));
    assert_eq!(lowered.outcome().0, [Operation::SetConcurrency], "what is given back always fits");
}

#[test]
fn a_function_that_is_called_like_the_settings_of_the_account_is_a_function() {
    let settings = |key: &str| {
        Case::with(tracing(), |case| {
            case.functions[0] = function("account-settings");
            case.functions[0].tags.insert(key.to_owned(), "shop".to_owned());
        })
    };
    assert_eq!(settings("team").outcome(), (vec![Operation::SetTracing], vec![]));
    assert_eq!(settings("elasticbeanstalk:environment-name").outcome(), (vec![], vec!["ManagedByService"]));
}

#[test]
fn a_statement_that_would_not_come_back_is_left_to_a_person() {
    let set = |element: &str, value: Value| {
        let mut statement = open("all");
        statement[element] = value;
        statement
    };
    let mut nameless = open("all");
    nameless.as_object_mut().unwrap().remove("Sid");
    let condition = |operator: &str, key: &str, value: &str| set("Condition", json!({operator: {key: value}}));
    let token = json!({"StringEquals": {"lambda:EventSourceToken": "*"}});
    let cases: [(&str, Vec<Value>); 7] = [
        ("the statement has no Sid", vec![nameless]),
        ("several statements have the Sid", vec![open("all"), open("all")]),
        ("holds an event source token", vec![set("Condition", token)]),
        ("could not be added again", vec![condition("Bool", "aws:SecureTransport", "true")]),
        ("could not be added again", vec![condition("StringEquals", "aws:SourceAccount", "*")]),
        ("could not be added again", vec![set("Action", json!(["lambda:InvokeFunction", "lambda:GetFunction"]))]),
        ("could not be added again", vec![set("Resource", json!("*"))]),
    ];
    for (why, statements) in cases {
        let held = Case::with(closing(), |case| case.statements = statements).plan(NOW).stage;
        assert!(held.resources.is_empty(), "{why}");
        let reasons = held.withheld.iter().map(|held| &held.reason).filter(|reason| **reason != Withheld::NotNamed);
        for reason in reasons {
            assert!(matches!(reason, Withheld::NotExpressible(text) if text.contains(why)), "{why}: {reason:?}");
        }
    }
    let everybody = Case::with(closing(), |case| case.statements = vec![set("Principal", json!({"AWS": "*"}))]);
    assert_eq!(everybody.outcome().0, [Operation::RemoveStatement]);
}

#[test]
fn a_function_is_configured_only_while_it_is_ready_and_nothing_is_lost() {
    let key = Case::with(json!({"environment": {"kmsKeyArn": KEY}}), |case| {
        case.functions[0].configuration.environment = Environment { variables: 1, ..Environment::default() };
    });
    let calls = |case: &Case, change: &dyn Fn(&mut LiveFunction)| {
        let mut live = case.live();
        change(&mut live);
        case.calls(&live).map(|calls| calls.len()).map_err(|held| held.reason())
    };
    let (tracing, closing) = (Case::new(tracing()), Case::new(closing()));
    let to = |status: UpdateStatus| move |live: &mut LiveFunction| live.status = Some(status.clone());
    for (expected, status) in [
        (Ok(1), UpdateStatus::Ready),
        (Err("NotActive"), UpdateStatus::UpdateFailed("InvalidSubnet".to_owned())),
        (Err("UpdateInProgress"), UpdateStatus::InProgress),
        (Err("NotActive"), UpdateStatus::NotActive("Inactive".to_owned())),
    ] {
        assert_eq!(calls(&tracing, &to(status.clone())), expected);
        assert_eq!(calls(&closing, &to(status)), Ok(1), "a policy does not wait for it");
    }
    assert_eq!(calls(&tracing, &|live| live.status = None), Err("IncompleteKnowledge"));
    assert_eq!(calls(&key, &|_| ()), Ok(1));
    assert_eq!(calls(&key, &|live| live.environment = None), Err("WouldLose"));
    let unreadable = Case::with(json!({"environment": {"kmsKeyArn": KEY}}), |case| {
        case.functions[0].configuration.environment = Environment { unreadable: true, ..Environment::default() };
    });
    assert_eq!(unreadable.outcome(), (vec![], vec!["WouldLose"]));
}

#[test]
fn what_cannot_break_calls_waits_for_no_window() {
    let windowed = |parameters: Value, schedule: &str| {
        Case::with(parameters, |case| {
            let window = json!({"schedule": schedule, "timeZone": "UTC", "duration": "1h", "exceptSeverities": []});
            case.baselines[0].remediation = serde_json::from_value(json!({"window": window})).unwrap();
        })
    };
    // The time of planning is midnight.
    assert_eq!(windowed(closing(), "0 2 * * *").outcome(), (vec![], vec!["Window"]));
    assert_eq!(windowed(closing(), "0 0 * * *").outcome().0, [Operation::RemoveStatement]);
    assert_eq!(windowed(tracing(), "0 2 * * *").outcome().0, [Operation::SetTracing]);
    let (open, closed) = (windowed(closing(), "0 0 * * *"), windowed(closing(), "0 2 * * *"));
    assert_eq!(open.permit(&closed, &open.live()).map(|_| ()).map_err(|held| held.reason()), Err("Window"));
}

#[test]
fn what_somebody_keeps_undoing_waits_after_three_repairs() {
    let mut case = Case::new(closing());
    let policy = Subject { resource: NAME.to_owned(), part: Part::Policy };
    for minute in [-30, -20, -10] {
        case.circumstances.contests.restore(&policy, "lambda-no-public-policy", later(minute));
    }
    assert_eq!(case.outcome().0, [Operation::RemoveStatement], "the pause after the third repair is over");
    case.circumstances.contests.restore(&policy, "lambda-no-public-policy", NOW);
    assert_eq!(case.outcome(), (vec![], vec!["Contested"]));
    let url = Subject { part: Part::Url, ..policy };
    let mut other = Case::new(closing());
    (0..9).for_each(|minute| other.circumstances.contests.restore(&url, "lambda-no-public-policy", later(minute - 9)));
    assert_eq!(other.outcome().0, [Operation::RemoveStatement], "who changes the URL is not who changes the policy");
}

#[test]
fn an_exemption_silences_its_controls_on_its_functions() {
    let exempt = |control: &str, names: &str| {
        Case::with(closing(), |case| {
            case.exemptions = vec![super::exemptions::exemption(&[control], json!({"names": [names]}))];
        })
    };
    let public = "lambda-no-public-policy";
    assert_eq!(exempt(public, "check*").outcome(), (vec![], vec![]));
    assert_eq!(exempt(public, "pay").outcome().0, [Operation::RemoveStatement]);
    assert_eq!(exempt("lambda-xray-active", "check*").outcome().0, [Operation::RemoveStatement]);
    let planned = Case::new(closing());
    let refused = planned.permit(&exempt(public, "check*"), &planned.live()).err();
    assert_eq!(refused.as_ref().map(Withheld::reason), Some("Exempt"));
}

#[test]
fn a_canary_goes_first_where_calls_can_break_and_budgets_tell_kinds_apart() {
    let fleet = |parameters: Value, remediation: Value| {
        Case::with(parameters, |case| {
            case.functions = ["a", "b", "c"].map(function).to_vec();
            case.baselines[0].remediation = serde_json::from_value(remediation).unwrap();
        })
    };
    let reserve = |case: &Case, ledger: &mut Ledger| {
        let (plan, _reserved) = ledger.reserve(case.plan(NOW), &case.desired(), &case.account, NOW);
        let held = plan.stage.withheld.into_iter().map(|held| held.reason).filter(|held| *held != Withheld::NotNamed);
        (plan.stage.resources.len(), held.map(|held| held.reason()).collect::<Vec<_>>())
    };
    let canary = json!({"canary": {"resources": 1, "soak": "30m"}});
    let disruptive = fleet(reserving(50), canary.clone());
    assert_eq!(reserve(&disruptive, &mut Ledger::default()), (1, vec!["Canary", "Canary"]));
    assert_eq!(reserve(&fleet(tracing(), canary), &mut Ledger::default()), (3, vec![]));
    let mut account = fleet(tracing(), json!({}));
    account.account.changes_per_hour = 3;
    let spent = |kind, resource: &str| {
        let mut ledger = Ledger::default();
        let (resource, baseline) = (resource.to_owned(), "security/functions".to_owned());
        ledger.enter(Charge { location: location(), resource, kind, baseline }, Spent { at: NOW, approved: false });
        reserve(&account, &mut ledger)
    };
    assert_eq!(spent(Kind::Lambda, "a"), (3, vec![]), "the same function counts once");
    assert_eq!(spent(Kind::SecurityGroup, "a"), (2, vec!["Budget"]), "a group of that name is another resource");
}

fn refused(planned: &Case, now: &Case, live: &LiveFunction) -> Option<Withheld> {
    planned.permit(now, live).err()
}

#[test]
fn whoever_withdraws_authority_after_the_plan_stops_the_write() {
    let planned = Case::new(closing());
    let withdrawn: [(Withheld, Case); 6] = [
        (Withheld::BaselineChanged, Case::with(closing(), |case| case.baselines.clear())),
        (Withheld::BaselineChanged, Case::with(closing(), |case| case.baselines[0].reference.generation = 2)),
        (
            Withheld::BaselineChanged,
            Case::with(closing(), |case| case.baselines[0].reference.kind = Kind::SecurityGroup),
        ),
        (Withheld::Audit, Case::with(closing(), |case| case.baselines[0].mode = Mode::Audit)),
        (Withheld::ReadOnlyAccount, Case::with(closing(), |case| case.account.writable = false)),
        (Withheld::WritesStopped, Case::with(closing(), |case| case.account.writes_stopped = true)),
    ];
    for (expected, now) in withdrawn {
        assert_eq!(refused(&planned, &now, &planned.live()), Some(expected));
    }
    assert_eq!(refused(&planned, &planned, &planned.live()), None);
}

#[test]
fn a_function_that_is_not_as_it_was_or_was_read_too_long_ago_is_not_written() {
    let case = Case::new(closing());
    let found = case.live();
    let with = |value: Option<Json>| {
        let mut changed = found.clone();
        changed.properties.insert(Property::statement("", "all"), value);
        changed
    };
    let other = LiveFunction { id: "pay".to_owned(), ..found.clone() };
    let stack = Tags::from([("aws:cloudformation:stack-name".to_owned(), "shop".to_owned())]);
    let owned = LiveFunction { tags: Some(stack), ..found.clone() };
    let old = LiveFunction { read_at: NOW - FRESHNESS - SignedDuration::from_millis(1), ..found.clone() };
    for (expected, live) in [
        (Withheld::ForeignChange, with(Some(Json::of(&open("by hand"))))),
        (Withheld::ForeignChange, with(None)),
        (Withheld::ForeignChange, other),
        (Withheld::ForeignChange, owned),
        (Withheld::IncompleteKnowledge, old),
    ] {
        assert_eq!(refused(&case, &case, &live), Some(expected));
    }
}

#[test]
fn a_call_carries_the_revision_of_the_latest_read() {
    let revision = |call: &Call| match call {
        Call::Lambda(LambdaCall { operation, revision, .. }) => (*operation, revision.clone().unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    for (parameters, operation, of) in [
        (closing(), LambdaOperation::RemovePermission, "/"),
        (tracing(), LambdaOperation::UpdateFunctionConfiguration, ""),
    ] {
        let case = Case::new(parameters);
        let mut live = case.live();
        let call = case.calls(&live).unwrap().remove(0);
        assert_eq!(revision(&call), (operation, format!("{of}1")));
        // Somebody changed something else: what is written rests on that.
        live.revisions.insert(of.to_owned(), "2".to_owned());
        assert_eq!(revision(&renewed(&call, &Live::Function(live)).unwrap()), (operation, "2".to_owned()));
    }
}

#[test]
fn a_url_is_signed_before_the_statements_go_that_opened_it() {
    let case = Case::with(json!({"urls": {"auth": "AWS_IAM"}}), |case| {
        case.urls = vec![FunctionUrl { qualifier: String::new(), auth: UrlAuth::None, cors: None }];
        case.statements = vec![json!({
            "Sid": "url", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": ARN,
            "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        })];
    });
    assert_eq!(case.outcome(), (vec![Operation::SetUrlAuth], vec![]));
    let names: Vec<String> = case.calls(&case.live()).unwrap().iter().map(Call::to_string).collect();
    assert_eq!(names, ["UpdateFunctionUrlConfig", "RemovePermission"]);
    let changes = |edit: &Edit| match &edit.change {
        engine::edit::Change::Properties(changes) => changes.iter().map(|change| change.property.name).collect(),
        other => panic!("{other:?}"),
    };
    let made: Vec<PropertyName> = changes(&case.resource().edits[0]);
    assert_eq!(made, [PropertyName::UrlAuth, PropertyName::Statement]);
}

#[test]
fn a_wide_statement_goes_only_while_the_narrower_one_is_there() {
    let service = |sid: &str, condition: Value| {
        json!({"Sid": sid, "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "lambda:InvokeFunction", "Resource": ARN, "Condition": condition})
    };
    let own = json!({"StringEquals": {"AWS:SourceAccount": ACCOUNT}});
    let names =
        |case: &Case| -> Vec<String> { case.calls(&case.live()).unwrap().iter().map(Call::to_string).collect() };
    let binding = json!({"access": {"serviceSource": true, "addSourceAccount": true}});
    let alone = Case::with(binding.clone(), |case| case.statements = vec![service("s3", json!({}))]);
    assert_eq!(alone.outcome(), (vec![Operation::NarrowStatement], vec![]));
    assert_eq!(names(&alone), ["AddPermission", "RemovePermission"]);
    let both = Case::with(binding, |case| {
        case.statements = vec![service("s3", json!({})), service("by-hand", own)];
    });
    assert_eq!(names(&both), ["RemovePermission"]);
    let mut gone = both.live();
    gone.properties.insert(Property::statement("", "by-hand"), None);
    assert_eq!(refused(&both, &both, &gone), Some(Withheld::ForeignChange));
}
