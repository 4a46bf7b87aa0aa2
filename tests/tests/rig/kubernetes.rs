//! The control plane, kubectl, and what a scenario sees of them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tests::{ControlPlane, Scenario, World, wait_until};

const CONFIG_MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: sample }
data: { greeting: hello }
";

#[tokio::test]
async fn kubectl_applies_gets_explains_and_describes() -> Result<()> {
    let scenario = World::shared().await?.scenario("kubectl").await?;
    let applied = scenario.apply(CONFIG_MAP).await?;
    assert_eq!(applied.stdout.trim(), "configmap/sample created");
    let kubectl = &scenario.kubectl;
    let greeting = kubectl.get(["configmap", "sample", "-o", "jsonpath={.data.greeting}"]);
    assert_eq!(greeting.await?, "hello");
    let explained = kubectl.explain("configmap.data").await?;
    assert!(explained.contains("Data contains the configuration data"), "{explained}");
    let described = kubectl.describe("configmap", "sample").await?;
    assert!(described.contains("greeting"), "{described}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_says_why() -> Result<()> {
    let scenario = World::shared().await?.scenario("refusal").await?;
    let refused = scenario.apply(&CONFIG_MAP.replace("sample", "No_Name")).await;
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("a lowercase RFC 1123 subdomain must consist of"), "{error}");
    Ok(())
}

#[tokio::test]
async fn scenarios_share_neither_namespace_nor_account() -> Result<()> {
    let world = World::shared().await?;
    let (one, other) = (world.scenario("apart").await?, world.scenario("apart").await?);
    assert_ne!(one.account, other.account);
    one.apply(CONFIG_MAP).await?;
    other.apply(&CONFIG_MAP.replace("hello", "$NAMESPACE $ACCOUNT")).await?;
    let greeting = async |scenario: &Scenario<'_>| -> Result<String> {
        let maps: Api<ConfigMap> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
        let data: BTreeMap<_, _> = maps.get("sample").await?.data.unwrap_or_default();
        Ok(data.get("greeting").cloned().unwrap_or_default())
    };
    assert_eq!(greeting(&one).await?, "hello");
    assert_eq!(greeting(&other).await?, format!("{} {}", other.namespace, other.account));
    Ok(())
}

const SAMPLE_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: samples.rig.example }
spec:
  group: rig.example
  scope: Namespaced
  names: { kind: Sample, plural: samples }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {} }
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: { size: { type: integer, description: How large it is. } }
            x-kubernetes-validations: [{ rule: self.size < 10, message: a sample is small }]
          status: { type: object, x-kubernetes-preserve-unknown-fields: true }
";

#[tokio::test]
async fn a_condition_of_any_kind_is_awaited_for_the_present_generation() -> Result<()> {
    let world = World::shared().await?;
    world.control_plane.apply_crds([SAMPLE_CRD.to_owned()]).await?;
    let scenario = world.scenario("conditions").await?;
    let sample = "{apiVersion: rig.example/v1, kind: Sample, metadata: {name: one}, spec: {size: 1}}";
    scenario.apply(sample).await?;
    scenario.apply(&sample.replace("1}", "2}")).await?;
    let samples = scenario.api("Sample.rig.example").await?;
    let patch = async |generation: i64| {
        let status = json!({"status": {"conditions": [{
            "type": "Ready", "status": "True", "observedGeneration": generation,
        }]}});
        samples.patch_status("one", &PatchParams::default(), &Patch::Merge(status)).await
    };
    patch(1).await?;
    let mut ready = pin!(scenario.wait_for_condition("Sample.rig.example", "one", "Ready", "True"));
    let early = tokio::time::timeout(Duration::from_millis(500), ready.as_mut()).await;
    assert!(early.is_err(), "it was ready at the generation before: {early:?}");
    patch(2).await?;
    assert_eq!(ready.await?.metadata.generation, Some(2));
    let status = scenario.status("Sample.rig.example", "one").await?;
    assert_eq!(status.pointer("/conditions/0/observedGeneration"), Some(&json!(2)));
    Ok(())
}

#[tokio::test]
async fn custom_resources_are_explained_and_validated() -> Result<()> {
    let world = World::shared().await?;
    world.control_plane.apply_crds([SAMPLE_CRD.to_owned()]).await?;
    let scenario = world.scenario("custom").await?;
    // A kind is served a moment before it can be discovered.
    let explain = async || scenario.kubectl.explain("sample.spec.size").await;
    let explained = wait_until("the new kind is discovered", scenario.patience, explain).await?;
    assert!(explained.contains("How large it is."), "{explained}");
    let large = "{apiVersion: rig.example/v1, kind: Sample, metadata: {name: large}, spec: {size: 10}}";
    let error = format!("{:#}", scenario.apply(large).await.unwrap_err());
    assert!(error.contains("a sample is small"), "{error}");
    assert!(scenario.api("Lease.coordination.k8s.io").await.is_ok());
    let unknown = scenario.api("Nonsense").await.unwrap_err().to_string();
    assert!(unknown.contains("serves no kind Nonsense"), "{unknown}");
    Ok(())
}

#[tokio::test]
async fn a_service_account_has_its_own_rights_and_no_others() -> Result<()> {
    let world = World::shared().await?;
    let scenario = world.scenario("rights").await?;
    scenario.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader}}").await?;
    scenario.kubectl.run(["create", "role", "reads", "--verb=get,list", "--resource=configmaps"]).await?;
    let subject = format!("--serviceaccount={}:reader", scenario.namespace);
    scenario.kubectl.run(["create", "rolebinding", "reads", "--role=reads", &subject]).await?;
    let kubeconfig = world.control_plane.kubeconfig_of_service_account(&scenario.namespace, "reader");
    let kubectl = scenario.kubectl.with_kubeconfig(kubeconfig.await?);
    kubectl.get(["configmaps"]).await?;
    let error = format!("{:#}", kubectl.apply(CONFIG_MAP).await.unwrap_err());
    assert!(error.contains("is forbidden") || error.contains("cannot"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_was_killed_comes_back_with_its_data() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let kubectl = control_plane.kubectl();
    kubectl.apply(CONFIG_MAP).await?;
    let url = control_plane.url();

    control_plane.kill_api_server().await;
    let away = kubectl.get(["configmap", "sample"]).await.unwrap_err();
    assert!(format!("{away:#}").contains("refused"), "{away:#}");
    assert!(control_plane.freeze_api_server(true).await.is_err());

    control_plane.restart_api_server().await?;
    assert_eq!(control_plane.url(), url);
    kubectl.get(["configmap", "sample"]).await?;

    control_plane.freeze_api_server(true).await?;
    let version = kubectl.run(["get", "--raw=/version", "--request-timeout=1s"]);
    assert!(version.await.is_err(), "a frozen API server does not answer");
    control_plane.freeze_api_server(false).await?;
    kubectl.get(["configmap", "sample"]).await?;

    let folder = control_plane.folder().to_owned();
    control_plane.stop();
    assert!(!folder.exists());
    Ok(())
}
