//! What sends records: those of one partition that come while a batch is under way are the next batch. A batch is tried again as it
//! is, under the same numbers where the broker gives out numbers, so that it takes it once.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::traces::Begun;
use fleethaven_outbound::Dialer;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::cluster::{Cluster, Led};
use super::messages::{self, Verdict, verdict};
use super::partition::Partition;
use super::properties::{Acks, Properties};
use super::records::{self, Record, Stamp};
use super::wire;
use crate::actions::Error;
use crate::lanes::{Key, Lanes};
use crate::retry::Policy;

/// Most records of a batch.
const MAX_RECORDS: usize = 500;
/// About the most bytes of a batch before it is compressed: what a broker takes unless it was told otherwise is 1 MiB.
const MAX_BYTES: usize = 900 << 10;
/// How long a broker may wait for its replicas.
const REPLICAS_WITHIN: Duration = Duration::from_secs(3);
/// As all actions are tried; the time is a little shorter, so that whoever carries a batch tells the others how it went.
const POLICY: Policy = Policy { budget: Duration::from_secs(9), ..Policy::DEFAULT };
/// Partitions whose numbers are kept.
const MAX_PARTITIONS: usize = 4096;

/// What sends records to a cluster in the way that some `clientProperties` say.
pub(super) struct Producer {
    cluster: Cluster,
    properties: Arc<Properties>,
    id: tokio::sync::Mutex<Id>,
    partitions: Mutex<FxHashMap<(String, i32), Arc<Partition>>>,
}

/// The id that batches are numbered under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    /// It is to be asked for.
    Unknown,
    /// Brokers give out none, or none to us: a batch that is tried again may be there twice.
    Without,
    /// Producer and epoch.
    Of(i64, i16),
}

/// The lane that records go by.
pub(super) struct Road<'a> {
    pub(super) lanes: &'a Lanes,
    pub(super) key: Key,
    /// The step that records are part of, where that is recorded.
    pub(super) span: Option<&'a Begun>,
}

impl Producer {
    pub(super) fn new(dialer: &Dialer, properties: Properties) -> Result<Self, String> {
        let dialer = dialer.trusting(&properties.trust)?;
        let properties = Arc::new(properties);
        let id = if properties.acks == Acks::All { Id::Unknown } else { Id::Without };
        Ok(Self {
            cluster: Cluster::new(dialer, properties.clone()),
            properties,
            id: tokio::sync::Mutex::new(id),
            partitions: Mutex::default(),
        })
    }

    /// Sends a record, with those that wait for the same partition.
    ///
    /// # Errors
    /// Transient where the record may be sent again; otherwise it was tried as often as it should be.
    pub(super) async fn send(
        &self,
        road: &Road<'_>,
        topic: &str,
        named: Option<i32>,
        record: Record,
    ) -> Result<(), Error> {
        let known = match self.cluster.known(topic) {
            Some(known) => known,
            None => road.lanes.through(&road.key, topic, road.span, self.cluster.topic(topic)).await??,
        };
        let chosen = known.partition(named, record.key.as_deref());
        let index = match chosen {
            Ok(index) => index,
            Err(reason) => {
                self.cluster.forget(topic);
                return Err(Error::permanent(topic, reason));
            }
        };
        let spread = named.is_none() && record.key.is_none();
        let partition = self.partition(topic, index).await;
        let carry = async |records: Vec<Record>| {
            if spread {
                known.sent();
            }
            self.carry(road, topic, index, &partition, &records).await
        };
        partition.group.join(record, MAX_RECORDS, topic, carry).await
    }

    async fn partition(&self, topic: &str, index: i32) -> Arc<Partition> {
        let (partition, forgotten) = {
            let mut partitions = self.partitions.lock();
            let full = partitions.len() >= MAX_PARTITIONS;
            if full {
                partitions.retain(|_, partition| Arc::strong_count(partition) > 1);
            }
            (partitions.entry((topic.to_owned(), index)).or_default().clone(), full)
        };
        // Numbers that nobody remembers must not be given out again.
        if forgotten {
            self.renumber(None).await;
        }
        partition
    }

