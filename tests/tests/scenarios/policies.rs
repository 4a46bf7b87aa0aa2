//! The admission policies and the roles: who may write what, proved on the real API server.
//!
//! They hold for a whole control plane, so these tests share one of their own, each in a namespace of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::policy::{self, DEFAULT_CONTROLLER_USER};
use crds::{conditions, roles};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use tests::baseward::Controller;
use tests::kubectl::Output;
use tests::{ControlPlane, Kubectl, Scenario, World, wait_until};
use tokio::sync::OnceCell;

use super::{ACCOUNT, BASELINE, WEB_ONLY, baseline, given, program, wait_for_ingress, wait_for_sweeps};

const CHANGE_SET: &str = include_str!("../../../crds/examples/change-set.yaml");
const APPROVAL: &str = include_str!("../../../crds/examples/approval.yaml");
const NAME: &str = "edge-7f3a9c";

/// A control plane with the CRDs and the policies for the controller of the default name.
async fn control_plane() -> Result<&'static ControlPlane> {
    static CONTROL_PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    CONTROL_PLANE
        .get_or_try_init(|| async {
            let control_plane = without_policies().await?;
            control_plane.install_policies(DEFAULT_CONTROLLER_USER).await?;
            bind_controller(&control_plane.kubectl(), "cluster-admin").await?;
            Ok(control_plane)
        })
        .await
}

async fn without_policies() -> Result<ControlPlane> {
    let control_plane = ControlPlane::start().await?;
    control_plane.apply_crds(crds::yaml_files()?.into_iter().map(|(_, yaml)| yaml)).await?;
    Ok(control_plane)
}

async fn bind_controller(kubectl: &Kubectl, role: &str) -> Result<()> {
    let subject = "--serviceaccount=baseward-system:baseward";
    kubectl.run(["create", "clusterrolebinding", "baseward", &format!("--clusterrole={role}"), subject]).await?;
    until_may(&kubectl.as_user(DEFAULT_CONTROLLER_USER), "create", "changesets.baseward.dev").await
}

/// The API server hears of what was bound a moment later.
async fn until_may(kubectl: &Kubectl, verb: &str, resource: &str) -> Result<()> {
    wait_until(&format!("{verb} on {resource} is granted"), Duration::from_secs(30), async || {
        kubectl.run(["auth", "can-i", verb, resource]).await.map(drop)
    })
    .await
}

/// A namespace in which the administrator acts, who has every right and is not the controller.
async fn namespace(name: &str) -> Result<Kubectl> {
    let kubectl = control_plane().await?.kubectl();
    kubectl.run(["create", "namespace", name]).await?;
    Ok(kubectl.in_namespace(name))
}

/// A user with these cluster roles in the namespace.
async fn user(admin: &Kubectl, name: &str, roles: &[&str]) -> Result<Kubectl> {
    let user = admin.as_user(name);
    for role in roles {
        bind(admin, name, &format!("--clusterrole={role}")).await?;
        let (verb, resource) = match *role {
            roles::EDITOR => ("create", "securitygroupbaselines"),
            roles::ENFORCER => (roles::ENFORCE, "securitygroupbaselines"),
            roles::APPROVER => (roles::ROLLBACK, "changesets"),
            roles::EXEMPTER => ("create", "baselineexemptions"),
            other => panic!("what does {other} grant?"),
        };
        until_may(&user, verb, &format!("{resource}.baseward.dev")).await?;
    }
    Ok(user)
}

