//! The judgement on writes to functions: who is let in, and who is shut out.

use anyhow::{Context as _, Result};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::types::FunctionUrlAuthType;
use serde_json::{Value, json};
use tests::emulator::Seed;
use tests::{Scenario, World, aws_client};

use super::{REGION, role_keys, verdict};

const INVOKE: &str = "lambda:InvokeFunction";

/// A write to the policy of a function, or to its URL, by the program under test unless it says otherwise.
#[derive(Clone, Copy)]
enum Write {
    Adds { sid: &'static str, principal: &'static str, account: Option<&'static str> },
    Removes { sid: &'static str },
    AsksForNothing,
    AsksForSignatures,
    ByHand(&'static Write),
}

use Write::{Adds, AsksForNothing, AsksForSignatures, ByHand, Removes};

const NEW: Write = Adds { sid: "new", principal: "777788889999", account: None };
const NARROW: Write = Adds { sid: "narrow", principal: "s3.amazonaws.com", account: Some("111122223333") };
const PARTNER: Write = Removes { sid: "partner" };
const EVERYBODY: Write = Removes { sid: "everybody" };
const BUCKETS: Write = Removes { sid: "buckets" };

/// A scenario in which everybody was let in to a function, a partner and all buckets, before these writes.
async fn after(writes: &[Write]) -> Result<Scenario<'static>> {
    let scenario = World::shared().await?.scenario("judged").await?;
    let arn = format!("arn:aws:lambda:{REGION}:{}:function:shop", scenario.account);
    let allow = |sid: &str, principal: Value| json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": INVOKE, "Resource": arn});
    let policy = json!([
        allow("everybody", json!("*")),
        allow("partner", json!({"AWS": "arn:aws:iam::444455556666:root"})),
        allow("buckets", json!({"Service": "s3.amazonaws.com"})),
    ]);
    let shop = json!({"name": "shop", "policy": {"": policy}, "urls": [{"authType": "AWS_IAM"}]});
    scenario.aws.seed(&Seed::in_region(REGION).with("functions", json!([shop]))).await?;
    let url = scenario.world.emulator.url();
    let program = aws_client::lambda_as(&url, role_keys(&scenario).await?, REGION);
    let hand = aws_client::lambda(&url, &scenario.account, REGION);
    for write in writes {
        match write {
            ByHand(write) => make(&hand, write).await?,
            write => make(&program, write).await?,
        }
    }
    Ok(scenario)
}

async fn make(lambda: &Client, write: &Write) -> Result<()> {
    match *write {
        Adds { sid, principal, account } => {
            let request = lambda.add_permission().function_name("shop").statement_id(sid).action(INVOKE);
            request.principal(principal).set_source_account(account.map(str::to_owned)).send().await?;
        }
        Removes { sid } => {
            lambda.remove_permission().function_name("shop").statement_id(sid).send().await?;
        }
        AsksForNothing => ask(lambda, FunctionUrlAuthType::None).await?,
        AsksForSignatures => ask(lambda, FunctionUrlAuthType::AwsIam).await?,
        ByHand(_) => {}
    }
    Ok(())
}

async fn ask(lambda: &Client, auth: FunctionUrlAuthType) -> Result<()> {
    lambda.update_function_url_config().function_name("shop").auth_type(auth).send().await?;
    Ok(())
}

#[tokio::test]
async fn shutting_everybody_out_is_no_harm_but_letting_anybody_in_is() -> Result<()> {
    assert_eq!(verdict(after(&[EVERYBODY]).await?), None);
    assert_eq!(verdict(after(&[NEW]).await?), None, "everybody could call it");
    assert_eq!(verdict(after(&[EVERYBODY, ByHand(&NEW)]).await?), None);
    let complaint = verdict(after(&[EVERYBODY, NEW]).await?).context("nobody complains")?;
    assert!(complaint.contains("let in:\n  shop 777788889999 lambda:invokefunction"), "{complaint}");
    let scenario = after(&[EVERYBODY, NEW]).await?;
    scenario.may_let_in(["shop 777788889999 lambda:InvokeFunction"])?;
    scenario.judge().await?;
    assert_eq!(verdict(scenario), None);
    Ok(())
}

#[tokio::test]
async fn a_url_that_asks_for_no_signature_any_more_fails_the_test() -> Result<()> {
    let by_hand = after(&[ByHand(&AsksForNothing), AsksForSignatures]).await?;
    assert_eq!(verdict(by_hand), None);
    let complaint = verdict(after(&[AsksForNothing, AsksForSignatures]).await?).context("nobody complains")?;
    assert!(complaint.contains("shop * unsigned"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn a_caller_who_is_named_is_never_shut_out() -> Result<()> {
    let one_by_one = [PARTNER, EVERYBODY];
    let complaint = verdict(after(&one_by_one).await?).context("nobody complains")?;
    assert!(complaint.contains("shut out:\n  shop 444455556666 lambda:invokefunction"), "{complaint}");
    assert_eq!(verdict(after(&[PARTNER]).await?), None, "everybody is let in");
    assert_eq!(verdict(after(&[ByHand(&PARTNER), EVERYBODY]).await?), None, "the owner has shut him out");
    let scenario = after(&one_by_one).await?;
    scenario.may_shut_out(["shop 444455556666 lambda:InvokeFunction"])?;
    assert_eq!(verdict(scenario), None, "the test says that a baseline forbids him");
    Ok(())
}

#[tokio::test]
async fn a_narrower_statement_comes_before_the_wide_one_goes() -> Result<()> {
    let terms = |scenario: &Scenario<'_>| -> Result<()> {
        scenario.may_shut_out(["shop s3.amazonaws.com lambda:InvokeFunction"])?;
        scenario.must_let_in(["shop s3.amazonaws.com lambda:InvokeFunction aws:SourceAccount=111122223333"])
    };
    let in_order = after(&[EVERYBODY, NARROW, BUCKETS]).await?;
    terms(&in_order)?;
    assert_eq!(verdict(in_order), None);
    let gap = after(&[EVERYBODY, BUCKETS, ByHand(&NARROW)]).await?;
    terms(&gap)?;
    let complaint = verdict(gap).context("nobody complains")?;
    let own = "shut out:\n  shop s3.amazonaws.com lambda:invokefunction aws:sourceaccount=111122223333";
    assert!(complaint.contains(own), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn whoever_asks_for_code_fails_the_test() -> Result<()> {
    let scenario = after(&[]).await?;
    let program = aws_client::lambda_as(&scenario.world.emulator.url(), role_keys(&scenario).await?, REGION);
    program.get_function_configuration().function_name("shop").send().await?;
    scenario.judge().await?;
    program.get_function().function_name("shop").send().await?;
    let complaint = verdict(scenario).context("nobody complains")?;
    assert!(complaint.contains("asks for code: GetFunction"), "{complaint}");
    Ok(())
}
