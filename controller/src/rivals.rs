//! Who keeps undoing what is repaired: asked of CloudTrail.

use aws::cloudtrail::lookup_events::latest_other;
use aws::{AwsError, Connection, ErrorClass};
use engine::contests::Contests;
use engine::rivals::{Look, Seen};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

/// Looks for whoever undoes the repairs of a contested resource, if it is time for a look. A name is worth no trouble: what
/// goes wrong is tried again later.
pub async fn look(connection: &Connection, contests: &mut Contests, stop: &CancellationToken) {
    let Some(Look { subject, since }) = contests.look(Timestamp::now()) else { return };
    let looking = latest_other(connection, &subject, since);
    let Some(answer) = stop.run_until_cancelled(looking).await else { return };
    contests.seen(&subject, seen(answer), Timestamp::now());
}

fn seen(answer: Result<Option<String>, AwsError>) -> Seen {
    match answer {
        Ok(Some(name)) => Seen::Somebody(name),
        Ok(None) => Seen::Nobody,
        // Where the role itself may not be assumed, the inventory says so.
        Err(error) if error.class == ErrorClass::Denied && error.operation == "LookupEvents" => Seen::NotAllowed,
        Err(error) => {
            tracing::debug!(%error, "Nobody can be named");
            Seen::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use aws::Effect;

    use super::*;

    #[test]
    fn only_the_refusal_of_the_look_itself_is_told_and_any_other_failure_is_tried_again() {
        let failed = |class, operation| {
            let code = String::new();
            seen(Err(AwsError { class, effect: Effect::Refused, operation, code, request_id: None, detail: None }))
        };
        assert_eq!(failed(ErrorClass::Denied, "LookupEvents"), Seen::NotAllowed);
        assert_eq!(failed(ErrorClass::Denied, "AssumeRole"), Seen::Nothing);
        assert_eq!(failed(ErrorClass::Throttled, "LookupEvents"), Seen::Nothing);
        assert_eq!(seen(Ok(None)), Seen::Nobody);
        assert_eq!(seen(Ok(Some("arn".to_owned()))), Seen::Somebody("arn".to_owned()));
    }
}
