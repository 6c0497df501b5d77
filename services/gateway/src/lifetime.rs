//! How long a connection may last: a WebSocket as long as its account's limit says, a client with a certificate until that
//! expires, one that an authorizer let in as long as that allows, one that signed with temporary credentials as long as these.

use std::time::{Duration, Instant};

use fleethaven_session::{Close, Now};
use fleethaven_types::Timestamp;

/// What ends a connection whatever its client does.
#[derive(Debug, Default)]
pub(crate) struct Lifetime {
    /// A WebSocket has lasted as long as it may.
    pub(crate) websocket: Option<Instant>,
    /// It has lasted as long as its authorizer allows.
    pub(crate) authorizer: Option<Instant>,
    /// The first moment at which the client's certificate is not valid any more. By the wall clock, which can be set anew: it
    /// is compared each time the connection is looked at.
    pub(crate) certificate: Option<Timestamp>,
    /// When the temporary credentials end that it signed with; as with certificates by the wall clock.
    pub(crate) credentials: Option<Timestamp>,
}

impl Lifetime {
    /// When the connection is to be looked at, as the clocks stand now.
    pub(crate) fn ends_at(&self, now: Now) -> Option<Instant> {
        let by_wall = |expires: Option<Timestamp>| {
            let left = expires?.as_millis().saturating_sub(now.wall.as_millis());
            now.instant.checked_add(Duration::from_millis(left))
        };
        let ends = [self.websocket, self.authorizer, by_wall(self.certificate), by_wall(self.credentials)];
        ends.into_iter().flatten().min()
    }

    /// Why the connection ends, when it is time.
    pub(crate) fn over(&self, now: Now) -> Option<Close> {
        if self.certificate.is_some_and(|expires| expires <= now.wall) {
            return Some(Close::certificate_expired());
        }
        let is_over = |end: Option<Instant>| end.is_some_and(|at| at <= now.instant);
        if is_over(self.authorizer) {
            return Some(Close::authorizer_lifetime());
        }
        let expired = self.credentials.is_some_and(|expires| expires <= now.wall);
        (expired || is_over(self.websocket)).then(Close::websocket_lifetime)
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_session::DisconnectReason;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Now {
        Now { instant: Instant::now(), wall: Timestamp(1_700_000_000_000) }
    }

    fn later(now: Now, millis: u64) -> Now {
        let Now { instant, wall: Timestamp(wall) } = now;
        Now { instant: instant + Duration::from_millis(millis), wall: Timestamp(wall + millis) }
    }

    #[test]
    fn whatever_comes_first_ends_the_connection() {
        let start = start();
        let (websocket, certificate) = (later(start, 9_000).instant, later(start, 5_000).wall);
        let mut lifetime =
            Lifetime { websocket: Some(websocket), certificate: Some(certificate), ..Lifetime::default() };
        assert_eq!(lifetime.ends_at(start), Some(later(start, 5_000).instant));
        assert_eq!(lifetime.over(later(start, 4_999)), None);
        let close = lifetime.over(later(start, 5_000)).unwrap();
        assert_eq!(close.reason, DisconnectReason::ServerInitiatedDisconnect);
        lifetime.certificate = None;
        assert_eq!(lifetime.ends_at(start), Some(websocket));
        let close = lifetime.over(later(start, 9_000)).unwrap();
        assert_eq!(close.reason, DisconnectReason::WebsocketTtlExpiration);
        lifetime.credentials = Some(later(start, 8_000).wall);
        assert_eq!(lifetime.ends_at(start), Some(later(start, 8_000).instant));
        let close = lifetime.over(later(start, 8_000)).unwrap();
        assert_eq!(close.reason, DisconnectReason::WebsocketTtlExpiration);
        lifetime.authorizer = Some(later(start, 7_000).instant);
        assert_eq!(lifetime.ends_at(start), lifetime.authorizer);
        let close = lifetime.over(later(start, 7_000)).unwrap();
        assert_eq!(close.reason, DisconnectReason::CustomauthTtlExpiration);
        assert_eq!((Lifetime::default().ends_at(start), Lifetime::default().over(start)), (None, None));
    }

    #[test]
    fn a_wall_clock_that_was_set_anew_counts() {
        let start = start();
        let lifetime = Lifetime { certificate: Some(later(start, 60_000).wall), ..Lifetime::default() };
        let set_forward = Now { wall: later(start, 60_000).wall, ..later(start, 1_000) };
        assert!(lifetime.over(set_forward).is_some());
        let set_back = Now { wall: start.wall, ..later(start, 60_000) };
        assert_eq!(lifetime.over(set_back), None);
        assert_eq!(lifetime.ends_at(set_back), Some(later(start, 120_000).instant));
        let never = Lifetime { certificate: Some(Timestamp(u64::MAX)), ..Lifetime::default() };
        assert_eq!(never.over(later(start, u64::from(u32::MAX))), None);
    }
}