    /// Sends the records of a partition in as many batches as they need.
    async fn carry(
        &self,
        road: &Road<'_>,
        topic: &str,
        index: i32,
        partition: &Partition,
        records: &[Record],
    ) -> Vec<Result<(), Error>> {
        let place = Place { topic, index, partition };
        let mut outcomes = Vec::with_capacity(records.len());
        let mut rest = records;
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(fitting(rest));
            rest = more;
            match self.settled(road, &place, batch).await {
                Err(refusal) if refusal.unfit && batch.len() > 1 => {
                    // One of them is refused: each answers for itself.
                    for record in batch {
                        let alone = self.settled(road, &place, std::slice::from_ref(record)).await;
                        outcomes.push(alone.map_err(|refusal| refusal.error));
                    }
                }
                settled => {
                    let settled = settled.map_err(|refusal| refusal.error);
                    outcomes.extend(std::iter::repeat_n(settled, batch.len()));
                }
            }
        }
        outcomes
    }

    /// Has a batch taken or refused, in several tries if need be. What it says is final.
    async fn settled(&self, road: &Road<'_>, place: &Place<'_>, batch: &[Record]) -> Result<(), Refusal> {
        let begun = Instant::now();
        let mut stamp = None;
        let mut failures = 0;
        loop {
            let attempt = self.attempt(place, batch, &mut stamp);
            let error = match road.lanes.through(&road.key, place.topic, road.span, attempt).await {
                Ok(Answer::Taken) => return Ok(()),
                Ok(Answer::Again(reason)) => Error::permanent(place.topic, reason),
                Ok(Answer::Refused { reason, unfit }) => {
                    return Err(Refusal { error: Error::permanent(place.topic, reason), unfit });
                }
                Err(error) if error.transient => Error { transient: false, ..error },
                Err(error) => return Err(Refusal { error, unfit: false }),
            };
            failures += 1;
            let dice = uuid::Uuid::new_v4().as_u64_pair().1;
            let pause = POLICY.pause(failures, begun.elapsed(), dice);
            // Nobody answers where nobody is asked: what is only written is not written twice.
            let pause = pause.filter(|_| self.properties.acks != Acks::None);
            tokio::time::sleep(pause.ok_or(Refusal { error, unfit: false })?).await;
        }
    }

    /// One try.
    async fn attempt(
        &self,
        place: &Place<'_>,
        batch: &[Record],
        stamp: &mut Option<Stamp>,
    ) -> Result<Answer, Error> {
        let Place { topic, index, partition } = *place;
        let led = self.cluster.leader(topic, index).await?;
        if stamp.is_none()
            && let Some(id) = self.id(&led, topic, partition).await?
        {
            *stamp = Some(partition.allot(id, wire::length(batch)));
        }
        let written = records::batch(batch, self.properties.compression, *stamp);
        let written = written.map_err(|error| Error::permanent(topic, error.to_string()))?;
        let acks = self.properties.acks.number();
        let within = i32::try_from(REPLICAS_WITHIN.as_millis()).unwrap_or(i32::MAX);
        let request = messages::produce(led.link.abilities.produce, acks, within, (topic, index), &written);
        if self.properties.acks == Acks::None {
            led.link.tell(request, topic).await?;
            return Ok(Answer::Taken);
        }
        let answer = match led.link.ask(request, topic).await {
            Ok(answer) => answer,
            Err(error) => {
                // Perhaps another leads by now.
                led.give_up().await;
                self.cluster.forget(topic);
                return Err(error);
            }
        };
        let error =
            messages::produced(&answer).map_err(|error| Error::permanent(topic, error.to_string()))?;
        let reason = || messages::named(error);
        Ok(match verdict(error) {
            Verdict::Taken => {
                partition.taken();
                Answer::Taken
            }
            Verdict::Again { elsewhere } => {
                if elsewhere {
                    self.cluster.forget(topic);
                }
                Answer::Again(reason())
            }
            Verdict::Renumbered => {
                if let Some(stamp) = stamp.take() {
                    self.renumber(Some((stamp.producer, stamp.epoch))).await;
                }
                Answer::Again(reason())
            }
            Verdict::Unfit => Answer::Refused { reason: reason(), unfit: true },
            Verdict::Refused => Answer::Refused { reason: reason(), unfit: false },
        })
    }

    /// The id for batches of a partition, if the brokers give out any.
    async fn id(&self, led: &Led, topic: &str, partition: &Partition) -> Result<Option<(i64, i16)>, Error> {
        let mut id = self.id.lock().await;
        if let (Id::Of(producer, epoch), Some(spoilt)) = (*id, partition.spoilt())
            && (producer, epoch) == spoilt
        {
            *id = Id::Unknown;
        }
        if *id == Id::Unknown {
            *id = if let Some(version) = led.link.abilities.ids {
                let answer = led.link.ask(messages::init_producer_id(version), topic).await?;
                let answered = messages::producer_id(version, &answer);
                match answered.map_err(|error| Error::permanent(topic, error.to_string()))? {
                    Ok(Some((producer, epoch))) => Id::Of(producer, epoch),
                    Ok(None) => Id::Without,
                    Err(error) if matches!(verdict(error), Verdict::Again { .. }) => {
                        return Err(Error::transient(topic, messages::named(error)));
                    }
                    Err(error) => {
                        tracing::info!(
                            reason = messages::named(error),
                            "Kafka gives out no producer id: batches may be there twice"
                        );
                        Id::Without
                    }
                }
            } else {
                Id::Without
            };
        }
        Ok(match *id {
            Id::Of(producer, epoch) => Some((producer, epoch)),
            Id::Unknown | Id::Without => None,
        })
    }

    /// Batches are numbered under another id from now on: none of these, or whatever it is now.
    async fn renumber(&self, spoilt: Option<(i64, i16)>) {
        let mut id = self.id.lock().await;
        if let Id::Of(producer, epoch) = *id
            && spoilt.is_none_or(|spoilt| spoilt == (producer, epoch))
        {
            *id = Id::Unknown;
        }
    }
}

/// Where a batch goes.
struct Place<'a> {
    topic: &'a str,
    index: i32,
    partition: &'a Partition,
}

/// What a broker says to a batch.
enum Answer {
    Taken,
    Again(String),
    Refused { reason: String, unfit: bool },
}

/// Why a batch was not taken.
struct Refusal {
    error: Error,
    /// One of its records may be the reason.
    unfit: bool,
}

/// How many of the records, one at least, fit in a batch.
fn fitting(records: &[Record]) -> usize {
    let mut bytes = 0;
    let more = records.iter().take_while(|record| {
        bytes += record.weight();
        bytes <= MAX_BYTES
    });
    more.count().max(1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_batch_has_bounds_but_never_nothing() {
        let record =
            |size: usize| Record { key: None, value: Bytes::from(vec![0; size]), headers: Vec::new(), at: 0 };
        assert_eq!(fitting(&[record(10), record(10)]), 2);
        assert_eq!(fitting(&[record(500 << 10), record(300 << 10), record(200 << 10)]), 2);
        assert_eq!(fitting(&[record(2 << 20), record(1)]), 1);
    }
}
