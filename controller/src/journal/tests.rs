use engine::edit::{Change, Demand, Edit, Impact, Operation};
use engine::facts::{Live, LiveGroup, ResourceType, Tags};
use engine::finding::Severity;
use engine::kind::Kind;
use engine::plan::{PermittedResource, Target};

use crds::{ChangeSetSpec, Outcome, Phase, Undoes};
use engine::approval::{ChangeSetName, Decision, Undo, Warrant};
use engine::edit::BaselineRef;
use engine::plan::Failure;
use engine::sequence::State;

use super::entry::resources;
use super::*;
use crate::audit::Mandate;

/// A resource that gets so many tags with values of so many bytes, for a baseline in a namespace.
fn prepared(id: &str, namespace: &str, tags: usize, bytes: usize) -> Prepared {
    let baseline = BaselineRef {
        kind: Kind::SecurityGroup,
        namespace: namespace.to_owned(),
        name: "edge".to_owned(),
        uid: String::new(),
        generation: 1,
    };
    let after: Tags = (0..tags).map(|tag| (format!("tag-{tag}"), "x".repeat(bytes))).collect();
    let edit = Edit {
        resource: id.to_owned(),
        operation: Operation::AddTags,
        change: Change::Tags { before: Tags::new(), after },
        demands: vec![Demand { baseline: baseline.clone(), control: "sg-tagged" }],
        severity: Severity::Low,
        exposed: 0,
        impact: Impact::None,
    };
    let target = Target {
        resource_type: ResourceType::SecurityGroup,
        id: id.to_owned(),
        name: String::new(),
        owner: String::new(),
        vpc: String::new(),
        tags: Tags::new(),
        planned: State::Group { rules: Vec::new(), tags: Tags::new() },
    };
    let live = LiveGroup { id: id.to_owned(), rules: Vec::new(), tags: Tags::new(), read_at: Timestamp::UNIX_EPOCH };
    Prepared {
        resource: PermittedResource {
            target,
            edits: vec![edit],
            baselines: vec![baseline],
            warrant: Warrant::Baselines,
        },
        live: Live::Group(live),
        steps: Vec::new(),
    }
}

fn packed(prepared: &[Prepared]) -> Packed {
    let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
    change_sets(&location, prepared, &authority())
}

fn authority() -> AuthorityNow {
    AuthorityNow {
        desired: Vec::new(),
        account: None,
        approved: std::collections::BTreeSet::new(),
        namespaces: Vec::new(),
        lease_left: None,
        write_timeout: std::time::Duration::from_secs(1),
    }
}

fn outcome(id: &str, outcome: engine::plan::Outcome, calls_verified: usize) -> ResourceOutcome {
    let finished_at = Timestamp::UNIX_EPOCH;
    ResourceOutcome {
        id: id.to_owned(),
        edits: Vec::new(),
        warrant: Warrant::Baselines,
        outcome,
        calls_verified,
        request_ids: Vec::new(),
        finished_at,
    }
}

#[test]
fn edits_that_do_not_fit_keep_no_others_out_of_the_journal() {
    let Packed { sets, refused } = packed(&[
        prepared("sg-1", "one", 1, 10),
        prepared("sg-2", "one", 40, 10_000),
        prepared("sg-3", "two", 1, 10),
        prepared("sg-4", "one", 1, 10),
    ]);
    assert_eq!(refused, BTreeMap::from([("sg-2".to_owned(), Withheld::ChangeSetTooLarge)]));
    let kept: Vec<_> = sets.iter().map(|set| (set.namespace().unwrap(), resources(&set.spec))).collect();
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(kept, [("one".to_owned(), ids(&["sg-1", "sg-4"])), ("two".to_owned(), ids(&["sg-3"]))]);
}

