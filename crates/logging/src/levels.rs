//! Which entries of an account and region are wanted (operations.md section 6).
//!
//! Of an event as much is logged as the account says of it, and as it says of everything else where it says nothing. Where a
//! level is set for what the event is about, that level counts instead: the client, its address, its principal, a group of
//! its thing, or the rule; of several the most verbose, though a group's own level goes before those of groups above it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use fleethaven_fabric::Metadata;
use fleethaven_registry::logging::Stored;
use fleethaven_registry::shapes::{LogEvent, LogLevel, LogTargetType};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Publisher;
use rustc_hash::FxHashMap;

/// Whom and what an event is about. Asked only for what levels are set for.
pub trait Subject {
    /// The client.
    fn client_id(&self) -> Option<&str>;

    /// Its certificate, or the user of its requests.
    fn principal(&self) -> Option<Cow<'_, str>>;

    /// Its address.
    fn source_ip(&self) -> Option<IpAddr>;

    /// The groups that its thing is in, and those above them.
    fn thing_groups(&self) -> Vec<String>;

    /// The topic rule.
    fn rule(&self) -> Option<&str> {
        None
    }
}

/// What is said of one event: how much is logged of it, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfEvent {
    level: Option<LogLevel>,
    log_group: Option<Arc<str>>,
}

/// The level of a thing group, and the groups above it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OfGroup {
    level: LogLevel,
    ancestors: Vec<String>,
}

/// What an account asks for in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    disabled: bool,
    default: LogLevel,
    events: FxHashMap<LogEvent, OfEvent>,
    clients: FxHashMap<String, LogLevel>,
    addresses: FxHashMap<IpAddr, LogLevel>,
    principals: FxHashMap<String, LogLevel>,
    groups: FxHashMap<String, OfGroup>,
    rules: FxHashMap<String, LogLevel>,
    /// The most verbose one that is set for anything.
    most: LogLevel,
}

