use super::*;

fn answered(status: u16) -> Answered {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

#[test]
fn what_is_tried_again_is_what_aws_tries_again() {
    let transient = |answer| judge("https://a", answer).err().map(|error| error.transient);
    for status in [200, 204, 299] {
        assert_eq!(transient(answered(status)), None, "{status}");
    }
    for status in [429, 500, 503, 599] {
        assert_eq!(transient(answered(status)), Some(true), "{status}");
    }
    for status in [301, 400, 404] {
        assert_eq!(transient(answered(status)), Some(false), "{status}");
    }
    let long = |status| {
        let mut answer = answered(status).unwrap();
        *answer.body_mut() = Bytes::from(vec![b'x'; MAX_ANSWER + 1]);
        transient(Ok(answer))
    };
    assert_eq!((long(500), long(200)), (Some(false), None));
    let text = String::new;
    assert_eq!(transient(Err(OutboundError::TimedOut)), Some(true));
    assert_eq!(transient(Err(OutboundError::Unreachable(text()))), Some(true));
    assert_eq!(transient(Err(OutboundError::TooLarge)), Some(false));
    assert_eq!(transient(Err(OutboundError::Broken(text()))), Some(false));
    assert_eq!(transient(Err(OutboundError::Refused(text()))), Some(false));
}

#[test]
fn answers_are_counted_as_aws_does() {
    for (status, expected) in [(200, "2XX"), (302, "Other"), (404, "4XX"), (500, "5XX")] {
        assert_eq!(counted(&answered(status)), expected);
    }
    assert_eq!(counted(&Err(OutboundError::TimedOut)), "RequestTimeout");
}

#[test]
fn no_path_leaves_what_the_owner_has_confirmed() {
    for path in ["/hook/../admin", "/hook/%2e%2E/admin", "/hook/.", ".."] {
        assert!(climbs(path), "{path}");
    }
    for path in ["/", "/hook/a..b", "/hook/...", "/hook/.well-known"] {
        assert!(!climbs(path), "{path}");
    }
}
