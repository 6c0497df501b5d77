//! One message on its way into everything that must hold it, which is in several partitions.
//!
//! A partition carries out its part at once or not at all, and the parts together happen as often as the message is handed to
//! the store. What must happen once gets a *stamp*, under which each partition does its part once and answers a repeat as it
//! answered then:
//!
//! 1. the partition of the publishing session, or of the will, notes the stamp and answers it; when an attempt before has
//!    noted one that is not done with, it answers that one;
//! 2. a share that changes places is taken out of where it was and put into that partition's outbox, under a stamp too;
//! 3. queues, retained message and rules queue get the message; 4. shares that no member took go to their groups' queues;
//! 5. the first partition notes that it is done, and the outbox is cleared.
//!
//! A process may die in between. After 1 the client sends its message again, or housekeeping its will; after 2 whoever next
//! looks after the outbox goes on; and both under the same stamp. Most messages need step 3 only.

use std::sync::Arc;

use fleethaven_storage::record::{RuleRow, encode};
use fleethaven_storage::{
    Append, Appended, Completion, DurablePublish, Error, Fence, GroupId, Held, Once, RetainedChange, RuleRef,
    SessionId, Ticket,
};
use fleethaven_types::{Message, QoS};
use redis::Value;

use crate::answers::{Placed, done, placed, waiting, word};
use crate::delivery::DeliveryRow;
use crate::keys::{self, Keys};
use crate::round::{Answers, Content, Hold, Round, Side, owned};
use crate::script::{Op, Place};
use crate::{Stats, reply};

/// A message and how far it is.
pub(crate) struct Publishing {
    ticket: Ticket,
    message: Arc<Message>,
    once: Option<Once>,
    fence: Option<Fence>,
    queues: Vec<(Append, Outcome)>,
    rules: Vec<RuleRef>,
    retained: RetainedChange,
    replaces: Option<(GroupId, Held)>,
    content: Option<Content>,
    /// Of what must happen once.
    noted: String,
    /// Of a share that changes places, which is that id in its partition's outbox.
    passing: Option<(String, u8, String)>,
    /// Where something was done under a stamp.
    stamped: Vec<u8>,
    /// What each partition says of the topic slot's fence.
    guards: Vec<Place>,
    step: Step,
}

/// What it waits for.
enum Step {
    Noted(Place),
    TakenOut(Place),
    Appended { retained: Option<Place>, rule: Option<(u8, Place)> },
    Grouped,
    Finished(Option<Place>),
}

/// What becomes of an append.
enum Outcome {
    /// Nothing is asked yet.
    Planned,
    /// In a session's queue, or the session cannot take it.
    Asked(Place),
    /// In a group's queue.
    Grouped {
        place: Place,
        held: bool,
    },
    Known(Appended),
}

/// What comes of an answer.
pub(crate) enum Next<T> {
    /// More is asked in the next round.
    More(T),
    Done(Completion),
}

impl Publishing {
    /// Asks for the first step.
    pub(crate) fn begin(publish: DurablePublish, round: &mut Round<'_>) -> Self {
        let DurablePublish { ticket, message, queues, rules, retained, replaces, once, fence } = publish;
        let mut publishing = Self {
            ticket,
            message,
            once,
            fence,
            queues: queues.into_iter().map(|append| (append, Outcome::Planned)).collect(),
            rules,
            retained,
            replaces,
            content: None,
            noted: String::new(),
            passing: None,
            stamped: Vec::new(),
            guards: Vec::new(),
            step: Step::Grouped,
        };
        match once {
            Some(once) => publishing.note(once, round),
            None => publishing.take_out(round),
        }
        publishing
    }

    /// Whether nothing but the note that it happened has to hold it.
    fn is_bare(&self) -> bool {
        self.queues.is_empty() && self.rules.is_empty() && self.retained == RetainedChange::Keep
    }

    fn guard(&mut self, partition: u8, round: &mut Round<'_>) {
        self.guards.extend(round.guard(partition, self.fence));
    }

    fn note(&mut self, once: Once, round: &mut Round<'_>) {
        let bare = if self.is_bare() { "1" } else { "0" };
        let place = match once {
            Once::Received { session, token, packet_id } => {
                let partition = Keys::of_session(session.0);
                self.guard(partition, round);
                let ([id, token], stamp) = (owned(session, token), round.shared.new_stamp());
                let packet_id = packet_id.to_string();
                round.words(partition, Op::Receive, &[&id, &token, &packet_id, &stamp, bare])
            }
            Once::Will(session) => {
                let partition = Keys::of_session(session.0);
                self.guard(partition, round);
                round.words(partition, Op::Will, &[&session.0.to_string(), bare])
            }
        };
        round.must_last();
        self.step = Step::Noted(place);
    }

