//! A whole connection without I/O: a stream from CONNECT on, against codec and session, with a shell that agrees to all.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use fleethaven_mqtt::{DecodeLimits, Decoder, ReasonCode};
use fleethaven_session::{Accepted, Action, Delivery, Encoded, Now, Session, Settings};
use fleethaven_types::{Profile, Publisher, Scope, SessionId, Timestamp};

/// Unwritten output never exceeds this: the input is short, and each message comes back once.
const OUTPUT: usize = 8 << 20;

pub(crate) fn stream(data: &[u8]) {
    let now = now();
    let settings = settings();
    let limits = DecodeLimits { max_packet_size: settings.limits.packet_bytes };
    let (mut session, mut decoder) = (Session::new(settings, now), Decoder::new(limits));
    let mut input = BytesMut::from(data);
    while session.wants_input() {
        match decoder.decode(&mut input) {
            Ok(Some(packet)) => session.handle_packet(packet, now),
            Ok(None) => break,
            Err(error) => session.handle_malformed(&error, decoder.version()),
        }
        while let Some(action) = session.poll_action() {
            carry_out(&mut session, action, now);
        }
        assert!(session.output().len() <= OUTPUT, "{} bytes wait", session.output().len());
        let written = session.output().len();
        session.output().advance(written);
        session.send_waiting(now);
    }
    let _ = session.ended(now);
}

fn carry_out(session: &mut Session, action: Action, now: Now) {
    match action {
        Action::Connect(request) => {
            let will = request.will.as_ref().map(|will| will.message(&publisher()));
            let accepted = Accepted {
                session: SessionId(1),
                session_present: false,
                assigned_client_id: request.client_id.is_empty().then(|| "$GEN/1".into()),
                publisher: publisher(),
                queue: None,
                first_sent: Vec::new(),
                released: Vec::new(),
                received: Vec::new(),
                subscriptions: Vec::new(),
            };
            session.accept(accepted, will, now);
        }
        Action::Publish { message, ack, .. } => {
            ack.into_iter().for_each(|ticket| session.publish_done(ticket, ReasonCode::Success));
            let delivery = Delivery { qos: message.qos, retain: false, identifiers: &[7] };
            session.deliver(&mut Encoded::new(message, now.wall), &delivery, now);
        }
        Action::Subscribe(request) => {
            let outcome = |filter: fleethaven_session::subscribe::RequestedFilter| {
                let granted = ReasonCode::granted(filter.options.qos);
                (filter.filter, filter.verdict.err().unwrap_or(granted))
            };
            session.subscribe_done(request.packet_id, request.filters.into_iter().map(outcome).collect());
        }
        Action::Unsubscribe(request) => {
            let outcomes = request.filters.into_iter().map(|filter| (filter, true)).collect();
            session.unsubscribe_done(request.packet_id, outcomes);
        }
        // There is no queue to read, and nothing to log or to close.
        _ => {}
    }
}

fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "some instant for virtual time to stand at")]
    let instant = *START.get_or_init(Instant::now);
    Now { instant, wall: Timestamp(1_700_000_000_000) }
}

fn scope() -> Scope {
    Scope { account: "000000000001".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

fn settings() -> Arc<Settings> {
    static SETTINGS: OnceLock<Arc<Settings>> = OnceLock::new();
    SETTINGS.get_or_init(|| Arc::new(Settings::of(Profile::Standard, scope()))).clone()
}

fn publisher() -> Arc<Publisher> {
    static PUBLISHER: OnceLock<Arc<Publisher>> = OnceLock::new();
    let make = || Publisher { scope: scope(), client_id: None, principal: None, source_ip: None, trace: 7 };
    PUBLISHER.get_or_init(|| Arc::new(make())).clone()
}