/// A user with some verbs on some of our resources (or on one object: RESOURCE/NAME), and nothing else.
async fn user_with(admin: &Kubectl, name: &str, rules: &[(&str, &str)]) -> Result<Kubectl> {
    let user = admin.as_user(name);
    for (number, (verb, resource)) in rules.iter().enumerate() {
        let (resource, object) = resource.split_once('/').unwrap_or((resource, ""));
        let (role, resource) = (format!("{name}-{number}"), format!("{resource}.baseward.dev"));
        let mut create = vec!["create".to_owned(), "role".to_owned(), role.clone()];
        create.extend([format!("--verb={verb}"), format!("--resource={resource}")]);
        create.extend((!object.is_empty()).then(|| format!("--resource-name={object}")));
        admin.run(create).await?;
        bind(admin, name, &format!("--role={role}")).await?;
        until_may(&user, verb, format!("{resource}/{object}").trim_end_matches('/')).await?;
    }
    Ok(user)
}

async fn bind(admin: &Kubectl, user: &str, role: &str) -> Result<()> {
    let name = format!("{user}-{}", role.rsplit(['-', '=']).next().unwrap_or_default());
    admin.run(["create", "rolebinding", &name, role, &format!("--user={user}")]).await?;
    Ok(())
}

async fn create(kubectl: &Kubectl, yaml: &str) -> Result<Output> {
    let yaml: Vec<&str> = yaml.lines().filter(|line| !line.starts_with("  namespace:")).collect();
    kubectl.run_with_input(["create", "-f", "-"], &yaml.join("\n")).await
}

async fn patch(kubectl: &Kubectl, object: &str, patch: &str, flags: &[&str]) -> Result<Output> {
    kubectl.run(["patch", object, "--type=merge", "-p", patch].into_iter().chain(flags.iter().copied())).await
}

#[track_caller]
fn assert_refused(answer: Result<Output>, policy: &str, sentences: &[&str]) {
    let refusal = format!("{:#}", answer.expect_err("it was not refused"));
    assert!(refusal.contains(&format!("ValidatingAdmissionPolicy '{policy}'")), "{refusal}");
    for sentence in sentences {
        assert!(refusal.contains(sentence), "{sentence:?} is not in: {refusal}");
    }
}

/// What stands at a place of an object; empty if nothing does.
async fn at(kubectl: &Kubectl, object: &str, path: &str) -> Result<String> {
    kubectl.get([object, "-o", &format!("jsonpath={path}")]).await
}

#[tokio::test]
async fn change_sets_are_written_by_the_controller_alone() -> Result<()> {
    let admin = namespace("change-sets").await?;
    let controller = admin.as_user(DEFAULT_CONTROLLER_USER);
    let refused = |answer| {
        let sentences =
            [&format!("only {DEFAULT_CONTROLLER_USER} writes and deletes them"), "create a ChangeSetApproval"];
        assert_refused(answer, policy::CHANGE_SETS, &sentences);
    };
    let set = format!("changesets/{NAME}");
    refused(create(&admin, CHANGE_SET).await);
    assert_eq!(admin.get(["changesets", "-o", "name"]).await?, "");
    create(&controller, CHANGE_SET).await?;

    let applied = r#"{"status":{"phase":"Applied"}}"#;
    refused(patch(&admin, &set, applied, &["--subresource=status"]).await);
    refused(admin.run(["label", &set, "mine=yes"]).await);
    refused(admin.run(["delete", &set]).await);
    refused(admin.run(["delete", "changesets", "--all"]).await);
    assert_eq!(at(&admin, &set, "{.status.phase}{.metadata.labels}").await?, "");
    patch(&controller, &set, applied, &["--subresource=status"]).await?;
    assert_eq!(at(&admin, &set, "{.status.phase}").await?, "Applied");

    let approver = user(&admin, "ana@example.com", &[roles::APPROVER]).await?;
    create(&approver, APPROVAL).await?;
    let approval = format!("changesetapprovals/{NAME}");
    let honoured = format!(
        r#"{{"status":{{"conditions":[{{"type":"{}","status":"True","reason":"{}","message":"","lastTransitionTime":"2026-11-21T10:00:00Z"}}]}}}}"#,
        conditions::ACCEPTED,
        conditions::HONOURED
    );
    refused(patch(&admin, &approval, &honoured, &["--subresource=status"]).await);
    assert_eq!(at(&admin, &approval, "{.status}").await?, "");
    patch(&controller, &approval, &honoured, &["--subresource=status"]).await?;
    let shown = admin.get([&approval]).await?;
    assert!(shown.contains("Approve   ana@example.com   True       Honoured"), "{shown}");
    controller.run(["delete", &set]).await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_the_change_sets_in_it() -> Result<()> {
    let admin = namespace("goes").await?;
    create(&admin.as_user(DEFAULT_CONTROLLER_USER), CHANGE_SET).await?;
    admin.run(["delete", "namespace", "goes", "--wait=false"]).await?;
    // No controller manager runs here: this is what its namespace controller would do, as itself.
    let controller = |name: &str| admin.as_user(&format!("system:serviceaccount:kube-system:{name}"));
    let empty = ["delete", "changesets", "--all"];
    assert_refused(controller("generic-garbage-collector").run(empty).await, policy::CHANGE_SETS, &["journal"]);
    controller("namespace-controller").run(empty).await?;
    assert_eq!(admin.get(["changesets", "-o", "name"]).await?, "");
    let finalize = ["replace", "--raw", "/api/v1/namespaces/goes/finalize", "-f", "-"];
    admin.run_with_input(finalize, r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"goes"}}"#).await?;
    let gone = admin.get(["namespace", "goes"]).await.unwrap_err();
    ensure!(format!("{gone:#}").contains("NotFound"), "{gone:#}");
    Ok(())
}