    /// Takes the share that this is out of where it is; without one, goes on.
    fn take_out(&mut self, round: &mut Round<'_>) {
        let Some((group, held)) = self.replaces else { return self.append(round) };
        let (place_kind, id, entry) = match held {
            Held::Group(entry) => ("group", group.0, entry.0.to_string()),
            Held::Member(session, entry) => ("session", session.0, keys::entry(entry)),
        };
        let partition = Keys::of_session(id);
        self.guard(partition, round);
        round.must_last();
        let id = id.to_string();
        // A share has one place.
        self.queues.truncate(1);
        let content = self.content.get_or_insert_with(|| Content::of(&self.message));
        let place = match self.queues.first() {
            None => round.words(partition, Op::Discard, &[place_kind, &id, &entry]),
            Some((append, _)) => {
                round.push(partition, Op::Message, &[&content.body]);
                let stamp = round.shared.new_stamp();
                let (target, group) = (target(append.session), group.0.to_string());
                let (header, delivery) = (content.header(append), encode(&DeliveryRow::from(append)));
                let words = [place_kind, &id, &entry, &stamp, &target, &group, &header];
                let mut arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                arguments.push(&delivery);
                let place = round.push(partition, Op::Pass, &arguments);
                self.passing = Some((stamp, partition, String::new()));
                place
            }
        };
        self.step = Step::TakenOut(place);
    }

    /// Puts what follows to a partition under the stamp of this message, if it has one.
    fn stamp(&mut self, partition: u8, round: &mut Round<'_>) {
        let stamp = self.passing.as_ref().map_or(self.noted.as_str(), |(stamp, ..)| stamp);
        round.stamp(partition, stamp);
        if !stamp.is_empty() && !self.stamped.contains(&partition) {
            self.stamped.push(partition);
        }
    }

    fn append(&mut self, round: &mut Round<'_>) {
        let mut told = Vec::new();
        for at in 0..self.queues.len() {
            self.append_to(at, &mut told, round);
        }
        let partition = round.keys().of_topic(self.message.publisher.scope, &self.message.topic);
        // Also a message that nothing must hold is matched by the slot's owner or by nobody.
        let here = !self.rules.is_empty() || self.retained != RetainedChange::Keep;
        if here || (self.fence.is_some() && self.guards.is_empty()) {
            self.guard(partition, round);
        }
        if here {
            self.stamp(partition, round);
        }
        let retained = self.keep(partition, round);
        let rule = (!self.rules.is_empty()).then(|| (partition, self.execute(partition, round)));
        self.step = Step::Appended { retained, rule };
    }

    /// Asks for one append; the message goes once to each partition.
    fn append_to(&mut self, at: usize, told: &mut Vec<u8>, round: &mut Round<'_>) {
        let Some((append, Outcome::Planned)) = self.queues.get(at) else { return };
        let (session, group) = (append.session, append.share.as_ref().map(|share| share.group));
        let outcome = match group {
            Some(group) if session == SessionId::NOBODY => self.group(at, group, false, told, round),
            _ => self.ask(at, session, group, told, round),
        };
        if let (Some((_, known)), Some(outcome)) = (self.queues.get_mut(at), outcome) {
            *known = outcome;
        }
    }

    fn ask(
        &mut self,
        at: usize,
        session: SessionId,
        group: Option<GroupId>,
        told: &mut Vec<u8>,
        round: &mut Round<'_>,
    ) -> Option<Outcome> {
        let partition = Keys::of_session(session.0);
        self.prepare(partition, told, round);
        let (content, (append, _)) = (self.content.as_ref()?, self.queues.get(at)?);
        let (id, header, delivery) =
            (session.0.to_string(), content.header(append), encode(&DeliveryRow::from(append)));
        let group = group.map(|group| group.0.to_string());
        let mut arguments = vec![id.as_bytes(), header.as_bytes(), content.cost.as_bytes(), &delivery];
        arguments.extend(group.as_ref().map(|group| group.as_bytes()));
        let op = if group.is_some() { Op::Share } else { Op::Append };
        Some(Outcome::Asked(round.push(partition, op, &arguments)))
    }