#[test]
fn an_undo_has_a_change_set_of_its_own_that_names_what_it_undoes_and_on_whose_word() {
    let undo = |change_set: &str| {
        let change_set = ChangeSetName { namespace: "one".to_owned(), name: change_set.to_owned() };
        Warrant::Rollback(Undo { change_set, approval: "cab-1182".to_owned(), by: "ana".to_owned() })
    };
    let of = |id: &str, warrant: Warrant| {
        let ready = prepared(id, "one", 1, 10);
        Prepared { resource: PermittedResource { warrant, ..ready.resource }, ..ready }
    };
    let Packed { sets, .. } = packed(&[
        of("sg-1", undo("edge-1")),
        of("sg-2", undo("edge-1")),
        of("sg-3", undo("edge-2")),
        of("sg-4", Warrant::Baselines),
    ]);
    let undoes = |change_set: &str| {
        let [change_set, approval, by] = [change_set, "cab-1182", "ana"].map(str::to_owned);
        Some(Undoes { change_set, approval, by })
    };
    let told: Vec<_> = sets.iter().map(|set| (set.spec.undoes.clone(), set.spec.edits.len())).collect();
    assert_eq!(told, [(undoes("edge-1"), 2), (undoes("edge-2"), 1), (None, 1)]);
    let Mandate { undoes, approval, approved_by, .. } = Entry::of(&sets[0]).mandate();
    assert_eq!([undoes, approval, approved_by], ["one/edge-1", "cab-1182", "ana"].map(|text| Some(text.to_owned())));
}

/// A change set of two resources.
fn set() -> ChangeSet {
    let Packed { mut sets, .. } = packed(&[prepared("sg-1", "one", 1, 10), prepared("sg-2", "one", 1, 10)]);
    sets.remove(0)
}

#[test]
fn a_change_set_is_open_until_the_last_of_its_resources_has_an_outcome() {
    use engine::plan::Outcome::{Failed, Verified};
    let entry = Entry::of(&set());
    let first = outcome("sg-1", Verified, 1);
    let status = entry.progress(&[first.clone(), outcome("sg-9", Verified, 1)]);
    assert_eq!((status.phase, status.edits.len()), (Some(Phase::Applying), 1));
    let status = entry.progress(&[first, outcome("sg-2", Failed(Failure::Refused), 1)]);
    assert_eq!((status.phase, status.edits[1].verified_calls), (Some(Phase::PartlyApplied), 1));
}

#[test]
fn of_what_an_earlier_process_left_open_nothing_is_known_unless_it_never_began() {
    let (mut set, now) = (set(), Timestamp::UNIX_EPOCH);
    let proposed = ChangeSetSpec { proposed: true, ..set.spec.clone() };
    let phase = |spec| abandoned(&ChangeSet { spec, ..set.clone() }, now).phase;
    assert_eq!(phase(proposed), Some(Phase::Expired), "nobody was asked yet");
    assert_eq!(phase(set.spec.clone()), Some(Phase::PartlyApplied), "its edits follow the first write at once");
    let unknown = |spec| interrupted(&ChangeSet { spec, ..set.clone() }).len();
    assert_eq!((unknown(ChangeSetSpec { proposed: true, ..set.spec.clone() }), unknown(set.spec.clone())), (0, 2));
    set.status = Some(Entry::of(&set).progress(&[outcome("sg-1", engine::plan::Outcome::Verified, 1)]));
    assert_eq!(interrupted(&set), ["sg-2"]);
    let closed = abandoned(&set, now);
    assert_eq!(closed.phase, Some(Phase::PartlyApplied));
    let outcomes: Vec<_> = closed.edits.iter().map(|edit| (edit.resource.as_str(), edit.outcome)).collect();
    assert_eq!(outcomes, [("sg-1", Outcome::Verified), ("sg-2", Outcome::Unknown)]);
}

