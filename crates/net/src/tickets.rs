//! Stateless session tickets under keys that come from outside: the same on all cores, listeners and gateways, and after
//! a restart, so that a client resumes wherever it comes back (protocols.md C4).
//!
//! A ticket is `key number (8) · nonce (12) · AES-256-GCM(session, tag)`. The associated data names the listener and its
//! way of authenticating clients, so a ticket of one is worth nothing at another; the server name is bound by rustls, which
//! resumes only under the name that the session was started with. A ticket says who a client *was*: certificate, account
//! and status are looked up after each handshake, resumed ones too.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;

/// Largest session that is put into a ticket, in bytes: a long certificate chain, and within TLS's 64 KiB for a ticket.
const LARGEST: usize = 60 << 10;
const NUMBER: usize = size_of::<u64>();

/// A key of one generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketKey {
    /// Which; carried by its tickets.
    pub number: u64,
    /// The AES-256 key.
    pub secret: [u8; 32],
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The generations in force. Without any, no tickets are given and every handshake is a full one.
#[derive(Default)]
pub struct TicketKeys(ArcSwapOption<Generations>);

struct Generations {
    current: Sealing,
    /// Tickets under these are read: the generation before, and the next one, which others may use already.
    others: Vec<Sealing>,
    lifetime: u32,
}

struct Sealing {
    number: u64,
    key: RandomizedNonceKey,
}

impl TicketKeys {
    /// Puts keys in force: new tickets are made with `current` and are good for `lifetime` seconds at least; those made
    /// with `others` are read.
    pub fn replace(&self, current: TicketKey, others: &[TicketKey], lifetime: u32) {
        let generations = Sealing::new(current).and_then(|current| {
            let others = others.iter().map(|key| Sealing::new(*key)).collect::<Option<_>>()?;
            Some(Arc::new(Generations { current, others, lifetime }))
        });
        self.0.store(generations);
    }
}

impl Sealing {
    /// `None` is not expected: any 32 bytes are a key.
    fn new(key: TicketKey) -> Option<Self> {
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &key.secret).ok()?;
        Some(Self { number: key.number, key: sealing })
    }
}

/// Makes and reads the tickets of one listener and way of authentication.
pub(crate) struct Ticketer {
    keys: Arc<TicketKeys>,
    context: &'static str,
}

impl Ticketer {
    /// `context` is different for every configuration whose sessions must not be resumed under another.
    pub(crate) fn new(keys: Arc<TicketKeys>, context: &'static str) -> Self {
        Self { keys, context }
    }

    fn associated(&self, number: u64) -> Aad<Vec<u8>> {
        let mut data = b"fleethaven ticket 1\0".to_vec();
        data.extend_from_slice(&number.to_be_bytes());
        data.extend_from_slice(self.context.as_bytes());
        Aad::from(data)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").field("context", &self.context).finish_non_exhaustive()
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.keys.0.load().is_some()
    }

    fn lifetime(&self) -> u32 {
        self.keys.0.load().as_ref().map_or(0, |generations| generations.lifetime)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let generations = self.keys.0.load_full()?;
        if plain.len() > LARGEST {
            return None;
        }
        let Sealing { number, key } = &generations.current;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(self.associated(*number), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NUMBER + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&number.to_be_bytes());
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let generations = self.keys.0.load_full()?;
        let (number, rest) = ticket.split_first_chunk::<NUMBER>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let number = u64::from_be_bytes(*number);
        let mut known = std::iter::once(&generations.current).chain(&generations.others);
        let key = &known.find(|key| key.number == number)?.key;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, self.associated(number), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u64) -> TicketKey {
        TicketKey { number, secret: [number as u8; 32] }
    }

    fn keys(current: u64, others: &[u64]) -> Arc<TicketKeys> {
        let keys = Arc::new(TicketKeys::default());
        let others: Vec<_> = others.iter().map(|number| key(*number)).collect();
        keys.replace(key(current), &others, 60);
        keys
    }

    #[test]
    fn a_ticket_is_read_by_whoever_has_its_key() {
        let ticket = Ticketer::new(keys(1, &[]), "mqtt").encrypt(b"session").unwrap();
        assert_ne!(
            ticket,
            Ticketer::new(keys(1, &[]), "mqtt").encrypt(b"session").unwrap(),
            "never the same"
        );
        for (current, others, read) in
            [(1, &[][..], true), (2, &[1], true), (0, &[1], true), (3, &[2], false), (4, &[2, 3], false)]
        {
            let opened = Ticketer::new(keys(current, others), "mqtt").decrypt(&ticket);
            assert_eq!(opened.as_deref(), read.then_some(&b"session"[..]), "{current} {others:?}");
        }
    }

    #[test]
    fn a_ticket_is_worth_nothing_at_another_listener() {
        let keys = keys(1, &[]);
        let ticket = Ticketer::new(keys.clone(), "https").encrypt(b"session").unwrap();
        assert_eq!(Ticketer::new(keys, "https-mutual").decrypt(&ticket), None);
    }

    #[test]
    fn a_number_alone_opens_nothing() {
        let ticket = Ticketer::new(keys(1, &[]), "mqtt").encrypt(b"session").unwrap();
        let other = Arc::new(TicketKeys::default());
        other.replace(TicketKey { number: 1, secret: [9; 32] }, &[], 60);
        assert_eq!(Ticketer::new(other, "mqtt").decrypt(&ticket), None);
    }

    #[test]
    fn without_keys_there_are_no_tickets() {
        let ticketer = Ticketer::new(Arc::default(), "mqtt");
        assert!(!ticketer.enabled());
        assert_eq!(ticketer.encrypt(b"session"), None);
        assert!(Ticketer::new(keys(1, &[]), "mqtt").encrypt(&vec![0; LARGEST + 1]).is_none());
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?} {:?}", key(7), Ticketer::new(keys(7, &[]), "mqtt"));
        assert_eq!(printed, "TicketKey { number: 7, .. } Ticketer { context: \"mqtt\", .. }");
    }

    proptest! {
        #[test]
        fn any_session_comes_back_and_any_other_byte_is_refused(
            session in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let ticketer = Ticketer::new(keys(1, &[0]), "mqtt");
            let mut ticket = ticketer.encrypt(&session).unwrap();
            prop_assert_eq!(ticketer.decrypt(&ticket), Some(session));
            let at = at.index(ticket.len());
            ticket[at] ^= flip;
            prop_assert_eq!(ticketer.decrypt(&ticket), None);
        }

        #[test]
        fn noise_is_no_ticket(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Ticketer::new(keys(1, &[0]), "mqtt").decrypt(&noise), None);
        }
    }
}