    fn group(
        &mut self,
        at: usize,
        group: GroupId,
        held: bool,
        told: &mut Vec<u8>,
        round: &mut Round<'_>,
    ) -> Option<Outcome> {
        self.prepare(Keys::of_session(group.0), told, round);
        let (content, (append, _)) = (self.content.as_ref()?, self.queues.get(at)?);
        let (header, delivery) = (content.header(append), encode(&DeliveryRow::from(append)));
        let side = match self.replaces {
            None => Side::Back,
            Some((_, Held::Member(..))) => Side::Front,
            Some((_, Held::Group(entry))) => Side::At(entry.0),
        };
        let hold = match held {
            false => Hold::Nobody,
            true if append.qos == QoS::ExactlyOnce => Hold::Sent,
            true => Hold::Ours,
        };
        let place = round.wait(group.0, (&header, &content.cost, &delivery), side, hold);
        Some(Outcome::Grouped { place, held })
    }

    /// Fence, stamp and message for a partition.
    fn prepare(&mut self, partition: u8, told: &mut Vec<u8>, round: &mut Round<'_>) {
        round.must_last();
        let first = !told.contains(&partition);
        if first {
            told.push(partition);
            self.guard(partition, round);
        }
        self.stamp(partition, round);
        let content = self.content.get_or_insert_with(|| Content::of(&self.message));
        if first {
            round.push(partition, Op::Message, &[&content.body]);
        }
    }

    fn keep(&mut self, partition: u8, round: &mut Round<'_>) -> Option<Place> {
        let scope = keys::scope(self.message.publisher.scope);
        let (scope, topic) = (scope.as_bytes(), self.message.topic.as_bytes());
        match self.retained {
            RetainedChange::Keep => None,
            RetainedChange::Clear => {
                round.must_last();
                Some(round.push(partition, Op::ClearRetained, &[scope, topic]))
            }
            RetainedChange::Set => {
                round.must_last();
                let content = self.content.get_or_insert_with(|| Content::of(&self.message));
                let expiry = self.message.expires_at.map(|at| at.as_millis().to_string()).unwrap_or_default();
                Some(round.push(
                    partition,
                    Op::SetRetained,
                    &[scope, topic, expiry.as_bytes(), &content.body],
                ))
            }
        }
    }

    fn execute(&self, partition: u8, round: &mut Round<'_>) -> Place {
        let limit = if self.message.qos > QoS::AtMostOnce {
            round.must_last();
            String::new()
        } else {
            round.shared.options.rule_volatile_entries.to_string()
        };
        let entry = encode(&RuleRow::new(&self.message, &self.rules));
        round.push(partition, Op::Rule, &[limit.as_bytes(), &entry])
    }

    /// Goes on with what was answered.
    pub(crate) fn advance(mut self, answers: &mut Answers<'_>, round: &mut Round<'_>) -> Next<Box<Self>> {
        match self.proceed(answers, round) {
            Ok(true) => Next::More(Box::new(self)),
            Ok(false) => {
                let known = |(append, outcome)| match outcome {
                    Outcome::Known(appended) => Some((append, appended)),
                    _ => None,
                };
                let result = Ok(self.queues.into_iter().filter_map(known).collect());
                let (ticket, message, once) = (self.ticket, self.message, self.once);
                Next::Done(Completion::Published { ticket, message, once, result })
            }
            Err(error) => {
                let (ticket, message, once) = (self.ticket, self.message, self.once);
                Next::Done(Completion::Published { ticket, message, once, result: Err(error) })
            }
        }
    }

    /// Whether there is more to ask.
    fn proceed(&mut self, answers: &mut Answers<'_>, round: &mut Round<'_>) -> Result<bool, Error> {
        for place in std::mem::take(&mut self.guards) {
            answers.peek(place).and_then(done)?;
        }
        match std::mem::replace(&mut self.step, Step::Grouped) {
            Step::Noted(place) => {
                self.noted = word(answers.take(place)?)?;
                if self.noted.is_empty() && self.is_bare() {
                    return Ok(false);
                }
                self.take_out(round);
                Ok(true)
            }
            Step::TakenOut(place) => {
                self.taken_out(answers.take(place)?)?;
                self.append(round);
                Ok(true)
            }
            Step::Appended { retained, rule } => {
                self.appended(answers, round)?;
                if let Some(place) = retained {
                    done(&answers.take(place)?)?;
                    let holds = self.retained == RetainedChange::Set;
                    let scope = self.message.publisher.scope;
                    answers.shared.kept.note(scope, &self.message.topic, holds);
                }
                if let Some((partition, place)) = rule {
                    let depth = reply::signed(&answers.take(place)?)?;
                    Stats::add(&answers.shared.stats.rules_dropped, u64::from(depth < 0));
                    answers.shared.depth.note(partition, depth.unsigned_abs());
                }
                let open = |(_, outcome): &(Append, Outcome)| matches!(outcome, Outcome::Grouped { .. });
                Ok(self.queues.iter().any(open) || self.finish(round))
            }
            Step::Grouped => {
                self.appended(answers, round)?;
                Ok(self.finish(round))
            }
            Step::Finished(place) => {
                if let Some(place) = place {
                    done(&answers.take(place)?)?;
                }
                Ok(false)
            }
        }
    }