#[tokio::test]
async fn whoever_rejects_what_is_being_made_ends_it_for_good_and_the_rest_stays_rejected() {
    let made = Entry::of(&set()).progress(&[outcome("sg-1", engine::plan::Outcome::Verified, 1)]);
    let begun = ChangeSetStatus { phase: Some(Phase::Applying), decided_by: Some("ana".to_owned()), ..made };
    let set = ChangeSet { status: Some(begun), ..set() };
    let mut journal = Journal::new(creating().await, cell(&set).unwrap(), Leadership::default());
    journal.open.extend(Open::of(&set));
    let says = |decision, by: &str| Decided { decision, by: Some(by.to_owned()) };
    for decided in [says(Decision::Rejected, "bob"), says(Decision::Approved, "ana")] {
        journal.decide(|_| decided.clone()).await;
        assert_eq!(
            journal.proposals()[0].decision,
            Decision::Rejected,
            "its edits are not made by anybody else either"
        );
    }
    let [(_, told)] = journal.unwritten.as_slice() else { panic!("one status") };
    assert_eq!((told.phase, told.decided_by.as_deref()), (Some(Phase::Rejected), Some("bob")));
    let outcomes: Vec<_> = told.edits.iter().map(|edit| (edit.resource.as_str(), edit.outcome)).collect();
    assert_eq!(outcomes, [("sg-1", Outcome::Verified), ("sg-2", Outcome::Unknown)]);
}

fn status(phase: Phase, decided_by: Option<&str>) -> ChangeSetStatus {
    ChangeSetStatus { phase: Some(phase), decided_by: decided_by.map(str::to_owned), ..ChangeSetStatus::default() }
}

#[test]
fn what_people_decide_on_is_taken_up_by_a_later_process() {
    let taken_up = |status: ChangeSetStatus| {
        let set = ChangeSet { status: Some(status), ..set() };
        Open::of(&set).is_some()
    };
    assert!(taken_up(status(Phase::Proposed, None)));
    assert!(taken_up(status(Phase::Approved, Some("ana"))));
    assert!(taken_up(status(Phase::Rejected, Some("ana"))));
    assert!(taken_up(status(Phase::Applying, Some("ana"))));
    assert!(!taken_up(status(Phase::Applying, None)));
    assert!(!taken_up(status(Phase::Applied, Some("ana"))));
}

#[test]
fn an_approved_change_set_is_made_in_several_sweeps_and_keeps_who_approved_it() {
    let set = ChangeSet { status: Some(status(Phase::Applying, Some("ana"))), ..set() };
    let name = ChangeSetName { namespace: set.namespace().unwrap(), name: set.name_any() };
    let made = |id: &str, came: engine::plan::Outcome| ResourceOutcome {
        warrant: Warrant::Approval(name.clone()),
        ..outcome(id, came, 1)
    };
    let entry = Entry { proposed: true, ..Entry::of(&set) };
    use engine::plan::Outcome::{Failed, Verified};
    let first = entry.progress(&[
        made("sg-1", Verified),
        made("sg-2", Failed(Failure::Throttled)),
        outcome("sg-1", Verified, 1),
    ]);
    assert_eq!((first.phase, first.edits.len(), first.decided_by.as_deref()), (Some(Phase::Applying), 2, Some("ana")));
    let entry = Entry { status: first, ..entry };
    let last = entry.progress(&[made("sg-2", Verified)]);
    assert_eq!((last.phase, last.edits.len(), last.decided_by.as_deref()), (Some(Phase::Applied), 2, Some("ana")));
}

/// An API server that takes what is created, and nothing else.
async fn creating() -> Client {
    use axum::http::{StatusCode, header::CONTENT_TYPE};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let create = |body: String| async { (StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], body) };
    let router = axum::Router::new().route("/{*path}", axum::routing::post(create));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
}

#[tokio::test]
async fn what_is_proposed_is_known_also_while_nobody_can_say_so_in_it() {
    let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
    let mut journal =
        Journal::new(creating().await, Cell { kind: Kind::SecurityGroup, location }, Leadership::default());
    let prepared = [prepared("sg-1", "one", 1, 10)];
    journal.propose(&prepared, &authority(), |_| true).await;
    assert_eq!(journal.proposals().len(), 1);
    let unwritten: Vec<_> = journal.unwritten.iter().map(|(_, status)| status.phase).collect();
    assert_eq!(unwritten, [Some(Phase::Proposed)]);
}
