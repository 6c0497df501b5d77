//! A read of a session's queue, and the confirmation of what it found.
//!
//! A read sees what the primary has, also what no replica has yet and a failover would lose. At QoS 1 that costs a repeat. At
//! QoS 2 the client would hold the packet identifier of a message that is gone, and take what the next primary sends under it for a
//! repeat. So entries at QoS 2 are handed out when they are as durable as what completions confirm.

use fleethaven_storage::{Completion, EntryId, Error, OwnerToken, QueuedMessage, SessionId, Ticket};
use fleethaven_types::QoS;

use crate::answers::{queue_read, word};
use crate::keys::{self, Keys};
use crate::options::Durability;
use crate::publish::Next;
use crate::round::{Answers, Round, owned};
use crate::script::{Op, Place};

/// Which entries are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) session: SessionId,
    pub(crate) token: OwnerToken,
    /// Entries above this one.
    pub(crate) after: EntryId,
    /// Entries and payload bytes, at most.
    pub(crate) most: (usize, usize),
}

/// Entries, and the queue's tail when they were read.
type Found = (Vec<QueuedMessage>, EntryId);

/// A read that is under way.
pub(crate) struct Reading {
    ticket: Ticket,
    wanted: Wanted,
    step: Step,
}

enum Step {
    Asked(Place),
    /// What was found is to be confirmed.
    Found(Found, Place),
    Over(Found),
}

impl Reading {
    /// Asks.
    pub(crate) fn begin(ticket: Ticket, wanted: Wanted, round: &mut Round<'_>) -> Self {
        Self { ticket, wanted, step: Step::Asked(wanted.ask(round)) }
    }

    /// Goes on with what was answered.
    pub(crate) fn advance(self, answers: &mut Answers<'_>, round: &mut Round<'_>) -> Next<Self> {
        let Self { ticket, wanted, step } = self;
        match wanted.after(step, answers, round) {
            Ok(Step::Over(found)) => Next::Done(Completion::QueueRead { ticket, result: Ok(found) }),
            Ok(step) => Next::More(Self { ticket, wanted, step }),
            Err(error) => Next::Done(Completion::QueueRead { ticket, result: Err(error) }),
        }
    }
}

impl Wanted {
    fn ask(self, round: &mut Round<'_>) -> Place {
        let ([id, token], (entries, bytes)) = (owned(self.session, self.token), self.most);
        let words = [&id, &token, &keys::entry(self.after), &entries.to_string(), &bytes.to_string()];
        round.words(Keys::of_session(self.session.0), Op::Read, &words.map(|word| &**word))
    }

    /// Asks whether an entry lasts; with it all before it do.
    fn confirm(self, entry: EntryId, round: &mut Round<'_>) -> Place {
        let [id, token] = owned(self.session, self.token);
        round.must_last();
        round.words(Keys::of_session(self.session.0), Op::Lasts, &[&id, &token, &keys::entry(entry)])
    }

    fn after(self, step: Step, answers: &mut Answers<'_>, round: &mut Round<'_>) -> Result<Step, Error> {
        match step {
            Step::Asked(place) => {
                let found = queue_read(answers.take(place)?, &answers.shared.stats)?;
                let confirms = round.shared.options.durability != Durability::Process;
                let at_qos_2 = found.0.iter().rev().find(|queued| queued.qos == QoS::ExactlyOnce);
                Ok(match at_qos_2.map(|queued| queued.entry).filter(|_| confirms) {
                    Some(entry) => Step::Found(found, self.confirm(entry, round)),
                    None => Step::Over(found),
                })
            }
            Step::Found(found, place) => Ok(match word(answers.take(place)?)?.as_str() {
                "ok" => Step::Over(found),
                // Another primary, which never had it.
                _ => Step::Asked(self.ask(round)),
            }),
            over @ Step::Over(_) => Ok(over),
        }
    }
}