    fn taken_out(&mut self, value: Value) -> Result<(), Error> {
        match (word(value)?.as_str(), &mut self.passing) {
            ("Gone", _) => {
                self.passing = None;
                self.queues.iter_mut().for_each(|(_, outcome)| *outcome = Outcome::Known(Appended::Gone));
            }
            (id, Some((.., sent))) => id.clone_into(sent),
            (_, None) => {}
        }
        Ok(())
    }

    /// Reads what became of the appends; shares that their members did not take go to their groups.
    fn appended(&mut self, answers: &mut Answers<'_>, round: &mut Round<'_>) -> Result<(), Error> {
        let mut told = Vec::new();
        for at in 0..self.queues.len() {
            let Some((append, outcome)) = self.queues.get_mut(at) else { continue };
            let appended = match *outcome {
                Outcome::Planned | Outcome::Known(_) => continue,
                Outcome::Grouped { place, held } => waiting(answers.take(place)?, held)?,
                Outcome::Asked(place) => match placed(answers.take(place)?)? {
                    Placed::There(appended) => appended,
                    Placed::InGroup { held } => {
                        let group = append.share.as_ref().map(|share| share.group);
                        let group = group.ok_or_else(|| reply::malformed("no share"))?;
                        let grouped = self.group(at, group, held, &mut told, round);
                        if let (Some((_, outcome)), Some(grouped)) = (self.queues.get_mut(at), grouped) {
                            *outcome = grouped;
                        }
                        continue;
                    }
                },
            };
            let stats = &answers.shared.stats;
            let kept = !matches!(appended, Appended::Overflow | Appended::NoSession | Appended::Gone);
            Stats::add(&stats.appended, u64::from(kept));
            Stats::add(&stats.overflowed, u64::from(appended == Appended::Overflow));
            *outcome = Outcome::Known(appended);
        }
        Ok(())
    }

    /// Notes that it is done; whether that is to be waited for.
    fn finish(&mut self, round: &mut Round<'_>) -> bool {
        let noted = (!self.noted.is_empty()).then_some(self.once).flatten();
        let place = noted.map(|once| {
            round.must_last();
            match once {
                Once::Received { session, packet_id, .. } => {
                    let (id, packet_id) = (session.0.to_string(), packet_id.to_string());
                    let partition = Keys::of_session(session.0);
                    round.words(partition, Op::Received, &[&id, &packet_id, &self.noted])
                }
                Once::Will(session) => {
                    let partition = Keys::of_session(session.0);
                    round.words(partition, Op::WillPublished, &[&session.0.to_string(), &self.noted])
                }
            }
        });
        if let Some((_, partition, id)) = &self.passing {
            round.words(*partition, Op::Sent, &[id]);
        }
        let stamp = self.passing.as_ref().map_or(self.noted.as_str(), |(stamp, ..)| stamp);
        self.stamped.iter().for_each(|partition| round.fade(*partition, stamp));
        self.step = Step::Finished(place);
        // That an outbox is cleared, and that a stamp fades, is nobody's concern who waits.
        place.is_some()
    }

    /// The queues that have it when only the note that it is done is left to make.
    pub(crate) fn has_reached(&self) -> impl Iterator<Item = SessionId> {
        let reached = matches!(self.step, Step::Finished(_));
        let queues = self.queues.iter().filter(move |_| reached);
        queues
            .filter(|(_, outcome)| matches!(outcome, Outcome::Known(Appended::At { .. })))
            .map(|(append, _)| append.session)
    }
}

/// The session that is to have a share, as the outbox holds it.
fn target(session: SessionId) -> String {
    if session == SessionId::NOBODY { String::new() } else { session.0.to_string() }
}