impl Levels {
    /// Of what the metadata store holds of an account and region. Version 1 counts as long as version 2 is not configured.
    pub(crate) fn of<'a>(stored: impl IntoIterator<Item = &'a Stored>) -> Self {
        let mut levels = Self {
            disabled: true,
            default: LogLevel::Disabled,
            events: FxHashMap::default(),
            clients: FxHashMap::default(),
            addresses: FxHashMap::default(),
            principals: FxHashMap::default(),
            groups: FxHashMap::default(),
            rules: FxHashMap::default(),
            most: LogLevel::Disabled,
        };
        let (mut first, mut configured) = (None, false);
        for stored in stored {
            match stored {
                Stored::First(level) => first = Some(*level),
                Stored::Options { disabled, events } => {
                    (levels.disabled, configured) = (*disabled, true);
                    levels.events = events.iter().filter_map(of_event).collect();
                }
                Stored::Level { target, level, ancestors } => {
                    let name = target.target_name.clone().unwrap_or_default();
                    levels.set(target.target_type, name, *level, ancestors);
                }
            }
        }
        if let Some(level) = first.filter(|_| !configured) {
            (levels.disabled, levels.default) = (false, level);
        }
        levels
    }

    fn set(&mut self, kind: LogTargetType, name: String, level: LogLevel, ancestors: &[String]) {
        if kind != LogTargetType::Default {
            self.most = self.most.max(level);
        }
        match kind {
            LogTargetType::Default => self.default = level,
            LogTargetType::ClientId => _ = self.clients.insert(name, level),
            LogTargetType::PrincipalId => _ = self.principals.insert(name, level),
            LogTargetType::RuleName => _ = self.rules.insert(name, level),
            LogTargetType::ThingGroup => {
                self.groups.insert(name, OfGroup { level, ancestors: ancestors.to_vec() });
            }
            LogTargetType::SourceIp => {
                self.addresses.extend(name.parse().map(|address: IpAddr| (address, level)));
            }
        }
    }

    /// Whether anything may be logged at all.
    pub(crate) fn is_on(&self) -> bool {
        let of_events = self.events.values().filter_map(|event| event.level);
        !self.disabled && of_events.chain([self.default, self.most]).any(|level| level > LogLevel::Disabled)
    }

    /// Whether an entry of `level` may be wanted, whomever it is about.
    pub(crate) fn may_want(&self, event: LogEvent, level: LogLevel) -> bool {
        let of_event = self.events.get(&event).and_then(|event| event.level).unwrap_or(self.default);
        !self.disabled && level <= of_event.max(self.most)
    }

    /// Whether it can matter which groups a thing is in.
    pub(crate) fn has_groups(&self) -> bool {
        !self.disabled && !self.groups.is_empty()
    }

    /// Whether an entry of `level` is wanted.
    pub(crate) fn wants(&self, event: LogEvent, level: LogLevel, subject: &dyn Subject) -> bool {
        if self.disabled {
            return false;
        }
        let said = self.events.get(&event).and_then(|event| event.level);
        if event.is_opt_in() && said.is_none() {
            return false;
        }
        let threshold = self.of_subject(subject).unwrap_or_else(|| said.unwrap_or(self.default));
        level <= threshold
    }

    /// Where entries of the event go, if not where all others do.
    pub(crate) fn log_group(&self, event: LogEvent) -> Option<&str> {
        self.events.get(&event)?.log_group.as_deref()
    }

    /// The level that is set for what an event is about.
    fn of_subject(&self, subject: &dyn Subject) -> Option<LogLevel> {
        let client = || self.clients.get(subject.client_id()?);
        let address = || self.addresses.get(&subject.source_ip()?);
        let principal = || self.principals.get(&*subject.principal()?);
        let rule = || self.rules.get(subject.rule()?);
        let is_set = |set: bool, level: &dyn Fn() -> Option<LogLevel>| set.then(level).flatten();
        [
            is_set(!self.clients.is_empty(), &|| client().copied()),
            is_set(!self.addresses.is_empty(), &|| address().copied()),
            is_set(!self.principals.is_empty(), &|| principal().copied()),
            is_set(!self.groups.is_empty(), &|| self.of_groups(&subject.thing_groups())),
            is_set(!self.rules.is_empty(), &|| rule().copied()),
        ]
        .into_iter()
        .flatten()
        .max()
    }

    /// The most verbose level of the groups that have none of their groups below them.
    fn of_groups(&self, groups: &[String]) -> Option<LogLevel> {
        let found: Vec<_> = groups.iter().filter_map(|name| self.groups.get_key_value(name)).collect();
        let is_overridden = |name: &String| found.iter().any(|(_, group)| group.ancestors.contains(name));
        found.iter().filter(|(name, _)| !is_overridden(name)).map(|(_, group)| group.level).max()
    }
}

fn of_event(said: &fleethaven_registry::shapes::LogEventConfiguration) -> Option<(LogEvent, OfEvent)> {
    let log_group = said.log_destination.as_deref().map(Arc::from);
    Some((LogEvent::named(&said.event_type)?, OfEvent { level: said.log_level, log_group }))
}

/// Who published a message, or sent a request, where its connection is not at hand.
pub(crate) struct Published<'a> {
    /// Who.
    pub(crate) publisher: &'a Publisher,
    /// What knows the groups.
    pub(crate) groups: Groups<'a>,
    /// The rule that the message is for.
    pub(crate) rule: Option<&'a str>,
}

/// How the groups of a publisher's thing are known.
pub(crate) enum Groups<'a> {
    /// By this process's own copy of what the metadata store holds; where it keeps none, the thing is in no group.
    Copy(Option<&'a dyn Metadata>),
    /// They were asked for.
    Asked(Vec<String>),
}

/// Asks for the things of a publisher's certificate.
pub(crate) fn things_of(publisher: &Publisher) -> Option<Query> {
    let certificate_id = publisher.principal.as_ref()?.to_string();
    Some(Query::new(publisher.scope, QueryKind::Principal { certificate_id }))
}

/// The groups of the thing that the publisher stands for.
pub(crate) fn groups_of(publisher: &Publisher, reply: QueryReply) -> Vec<String> {
    let QueryReply::Principal(Some(view)) = reply else { return Vec::new() };
    let named = |name: &str| Some(name) == publisher.client_id.as_deref();
    let exclusive = view.things.iter().find(|thing| thing.exclusive);
    let thing = exclusive.or_else(|| view.things.iter().find(|thing| named(&thing.thing_name)));
    thing.map(|thing| thing.thing_groups.clone()).unwrap_or_default()
}

