//! Waiting for something that another process does.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

const INTERVAL: Duration = Duration::from_millis(50);

/// Repeats `probe` until it succeeds and returns its value. The probe's error says what it saw instead; after the
/// deadline, the last one is part of this function's error.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn count() -> anyhow::Result<usize> { Ok(3) }
/// # async fn example() -> anyhow::Result<()> {
/// tests::wait_until("three groups are judged", Duration::from_secs(10), async || {
///     let judged = count().await?;
///     anyhow::ensure!(judged == 3, "{judged} are judged");
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub async fn wait_until<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut seen = None;
    loop {
        // A probe that hangs must not outlive the deadline either.
        match timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => seen = Some(error),
            Err(_) => {}
        }
        if Instant::now() + INTERVAL >= end {
            let seen = seen.unwrap_or_else(|| anyhow!("nothing: the first look did not end"));
            return Err(seen.context(format!("waited {} s in vain until {what}; last seen", deadline.as_secs_f32())));
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use anyhow::{bail, ensure};

    use super::*;

    #[tokio::test]
    async fn returns_the_value_of_the_first_success() -> Result<()> {
        let mut looks = 0;
        let value = wait_until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            ensure!(looks == 3, "look {looks}");
            Ok("seen")
        })
        .await?;
        assert_eq!((value, looks), ("seen", 3));
        Ok(())
    }

    #[tokio::test]
    async fn tells_what_it_saw_last() {
        let waited =
            wait_until("all is well", Duration::from_millis(300), async || -> Result<()> { bail!("2 of 3 are well") });
        let error = format!("{:#}", waited.await.unwrap_err());
        assert_eq!(error, "waited 0.3 s in vain until all is well; last seen: 2 of 3 are well");
    }

    #[tokio::test]
    async fn a_hanging_probe_ends_at_the_deadline() {
        let start = Instant::now();
        let waited = wait_until("it answers", Duration::from_millis(300), async || pending::<Result<()>>().await);
        assert!(waited.await.is_err());
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}
