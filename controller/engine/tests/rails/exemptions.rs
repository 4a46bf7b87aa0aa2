//! What an exemption silences, for how long, and how far it reaches.

use engine::edit::Withheld;
use engine::evaluate::{Keep, evaluate};
use engine::exempt::Exemption;
use engine::kind::Kind;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Case, LEASE, NOW, group, live};

/// An exemption of the namespace of the baselines, for five minutes.
pub(super) fn exemption(controls: &[&str], resources: Value) -> Exemption {
    Exemption {
        namespace: "security".to_owned(),
        name: "bastion".to_owned(),
        created: NOW,
        controls: controls.iter().map(|control| (*control).to_owned()).collect(),
        resources: serde_json::from_value(resources).unwrap(),
        expires: NOW + SignedDuration::from_mins(5),
    }
}

const ADMIN: &str = "sg-no-open-admin-ports";

#[test]
fn what_is_exempt_stands_and_is_told_and_counted_until_the_exemption_ends() {
    let case = Case::with(|case| {
        case.groups.push(group("sg-1", "bastion-1", &["tcp/22 0.0.0.0/0"]));
        case.exemptions = vec![exemption(&[ADMIN], json!({"names": ["bastion-*"], "accounts": ["prod"]}))];
    });
    let ids = |case: &Case| case.permitted().resources.iter().map(|one| one.target.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&case), ["sg-0"]);
    let seen = |now: Timestamp| {
        let evaluation = evaluate(Kind::SecurityGroup, &case.desired(), &case.inventory(), now, Keep::Worst(50));
        let baseline = &evaluation.baselines[0];
        let admin = baseline.controls.iter().find(|count| count.control == ADMIN).unwrap();
        let told: Vec<_> = baseline.findings.iter().filter(|finding| finding.control == ADMIN).collect();
        let told = told.iter().map(|finding| (finding.resource.clone(), finding.exempt.is_some())).collect::<Vec<_>>();
        ((admin.verdicts.fail, admin.verdicts.exempt), told)
    };
    let both = |exempt| vec![("sg-0".to_owned(), false), ("sg-1".to_owned(), exempt)];
    assert_eq!(seen(NOW), ((1, 1), both(true)));
    assert_eq!(seen(NOW + SignedDuration::from_mins(5)), ((2, 0), both(false)));
}

#[test]
fn an_exemption_reaches_no_further_than_its_namespace_its_accounts_its_controls_and_its_resources() {
    let with = |change: fn(&mut Exemption)| {
        Case::with(|case| {
            let mut exemption = exemption(&[ADMIN], json!({"names": ["shop"]}));
            change(&mut exemption);
            case.exemptions = vec![exemption];
        })
    };
    assert!(with(|_| ()).permitted().resources.is_empty());
    let narrower: [fn(&mut Exemption); 4] = [
        |exemption| exemption.namespace = "payments".to_owned(),
        |exemption| exemption.resources.accounts = vec!["staging".to_owned()],
        |exemption| exemption.controls = vec!["sg-no-open-database-ports".to_owned()],
        |exemption| exemption.resources.matches.names = vec!["shop-*".to_owned()],
    ];
    for change in narrower {
        assert_eq!(with(change).permitted().resources.len(), 1);
    }
}

#[test]
fn an_exemption_that_was_made_after_the_plan_stops_the_write() {
    let planned = Case::new();
    let now = Case::with(|case| case.exemptions = vec![exemption(&[ADMIN], json!({"names": ["shop"]}))]);
    let refused = planned.permit(&now, &live(&planned.groups[0]), LEASE).err();
    assert_eq!(refused.as_ref().map(Withheld::reason), Some("Exempt"), "{refused:?}");
}

#[test]
fn an_exemption_that_cannot_be_meant_says_why() {
    let refusal = |change: fn(&mut Exemption)| {
        let mut exemption = exemption(&[ADMIN], json!({"names": ["shop"]}));
        change(&mut exemption);
        exemption.accept().err().map(|problem| problem.to_string()).unwrap_or_default()
    };
    assert_eq!(refusal(|_| ()), "");
    type Spoil = fn(&mut Exemption);
    let cases: [(&str, Spoil); 5] = [
        ("spec.expires: an exemption ends at most 365 days", |exemption| {
            exemption.expires = NOW + SignedDuration::from_hours(366 * 24);
        }),
        ("spec.expires: it was over before it was made", |exemption| exemption.expires = NOW),
        ("spec.controls: there is no control \"*\"", |exemption| exemption.controls = vec!["*".to_owned()]),
        ("spec.resources: name the resources", |exemption| exemption.resources.matches.names.clear()),
        ("spec.resources.names: \"[\" is no glob", |exemption| exemption.resources.matches.names[0] = "[".to_owned()),
    ];
    for (expected, change) in cases {
        assert!(refusal(change).starts_with(expected), "{}", refusal(change));
    }
}
