//! A sample of `cargo chaos`.

use anyhow::Result;

use super::program;

#[tokio::test]
async fn a_process_that_dies_or_loses_its_lease_at_a_write_makes_no_difference() -> Result<()> {
    tests::chaos::sample(program(), 3, 1).await
}