fn approval(action: &str, by: &str) -> String {
    APPROVAL.replace("action: Approve", &format!("action: {action}")).replace("ana@example.com", by)
}

#[tokio::test]
async fn an_approval_is_in_the_name_of_its_author() -> Result<()> {
    let admin = namespace("own-name").await?;
    let ana = user(&admin, "ana", &[roles::APPROVER]).await?;
    let sentence = "spec.by must name who creates the approval: write ana, not bob";
    assert_refused(create(&ana, &approval("Approve", "bob")).await, policy::APPROVALS, &[sentence]);
    assert_refused(create(&admin, &approval("Approve", "ana")).await, policy::APPROVALS, &["write admin, not ana"]);
    assert_eq!(admin.get(["changesetapprovals", "-o", "name"]).await?, "");
    create(&ana, &approval("Approve", "ana")).await?;

    // From here on nobody can put another word into her mouth; what is around it is of no concern.
    let object = format!("changesetapprovals/{NAME}");
    let changed = patch(&admin, &object, r#"{"spec":{"by":"admin"}}"#, &[]).await.unwrap_err();
    ensure!(format!("{changed:#}").contains("an approval cannot be changed: create another one"), "{changed:#}");
    admin.run(["label", &object, "seen=yes"]).await?;
    assert_eq!(at(&admin, &object, "{.spec.by}").await?, "ana");
    Ok(())
}

#[tokio::test]
async fn an_approval_takes_the_verb_on_its_change_set() -> Result<()> {
    let admin = namespace("verbs").await?;
    let lacks = |verb: &str, user: &str| {
        format!(
            "{user} lacks the verb {verb} on change set {NAME}: somebody who may grant it has to bind the ClusterRole baseward-approver in namespace verbs"
        )
    };
    let may_create = ("create", "changesetapprovals");
    let vic = user_with(&admin, "vic", &[may_create]).await?;
    for action in ["Approve", "Reject"] {
        let answer = create(&vic, &approval(action, "vic")).await;
        assert_refused(answer, policy::APPROVALS, &[&lacks("approve", "vic")]);
    }
    let other = user_with(&admin, "other", &[may_create, ("approve", "changesets/another")]).await?;
    let answer = create(&other, &approval("Approve", "other")).await;
    assert_refused(answer, policy::APPROVALS, &[&lacks("approve", "other")]);
    let rob = user_with(&admin, "rob", &[may_create, ("approve", &format!("changesets/{NAME}"))]).await?;
    let answer = create(&rob, &approval("Rollback", "rob")).await;
    assert_refused(answer, policy::APPROVALS, &[&lacks("rollback", "rob")]);
    assert_eq!(admin.get(["changesetapprovals", "-o", "name"]).await?, "");
    create(&rob, &approval("Reject", "rob")).await?;
    let una = user_with(&admin, "una", &[may_create, ("rollback", "changesets")]).await?;
    let undo = |text: String| text.replace("name: edge-7f3a9c", "name: undo");
    let answer = create(&una, &undo(approval("Approve", "una"))).await;
    assert_refused(answer, policy::APPROVALS, &[&lacks("approve", "una")]);
    create(&una, &undo(approval("Rollback", "una"))).await?;
    Ok(())
}

fn in_mode(mode: &str, fields: &str) -> String {
    baseline(mode, fields).replace(", namespace: $NAMESPACE", "").replace("$NAMESPACE", "one")
}

#[tokio::test]
async fn enforce_takes_the_verb() -> Result<()> {
    let admin = namespace("enforce").await?;
    let editor = user(&admin, "eve", &[roles::EDITOR]).await?;
    let refused = |answer| {
        let sentence = "eve lacks the verb enforce on securitygroupbaselines edge, where spec.mode or the mode of an override is Enforce: take another mode, or somebody who may grant it has to bind the ClusterRole baseward-enforcer in namespace enforce";
        assert_refused(answer, policy::ENFORCE, &[sentence]);
    };
    let overridden =
        "overrides: [{control: sg-rule-count, mode: \"Off\"}, {control: sg-no-open-admin-ports, mode: Enforce}]";
    refused(create(&editor, &in_mode("Enforce", "")).await);
    refused(create(&editor, &in_mode("Audit", overridden)).await);
    refused(editor.run_with_input(["apply", "--server-side", "-f", "-"], &in_mode("Enforce", "")).await);
    assert_eq!(admin.get(["sgb", "-o", "name"]).await?, "");
    create(&editor, &in_mode("Audit", "")).await?;
    let (enforce, audit) = (r#"{"spec":{"mode":"Enforce"}}"#, r#"{"spec":{"mode":"Audit"}}"#);
    let over = r#"{"spec":{"overrides":[{"control":"sg-no-open-admin-ports","mode":"Enforce"}]}}"#;
    refused(patch(&editor, "sgb/edge", enforce, &[]).await);
    refused(patch(&editor, "sgb/edge", over, &[]).await);
    assert_eq!(at(&admin, "sgb/edge", "{.spec.mode} {.metadata.generation}").await?, "Audit 1");

    let enforcer = user(&admin, "eli", &[roles::EDITOR, roles::ENFORCER]).await?;
    patch(&enforcer, "sgb/edge", enforce, &[]).await?;
    // What it enforces is not for others to change; a look now, and an end to it, is.
    refused(patch(&editor, "sgb/edge", r#"{"spec":{"select":{"all":null,"names":["*"]}}}"#, &[]).await);
    editor.run(["annotate", "sgb/edge", &format!("{}=now", crds::RECONCILE_AT)]).await?;
    patch(&editor, "sgb/edge", audit, &[]).await?;
    Ok(())
}

#[tokio::test]
async fn the_verb_on_functions_is_that_of_their_baselines() -> Result<()> {
    let admin = namespace("enforce-functions").await?;
    let of_functions = |mode: &str| in_mode(mode, "").replace(BASELINE, "LambdaBaseline");
    let may_enforce_groups = [("create", "lambdabaselines"), ("enforce", "securitygroupbaselines")];
    let gus = user_with(&admin, "gus", &may_enforce_groups).await?;
    let sentence = "gus lacks the verb enforce on lambdabaselines edge";
    assert_refused(create(&gus, &of_functions("Enforce")).await, policy::ENFORCE, &[sentence]);
    create(&gus, &of_functions("Audit")).await?;
    let enforcer = user(&admin, "eli", &[roles::EDITOR, roles::ENFORCER]).await?;
    patch(&enforcer, "lamb/edge", r#"{"spec":{"mode":"Enforce"}}"#, &[]).await?;
    Ok(())
}

#[tokio::test]
async fn the_verb_can_be_bound_to_one_baseline_even_if_the_server_names_it() -> Result<()> {
    let admin = namespace("one-baseline").await?;
    let may_write = ("create", "securitygroupbaselines");
    let one = user_with(&admin, "one", &[may_write, ("enforce", "securitygroupbaselines/edge")]).await?;
    create(&one, &in_mode("Enforce", "")).await?;
    let unnamed = in_mode("Enforce", "").replace("name: edge", "generateName: edge-");
    let sentence = "one lacks the verb enforce on securitygroupbaselines edge-";
    assert_refused(create(&one, &unnamed).await, policy::ENFORCE, &[sentence]);
    Ok(())
}

/// An exemption that ends so many hours from now, with more metadata.
fn exemption(hours: i64, metadata: &str) -> Result<String> {
    let expires = Timestamp::now().checked_add(hours.hours())?;
    Ok(format!(
        "apiVersion: baseward.dev/v1alpha1\nkind: BaselineExemption\nmetadata: {{name: bastion{metadata}}}\nspec:\n  controls: [sg-no-open-admin-ports]\n  resources: {{names: [\"bastion-*\"]}}\n  reason: until the VPN is there\n  ticket: SEC-412\n  expires: \"{expires:.0}\"\n"
    ))
}

const A_YEAR: i64 = 365 * 24;

#[tokio::test]
async fn an_exemption_ends_within_a_year_of_its_creation() -> Result<()> {
    let admin = namespace("exemptions").await?;
    let exempter = user(&admin, "max", &[roles::EXEMPTER]).await?;
    let past = "must lie after the exemption was created";
    assert_refused(create(&exempter, &exemption(-1, "")?).await, policy::EXEMPTIONS, &[past, "at most 365 days later"]);
    let late = "must be at most 365 days after the exemption was created: choose 20";
    assert_refused(create(&exempter, &exemption(A_YEAR + 1, "")?).await, policy::EXEMPTIONS, &[late]);
    // The API server dates an object itself, before it asks the policies.
    let forged = Timestamp::now().checked_add((A_YEAR / 2).hours())?;
    let forged = exemption(A_YEAR + 1, &format!(", creationTimestamp: \"{forged:.0}\""))?;
    assert_refused(create(&exempter, &forged).await, policy::EXEMPTIONS, &[late]);
    let apply = ["apply", "--server-side", "-f", "-"];
    assert_refused(exempter.run_with_input(apply, &forged).await, policy::EXEMPTIONS, &[late]);
    let fine = exemption(A_YEAR - 1, "")?;
    let endless: String =
        fine.lines().filter(|line| !line.contains("expires")).map(|line| format!("{line}\n")).collect();
    for (yaml, sentence) in [
        (endless, "spec.expires: Required value"),
        (fine.replace("[sg-no-open-admin-ports]", "[\"*\"]"), "spec.controls[0]: Unsupported value"),
    ] {
        let refusal = format!("{:#}", create(&exempter, &yaml).await.unwrap_err());
        ensure!(refusal.contains(sentence), "{refusal}");
    }
    assert_eq!(admin.get(["bex", "-o", "name"]).await?, "");

    let (rest, expires) = fine.rsplit_once("expires").unwrap();
    create(&exempter, &format!("{rest}expires{}", expires.to_lowercase())).await?;
    let later = exemption(A_YEAR + 1, "")?;
    assert_refused(exempter.apply(&later).await, policy::EXEMPTIONS, &[late]);
    exempter.apply(&exemption(1, "")?).await?;
    let editor = user(&admin, "eve", &[roles::EDITOR, roles::ENFORCER, roles::APPROVER]).await?;
    let excused = format!("{:#}", editor.apply(&fine).await.unwrap_err());
    ensure!(excused.contains("cannot patch resource"), "{excused}");
    Ok(())
}

#[tokio::test]
async fn what_is_stored_is_what_was_built() -> Result<()> {
    assert_eq!(missing(control_plane().await?).await?, Vec::<String>::new());
    Ok(())
}

async fn missing(control_plane: &ControlPlane) -> Result<Vec<String>> {
    let client = control_plane.client().await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let all = ListParams::default();
    let (policies, bindings) = (policies.list(&all).await?.items, bindings.list(&all).await?.items);
    Ok(policy::missing(&policies, &bindings, DEFAULT_CONTROLLER_USER))
}

#[tokio::test]
async fn policies_that_came_late_or_were_weakened() -> Result<()> {
    let control_plane = without_policies().await?;
    let kubectl = control_plane.kubectl().in_namespace("default");
    assert_eq!(missing(&control_plane).await?.len(), 8);
    create(&kubectl, &exemption(-1, "")?).await?;
    control_plane.install_policies(DEFAULT_CONTROLLER_USER).await?;
    assert_eq!(missing(&control_plane).await?, Vec::<String>::new());
    // An exemption that has run out can still be labelled and deleted. Its spec is checked when it changes.
    kubectl.run(["label", "bex/bastion", "seen=yes"]).await?;
    let answer = patch(&kubectl, "bex/bastion", r#"{"spec":{"reason":"other"}}"#, &[]).await;
    assert_refused(answer, policy::EXEMPTIONS, &["must lie after the exemption was created"]);

    let binding = |name: &str| format!("ValidatingAdmissionPolicyBinding/{name}");
    patch(&kubectl, &binding(policy::ENFORCE), r#"{"spec":{"validationActions":["Audit"]}}"#, &[]).await?;
    let narrow = r#"{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"watched":"yes"}}}}}"#;
    patch(&kubectl, &binding(policy::CHANGE_SETS), narrow, &[]).await?;
    kubectl.run(["delete", "ValidatingAdmissionPolicy", policy::APPROVALS]).await?;
    let weak = |kind: &str, name| format!("{kind} {name} is not the one that `baseward policies` prints");
    assert_eq!(
        missing(&control_plane).await?,
        [
            format!("ValidatingAdmissionPolicy {} is absent", policy::APPROVALS),
            weak("ValidatingAdmissionPolicyBinding", policy::CHANGE_SETS),
            weak("ValidatingAdmissionPolicyBinding", policy::ENFORCE),
        ]
    );
    Ok(())
}

const NAMESPACE: &str = "baseward-system";

/// The controller as it runs in a cluster: with its own ServiceAccount, and nothing but its own roles.
async fn deployed(world: &World) -> Result<Controller> {
    let control_plane = &world.control_plane;
    let kubectl = control_plane.kubectl();
    control_plane.install_policies(DEFAULT_CONTROLLER_USER).await?;
    kubectl.run(["create", "namespace", NAMESPACE]).await?;
    let own = kubectl.in_namespace(NAMESPACE);
    own.run(["create", "serviceaccount", "baseward"]).await?;
    bind_controller(&kubectl, roles::CONTROLLER).await?;
    let_it_lead(&own).await?;
    until_may(&own.as_user(DEFAULT_CONTROLLER_USER), "update", "leases.coordination.k8s.io/baseward").await?;
    let kubeconfig = control_plane.kubeconfig_of_service_account(NAMESPACE, "baseward").await?;
    program().through(kubeconfig).start_with(world, &["--lease-namespace", NAMESPACE]).await
}

async fn let_it_lead(own: &Kubectl) -> Result<()> {
    let lease = format!("--clusterrole={}", roles::CONTROLLER_LEASE);
    own.run(["create", "rolebinding", "baseward", &lease, "--serviceaccount=baseward-system:baseward"]).await?;
    Ok(())
}

#[tokio::test]
async fn the_controller_needs_no_more_than_its_roles() -> Result<()> {
    let world = World::start().await?;
    let controller = deployed(&world).await?;
    let scenario = world.scenario("roles").await?;
    let seeded = given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"]), ("other", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&exemption(24, "")?.replace("bastion-*", "other")).await?;
    scenario.wait_for_condition("BaselineExemption", "bastion", conditions::ACTIVE, "True").await?;
    scenario.apply(&baseline("Enforce", WEB_ONLY)).await?;
    wait_for_ingress(&scenario, &seeded, "bastion", &[]).await?;
    wait_until("the change set is applied", Duration::from_secs(30), async || {
        let phases = scenario.kubectl.get(["changesets", "-o", "jsonpath={.items[*].status.phase}"]).await?;
        ensure!(phases == "Applied", "{phases}");
        Ok(())
    })
    .await?;
    wait_until("events tell of it", Duration::from_secs(30), async || {
        let events = scenario.kubectl.get(["events.events.k8s.io", "-o", "name"]).await?;
        ensure!(!events.is_empty(), "none yet");
        Ok(())
    })
    .await?;
    let log = controller.terminate().await?.read()?;
    assert!(!log.contains("orbidden"), "{log}");
    Ok(())
}

/// Fails unless the lease was not renewed for as long as it is good for.
async fn has_run_out(scenario: &Scenario<'_>) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(scenario.client.clone(), NAMESPACE);
    let spec = leases.get("baseward").await?.spec.context("the lease has no spec")?;
    let renewed = spec.renew_time.context("it was never renewed")?.0;
    let good_for = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
    ensure!(renewed + good_for < Timestamp::now(), "it is good until {}", renewed + good_for);
    Ok(())
}

/// Another process may lead meanwhile, and know better.
#[tokio::test]
async fn who_cannot_renew_the_lease_reads_on_but_says_nothing_before_it_can_again() -> Result<()> {
    let world = World::start().await?;
    let _controller = deployed(&world).await?;
    let scenario = world.scenario("silent").await?;
    given(&scenario, &[("bastion", &["tcp 22 0.0.0.0/0"])]).await?;
    scenario.apply(ACCOUNT).await?;
    scenario.apply(&baseline("Audit", WEB_ONLY)).await?;
    scenario.wait_for_condition(BASELINE, "edge", "Ready", "True").await?;
    scenario.wait_for_condition("AWSAccount", &scenario.namespace, "Ready", "True").await?;

    let own = world.control_plane.kubectl().in_namespace(NAMESPACE);
    own.run(["delete", "rolebinding", "baseward"]).await?;
    wait_until("the lease has run out", scenario.patience, async || has_run_out(&scenario).await).await?;
    scenario.apply(&exemption(24, "")?).await?;
    scenario.apply(&ACCOUNT.replace("  namespaces:", "  rateShare: 49\n  namespaces:")).await?;
    scenario.apply(&baseline("Audit", "")).await?;
    wait_for_sweeps(&scenario, 1).await?;
    let objects = [(BASELINE, "edge"), ("AWSAccount", &scenario.namespace)];
    for (kind, name) in objects {
        assert_eq!(scenario.object(kind, name).await?.metadata.generation, Some(2));
        assert_eq!(scenario.status(kind, name).await?["observedGeneration"], 1, "{kind}");
    }
    assert!(scenario.status("BaselineExemption", "bastion").await?.is_null());

    let_it_lead(&own).await?;
    for (kind, name) in objects {
        scenario.wait_for_condition(kind, name, "Ready", "True").await?;
    }
    scenario.wait_for_condition("BaselineExemption", "bastion", conditions::ACTIVE, "True").await?;
    Ok(())
}
