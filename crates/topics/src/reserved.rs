//! Which topics that begin with `$` clients may publish to, subscribe to and receive from (AWS:
//! reserved-topics).
//!
//! Below `$aws/` only what a table lists, in both profiles. Elsewhere below `$`: with
//! [`Behaviour::dollar_topics_are_ordinary`] topics are ordinary, except that `$SYS` takes no publishes;
//! without, all are refused.

use fleethaven_types::Behaviour;

use crate::filter::Filter;
pub use crate::name::basic_ingest;

mod table;

use table::{Access, ROWS};

/// What a topic or filter is that a client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Traffic between clients.
    Ordinary,
    /// A topic below `$aws/`, which some service of the broker answers or feeds; or one below `$SYS`.
    Reserved,
}

/// Why a client may not use a topic below `$`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No client publishes here. MQTT: PUBACK or DISCONNECT 0x90.
    #[error("publishing to the reserved topic '{0}' is not allowed")]
    Publish(String),
    /// The broker's own topics may be read only. MQTT: PUBACK or DISCONNECT 0x87.
    #[error("publishing to the system topic '{0}' is not allowed")]
    System(String),
    /// The filter can match no topic that may be subscribed. MQTT: SUBACK 0x8F.
    #[error("subscribing to the reserved topic filter '{0}' is not allowed")]
    Subscribe(String),
}

/// Whether a client may publish to `topic`. A Basic Ingest topic is [`Class::Reserved`]; see
/// [`basic_ingest`].
pub fn may_publish(topic: &str, behaviour: &Behaviour) -> Result<Class, Error> {
    match Namespace::of(topic) {
        Namespace::Plain => Ok(Class::Ordinary),
        Namespace::Dollar if behaviour.dollar_topics_are_ordinary => Ok(Class::Ordinary),
        Namespace::Sys if behaviour.dollar_topics_are_ordinary => Err(Error::System(topic.to_owned())),
        Namespace::Aws(below) if allows(below, Access::publish) => Ok(Class::Reserved),
        _ => Err(Error::Publish(topic.to_owned())),
    }
}

/// Whether a client may subscribe to `filter`, shared or not. Below `$aws/` it must be able to match a topic
/// that may be subscribed, and have no `+` in its second level.
pub fn may_subscribe(filter: &Filter, behaviour: &Behaviour) -> Result<Class, Error> {
    match Namespace::of(filter.topic_filter()) {
        Namespace::Plain => Ok(Class::Ordinary),
        Namespace::Dollar if behaviour.dollar_topics_are_ordinary => Ok(Class::Ordinary),
        Namespace::Sys if behaviour.dollar_topics_are_ordinary => Ok(Class::Reserved),
        Namespace::Aws(below) if can_match_subscribable(below) => Ok(Class::Reserved),
        _ => Err(Error::Subscribe(filter.as_str().to_owned())),
    }
}

/// Whether a message on `topic` goes to subscriptions that match it. Below `$aws/` only where clients may
/// subscribe, so never Basic Ingest; and not where [`is_for_requester_only`], whatever filter matches.
pub fn is_deliverable(topic: &str, behaviour: &Behaviour) -> bool {
    match Namespace::of(topic) {
        Namespace::Plain => true,
        Namespace::Aws(below) => allows(below, Access::deliver),
        Namespace::Dollar | Namespace::Sys => behaviour.dollar_topics_are_ordinary,
    }
}

/// Whether a message on `topic` answers one client and goes to that client only: other subscribers and rules
/// do not see it. Answers about jobs go there subscribed or not (AWS: jobs-mqtt-api); those with keys and
/// certificates are kept from other clients here.
pub fn is_for_requester_only(topic: &str) -> bool {
    match Namespace::of(topic) {
        Namespace::Aws(below) => allows(below, |access| access == Access::Reply),
        _ => false,
    }
}

/// Whether what is published on `topic` asks for an answer that [only the requester](is_for_requester_only) gets.
pub fn asks_for_answer(topic: &str) -> bool {
    let Namespace::Aws(below) = Namespace::of(topic) else { return false };
    let asked =
        |pattern: &str| pattern.strip_suffix("/accepted|rejected").is_some_and(|of| covers(of, below));
    ROWS.iter().any(|(access, pattern)| *access == Access::Reply && asked(pattern))
}

/// Whether `topic` is reserved: a PUBLISH with RETAIN is refused there (AWS: mqtt, retained messages).
pub fn is_reserved(topic: &str, behaviour: &Behaviour) -> bool {
    match Namespace::of(topic) {
        Namespace::Plain => false,
        Namespace::Aws(_) | Namespace::Sys => true,
        Namespace::Dollar => !behaviour.dollar_topics_are_ordinary,
    }
}

/// The part of the topic space that a name or filter begins in.
enum Namespace<'a> {
    /// Not below `$`.
    Plain,
    /// `$aws`, with what follows `$aws/`.
    Aws(&'a str),
    /// `$SYS` and below.
    Sys,
    /// Other names that begin with `$`.
    Dollar,
}

impl<'a> Namespace<'a> {
    fn of(text: &'a str) -> Self {
        if !text.starts_with('$') {
            return Self::Plain;
        }
        match text.split_once('/').unwrap_or((text, "")) {
            ("$aws", below) => Self::Aws(below),
            ("$SYS", _) => Self::Sys,
            _ => Self::Dollar,
        }
    }
}

/// Whether a row whose access is `wanted` covers the topic `$aws/{below}`.
fn allows(below: &str, wanted: impl Fn(Access) -> bool) -> bool {
    ROWS.iter().any(|(access, pattern)| wanted(*access) && covers(pattern, below))
}

/// Whether the filter `$aws/{below}` can match a topic of a row that may be subscribed.
fn can_match_subscribable(below: &str) -> bool {
    let second_is_plus = below.split('/').next() == Some("+");
    !second_is_plus && ROWS.iter().any(|(access, pattern)| access.subscribe() && meets(pattern, below))
}

/// Whether `topic` has the levels of a row's pattern.
fn covers(pattern: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in pattern.split('/') {
        if wanted == "#" {
            return true;
        }
        if !levels.next().is_some_and(|level| is_one_of(level, wanted)) {
            return false;
        }
    }
    levels.next().is_none()
}

/// Whether some topic has the levels of a row's pattern and matches `filter`, `a/#` taken to match `a`.
fn meets(pattern: &str, filter: &str) -> bool {
    let mut wanted = pattern.split('/').peekable();
    for level in filter.split('/') {
        match (level, wanted.next()) {
            (_, Some("#")) => return true,
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(next)) if is_one_of(level, next) => {}
            _ => return false,
        }
    }
    wanted.next().is_none_or(|next| next == "#")
}

/// Whether `level` is what one level of a row's pattern asks for.
fn is_one_of(level: &str, wanted: &str) -> bool {
    if wanted == "+" { !level.is_empty() } else { wanted.split('|').any(|word| word == level) }
}

#[cfg(test)]
mod tests;