impl Subject for Published<'_> {
    fn client_id(&self) -> Option<&str> {
        self.publisher.client_id.as_deref()
    }

    fn principal(&self) -> Option<Cow<'_, str>> {
        self.publisher.principal.as_deref().map(Cow::Borrowed)
    }

    fn source_ip(&self) -> Option<IpAddr> {
        self.publisher.source_ip
    }

    fn thing_groups(&self) -> Vec<String> {
        match &self.groups {
            Groups::Asked(groups) => groups.clone(),
            Groups::Copy(metadata) => {
                let known = metadata.zip(things_of(self.publisher));
                let reply = known.and_then(|(metadata, query)| metadata.query_local(query).ok());
                reply.map(|reply| groups_of(self.publisher, reply)).unwrap_or_default()
            }
        }
    }

    fn rule(&self) -> Option<&str> {
        self.rule
    }
}

/// A client of which nothing but its id is known: it is not connected.
pub(crate) struct Absent<'a>(pub(crate) &'a str);

impl Subject for Absent<'_> {
    fn client_id(&self) -> Option<&str> {
        Some(self.0)
    }

    fn principal(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn source_ip(&self) -> Option<IpAddr> {
        None
    }

    fn thing_groups(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_registry::shapes::{LogEventConfiguration, LogTarget};

    use super::*;

    struct Client {
        id: &'static str,
        groups: &'static [&'static str],
    }

    impl Subject for Client {
        fn client_id(&self) -> Option<&str> {
            Some(self.id)
        }

        fn principal(&self) -> Option<Cow<'_, str>> {
            Some(format!("principal of {}", self.id).into())
        }

        fn source_ip(&self) -> Option<IpAddr> {
            Some("192.0.2.7".parse().unwrap())
        }

        fn thing_groups(&self) -> Vec<String> {
            self.groups.iter().map(|name| (*name).to_owned()).collect()
        }
    }

    const SENSOR: Client = Client { id: "sensor", groups: &["child", "parent", "top"] };
    const OTHER: Client = Client { id: "other", groups: &["parent", "top"] };

    fn target(target_type: LogTargetType, name: &str, level: LogLevel, above: &[&str]) -> Stored {
        let target_name = Some(name.to_owned()).filter(|name| !name.is_empty());
        let ancestors = above.iter().map(|name| (*name).to_owned()).collect();
        Stored::Level { target: LogTarget { target_type, target_name }, level, ancestors }
    }

    fn options(disabled: bool, events: &[(&str, Option<LogLevel>)]) -> Stored {
        let event = |(name, log_level): &(&str, Option<LogLevel>)| LogEventConfiguration {
            event_type: (*name).to_owned(),
            log_level: *log_level,
            log_destination: Some("mine".to_owned()),
        };
        Stored::Options { disabled, events: events.iter().map(event).collect() }
    }

    fn default(level: LogLevel) -> Stored {
        target(LogTargetType::Default, "", level, &[])
    }

    #[test]
    fn a_rule_has_a_level_of_its_own() {
        let publisher = Publisher {
            scope: fleethaven_types::Scope {
                account: "123456789012".parse().unwrap(),
                region: "eu-west-1".parse().unwrap(),
            },
            client_id: Some("sensor".into()),
            principal: None,
            source_ip: None,
            trace: 1,
        };
        let of = |rule| Published { publisher: &publisher, groups: Groups::Copy(None), rule };
        let noisy = target(LogTargetType::RuleName, "noisy", Disabled, &[]);
        let watched = target(LogTargetType::RuleName, "watched", Debug, &[]);
        let levels = Levels::of(&[options(false, &[]), default(Error), noisy.clone(), watched]);
        assert!(levels.wants(RuleMatch, Debug, &of(Some("watched"))));
        assert!(!levels.wants(RuleMatch, Error, &of(Some("noisy"))));
        assert!(
            levels.wants(RuleMatch, Error, &of(Some("other"))) && levels.wants(PublishIn, Error, &of(None))
        );
        assert!(
            !levels.wants(RuleMatch, Info, &of(Some("other"))) && !levels.wants(PublishIn, Info, &of(None))
        );
        assert!(levels.may_want(RuleMatch, Debug));
        let client = target(LogTargetType::ClientId, "sensor", Info, &[]);
        let levels = Levels::of(&[options(false, &[]), default(Error), noisy, client]);
        assert!(levels.wants(RuleMatch, Info, &of(Some("noisy"))), "the most verbose of both");
        assert!(!levels.may_want(RuleMatch, Debug));
    }

    use LogEvent::{AuthNError, Connect, Ping, PublishIn, RuleMatch};
    use LogLevel::{Debug, Disabled, Error, Info, Warn};

    #[test]
    fn a_client_can_be_more_verbose_than_others() {
        let client = target(LogTargetType::ClientId, "sensor", Debug, &[]);
        let levels = Levels::of(&[options(false, &[]), default(Error), client]);
        assert!(levels.wants(PublishIn, Debug, &SENSOR) && levels.wants(PublishIn, Error, &OTHER));
        assert!(!levels.wants(PublishIn, Warn, &OTHER));
    }

    #[test]
    fn an_event_overrides_the_default_and_a_target_overrides_both() {
        let client = target(LogTargetType::ClientId, "sensor", Debug, &[]);
        let events = options(false, &[("Publish-In", Some(Disabled)), ("Connect", None)]);
        let levels = Levels::of(&[events, default(Info), client]);
        assert!(levels.wants(PublishIn, Info, &SENSOR) && levels.wants(Connect, Info, &OTHER));
        assert!(!levels.wants(PublishIn, Error, &OTHER));
        assert_eq!((levels.log_group(Connect), levels.log_group(Ping)), (Some("mine"), None));
    }

    #[test]
    fn nothing_at_all_is_logged_where_everything_is_disabled_or_never_was_asked_for() {
        let levels = [default(Debug), target(LogTargetType::ClientId, "sensor", Debug, &[])];
        for stored in [levels.to_vec(), [vec![options(true, &[])], levels.to_vec()].concat()] {
            let levels = Levels::of(&stored);
            assert!(!levels.wants(PublishIn, Error, &SENSOR) && !levels.is_on());
        }
        assert!(!Levels::of(&[options(false, &[]), default(Disabled)]).is_on());
        let address = target(LogTargetType::SourceIp, "192.0.2.7", Error, &[]);
        assert!(Levels::of(&[options(false, &[]), address]).is_on());
    }

    #[test]
    fn a_group_overrides_those_above_it_and_of_others_the_most_verbose_counts() {
        let parent = target(LogTargetType::ThingGroup, "parent", Info, &["top"]);
        let child = target(LogTargetType::ThingGroup, "child", Error, &["top", "parent"]);
        let levels = Levels::of(&[options(false, &[]), default(Disabled), parent, child.clone()]);
        assert!(levels.wants(PublishIn, Info, &OTHER) && levels.wants(PublishIn, Error, &SENSOR));
        assert!(!levels.wants(PublishIn, Info, &SENSOR), "the child's own level");
        let principal = target(LogTargetType::PrincipalId, "principal of sensor", Warn, &[]);
        let levels = Levels::of(&[options(false, &[]), default(Disabled), child, principal]);
        assert!(levels.wants(PublishIn, Warn, &SENSOR));
        assert!(!levels.wants(PublishIn, Error, &OTHER));
    }

    #[test]
    fn pings_and_failures_to_authenticate_are_logged_only_where_that_is_said() {
        let levels = Levels::of(&[options(false, &[]), default(Debug)]);
        assert!(!levels.wants(Ping, Debug, &SENSOR) && !levels.wants(AuthNError, Error, &SENSOR));
        let said = [("Ping", Some(Debug)), ("Connection.AuthNError", Some(Error))];
        let levels = Levels::of(&[options(false, &said), default(Disabled)]);
        assert!(levels.wants(Ping, Debug, &SENSOR) && levels.wants(AuthNError, Error, &SENSOR));
    }

    #[test]
    fn version_1_counts_until_version_2_is_configured() {
        assert!(Levels::of(&[Stored::First(Info)]).wants(PublishIn, Info, &OTHER));
        let both = [Stored::First(Debug), options(false, &[]), default(Error)];
        assert!(!Levels::of(&both).wants(PublishIn, Info, &OTHER));
    }
}
