//! Shares on their way from one partition to another: what members left behind, and what a process died over.

use fleethaven_storage::Error;
use redis::Value;

use crate::answers::{Placed, placed};
use crate::client::Client;
use crate::keys::Keys;
use crate::reply;
use crate::round::{Answers, Hold, Round, Side};
use crate::script::{Op, Place};

/// At most so many entries of one outbox are delivered at once.
const PAGE: usize = 64;

/// An entry of an outbox.
struct Sent {
    partition: u8,
    id: String,
    stamp: String,
    /// The session that is to have it; empty for none.
    target: String,
    group: u64,
    side: Side,
    header: String,
    delivery: Vec<u8>,
    body: Vec<u8>,
    /// Where something was done under its stamp.
    stamped: Vec<u8>,
}

/// Delivers what is in the outboxes that `client` knows of, each entry to the session that it was meant for or else to its
/// group's queue. Others may do so at the same time: each step is done once, by its stamp. What cannot be delivered now
/// stays.
pub(crate) fn deliver(client: &mut Client) -> Result<(), Error> {
    while !client.sending.is_empty() {
        let partitions = std::mem::take(&mut client.sending);
        let mut page = read(client, partitions.iter().copied())?;
        for partition in partitions {
            if page.iter().filter(|sent| sent.partition == partition).count() >= PAGE {
                client.sending.insert(partition);
            }
        }
        hand_over(client, &mut page)?;
        clear(client, &page)?;
    }
    Ok(())
}

fn read(client: &mut Client, partitions: impl Iterator<Item = u8>) -> Result<Vec<Sent>, Error> {
    let shared = client.shared();
    let mut round = Round::new(&shared);
    let most = PAGE.to_string();
    let places: Vec<(u8, Place)> =
        partitions.map(|partition| (partition, round.words(partition, Op::Outbox, &[&most]))).collect();
    let mut answers = ask(client, round);
    let mut page = Vec::new();
    for (partition, place) in places {
        for value in reply::array(answers.take(place)?)? {
            page.push(sent(partition, value)?);
        }
    }
    Ok(page)
}

fn ask<'a>(client: &mut Client, round: Round<'a>) -> Answers<'a> {
    let shared = round.shared;
    Answers { replies: client.run(&round.finish()), shared }
}

fn sent(partition: u8, value: Value) -> Result<Sent, Error> {
    let mut values = reply::array(value)?;
    let mut next = || reply::next(&mut values);
    Ok(Sent {
        partition,
        id: reply::text(next()?)?,
        stamp: reply::text(next()?)?,
        target: reply::text(next()?)?,
        group: reply::number(next()?)?,
        side: match reply::text(next()?)?.as_str() {
            "" => Side::Front,
            number => Side::At(number.parse().map_err(|_| reply::malformed("no entry number"))?),
        },
        header: reply::text(next()?)?,
        delivery: reply::bytes(next()?)?,
        body: reply::bytes(next()?)?,
        stamped: Vec::new(),
    })
}

/// Those that are meant for a session; the others, and what these cannot take, to the groups.
fn hand_over(client: &mut Client, page: &mut [Sent]) -> Result<(), Error> {
    let shared = client.shared();
    let mut round = Round::new(&shared);
    let places: Vec<Option<Place>> = page.iter_mut().map(|sent| sent.offer_to_member(&mut round)).collect();
    let mut answers = ask(client, round);
    let mut round = Round::new(&shared);
    let mut grouped = Vec::new();
    for (sent, place) in page.iter_mut().zip(places) {
        let placed = place.map(|place| answers.take(place).and_then(placed)).transpose()?;
        if !matches!(placed, Some(Placed::There(_))) {
            grouped.push(sent.give_to_group(&mut round));
        }
    }
    let mut answers = ask(client, round);
    grouped.into_iter().try_for_each(|place| answers.take(place).map(drop))
}

impl Sent {
    fn offer_to_member(&mut self, round: &mut Round<'_>) -> Option<Place> {
        let partition = Keys::of_session(self.target.parse().ok()?);
        self.prepare(partition, round);
        let group = self.group.to_string();
        let arguments = [
            self.target.as_bytes(),
            self.header.as_bytes(),
            self.cost().as_bytes(),
            &self.delivery,
            group.as_bytes(),
        ];
        Some(round.push(partition, Op::Share, &arguments))
    }

    fn give_to_group(&mut self, round: &mut Round<'_>) -> Place {
        self.prepare(Keys::of_session(self.group), round);
        round.wait(self.group, (&self.header, self.cost(), &self.delivery), self.side, Hold::Nobody)
    }

    fn prepare(&mut self, partition: u8, round: &mut Round<'_>) {
        round.must_last();
        round.stamp(partition, &self.stamp);
        round.push(partition, Op::Message, &[&self.body]);
        self.stamped.push(partition);
    }

    fn cost(&self) -> &str {
        self.header.split(':').next().unwrap_or_default()
    }
}

fn clear(client: &mut Client, page: &[Sent]) -> Result<(), Error> {
    let shared = client.shared();
    let mut round = Round::new(&shared);
    for sent in page {
        round.words(sent.partition, Op::Sent, &[&sent.id]);
        sent.stamped.iter().for_each(|partition| round.fade(*partition, &sent.stamp));
    }
    client.run(&round.finish()).map(drop)
}
