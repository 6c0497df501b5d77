//! The requests that a producer makes and what comes back, in the versions that brokers from 1.0 to today's have in common.

use std::ops::RangeInclusive;

use bytes::BufMut;

use super::wire::{Reader, Unreadable, put_bytes, put_text};

/// A request without its head.
pub(super) struct Request {
    api: i16,
    version: i16,
    /// Written the newer way, in which head and body end with tagged fields.
    flexible: bool,
    body: Vec<u8>,
}

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
const SASL_AUTHENTICATE: i16 = 36;

/// Versions of Produce that are written alike; the last one may carry zstd.
const PRODUCE_VERSIONS: RangeInclusive<i16> = 3..=7;
const METADATA_VERSION: i16 = 4;

/// The version of InitProducerId that is preferred; brokers before 2.5 have the first.
const ID_VERSION: i16 = 3;
const NO_TAGS: u8 = 0;

/// Says who we are in every request.
const CLIENT_ID: &str = "fleethaven";

impl Request {
    fn new(api: i16, version: i16) -> Self {
        Self { api, version, flexible: false, body: Vec::new() }
    }

    /// The request as it is sent, with its length before it.
    pub(super) fn frame(&self, correlation: i32) -> Vec<u8> {
        let mut head = Vec::new();
        head.put_i16(self.api);
        head.put_i16(self.version);
        head.put_i32(correlation);
        put_text(&mut head, CLIENT_ID);
        head.extend(self.flexible.then_some(NO_TAGS));
        let mut frame = Vec::with_capacity(4 + head.len() + self.body.len());
        frame.put_u32(u32::try_from(head.len() + self.body.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(&head);
        frame.extend_from_slice(&self.body);
        frame
    }
}

/// What a broker can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// The version of Produce that is spoken with it.
    pub(super) produce: i16,
    /// The version of InitProducerId, if it gives out ids by which it tells repeated batches.
    pub(super) ids: Option<i16>,
}

pub(super) fn api_versions() -> Request {
    Request::new(API_VERSIONS, 0)
}

/// The abilities, or the reason why nothing can be produced to the broker.
pub(super) fn abilities(answer: &[u8]) -> Result<Abilities, String> {
    let mut reader = Reader::new(answer);
    let read = |reader: &mut Reader<'_>| {
        let error = reader.i16()?;
        Ok((error, reader.array(|reader| Ok((reader.i16()?, reader.i16()?..=reader.i16()?)))?))
    };
    let (error, versions) = read(&mut reader).map_err(|error: Unreadable| error.to_string())?;
    if error != 0 {
        return Err(format!("the broker does not say what it can do: {}", named(error)));
    }
    let of = |api| versions.iter().find(|(one, _)| *one == api).map(|(_, versions)| versions.clone());
    let produce = of(PRODUCE).filter(|versions| versions.start() <= PRODUCE_VERSIONS.end());
    let produce = produce.map(|versions| *versions.end().min(PRODUCE_VERSIONS.end()));
    let produce = produce.filter(|version| PRODUCE_VERSIONS.contains(version));
    if !of(METADATA).is_some_and(|versions| versions.contains(&METADATA_VERSION)) {
        return Err("the broker is too old or too new: it has no version 4 of Metadata".to_owned());
    }
    Ok(Abilities {
        produce: produce.ok_or("the broker is too old or too new: it has no version 3 to 7 of Produce")?,
        ids: [ID_VERSION, 0]
            .into_iter()
            .find(|version| of(INIT_PRODUCER_ID).is_some_and(|has| has.contains(version))),
    })
}

pub(super) fn sasl_handshake(mechanism: &str) -> Request {
    let mut request = Request::new(SASL_HANDSHAKE, 1);
    put_text(&mut request.body, mechanism);
    request
}

/// Whether the broker has the mechanism that was asked for.
pub(super) fn handshaken(answer: &[u8]) -> Result<(), String> {
    let mut reader = Reader::new(answer);
    let mut read =
        || Ok((reader.i16()?, reader.array(|reader| Ok(reader.text()?.unwrap_or_default().to_owned()))?));
    let (error, mechanisms) = read().map_err(|error: Unreadable| error.to_string())?;
    match error {
        0 => Ok(()),
        error => Err(format!("{}; the broker has {}", named(error), mechanisms.join(", "))),
    }
}

pub(super) fn sasl_authenticate(token: &[u8]) -> Request {
    let mut request = Request::new(SASL_AUTHENTICATE, 0);
    put_bytes(&mut request.body, token);
    request
}

/// The broker's token, or why it does not let us in.
pub(super) fn authenticated(answer: &[u8]) -> Result<&[u8], String> {
    let mut reader = Reader::new(answer);
    let mut read = || Ok((reader.i16()?, reader.text()?, reader.bytes()?));
    let (error, message, token) = read().map_err(|error: Unreadable| error.to_string())?;
    match error {
        0 => Ok(token),
        error => Err(message.map_or_else(|| named(error), |message| format!("{}: {message}", named(error)))),
    }
}

/// Asks who leads the partitions of a topic. A broker that makes topics when they are asked for makes it, as for Java's producers.
pub(super) fn metadata(topic: &str) -> Request {
    let mut request = Request::new(METADATA, METADATA_VERSION);
    request.body.put_i32(1);
    put_text(&mut request.body, topic);
    request.body.put_u8(1);
    request
}

/// What a broker knows of the cluster and a topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Id, host and port of each broker.
    pub(super) brokers: Vec<(i32, String, u16)>,
    /// Why the topic is not there; 0 if it is.
    pub(super) error: i16,
    /// Index and leader of each partition, in their order; -1 leads none.
    pub(super) partitions: Vec<(i32, i32)>,
}

pub(super) fn read_metadata(answer: &[u8]) -> Result<Metadata, Unreadable> {
    let mut reader = Reader::new(answer);
    let _throttled = reader.i32()?;
    let brokers = reader.array(|reader| {
        let (id, host, port) = (reader.i32()?, reader.text()?.unwrap_or_default().to_owned(), reader.i32()?);
        let _rack = reader.text()?;
        Ok((id, host, u16::try_from(port).map_err(|_| Unreadable)?))
    })?;
    let (_cluster, _controller) = (reader.text()?, reader.i32()?);
    let topics = reader.array(|reader| {
        let (error, _name, _internal) = (reader.i16()?, reader.text()?, reader.boolean()?);
        let mut partitions = reader.array(|reader| {
            let (_error, index, leader) = (reader.i16()?, reader.i32()?, reader.i32()?);
            let (_replicas, _in_sync) = (reader.array(Reader::i32)?, reader.array(Reader::i32)?);
            Ok((index, leader))
        })?;
        partitions.sort_unstable();
        Ok((error, partitions))
    })?;
    let (error, partitions) = topics.into_iter().next().ok_or(Unreadable)?;
    Ok(Metadata { brokers, error, partitions })
}

/// Asks for an id that batches are numbered under.
pub(super) fn init_producer_id(version: i16) -> Request {
    let mut request = Request { flexible: version == ID_VERSION, ..Request::new(INIT_PRODUCER_ID, version) };
    let body = &mut request.body;
    // No transactions, whose timeout is then of no meaning; and no id yet.
    if request.flexible {
        body.put_u8(0);
        body.put_i32(i32::MAX);
        body.put_i64(-1);
        body.put_i16(-1);
        body.put_u8(NO_TAGS);
    } else {
        body.put_i16(-1);
        body.put_i32(i32::MAX);
    }
    request
}

/// The id and its epoch, or the broker's error. A broker may also give out none.
pub(super) fn producer_id(
    version: i16,
    answer: &[u8],
) -> Result<Result<Option<(i64, i16)>, i16>, Unreadable> {
    let mut reader = Reader::new(answer);
    if version == ID_VERSION && reader.take(1)? != [NO_TAGS] {
        return Err(Unreadable);
    }
    let (_throttled, error, id, epoch) = (reader.i32()?, reader.i16()?, reader.i64()?, reader.i16()?);
    Ok(if error == 0 { Ok((id >= 0).then_some((id, epoch))) } else { Err(error) })
}

/// Adds a batch to a partition; `acks` as on the wire, `within` milliseconds.
pub(super) fn produce(
    version: i16,
    acks: i16,
    within: i32,
    (topic, partition): (&str, i32),
    batch: &[u8],
) -> Request {
    let mut request =
        Request { body: Vec::with_capacity(batch.len() + 64), ..Request::new(PRODUCE, version) };
    let body = &mut request.body;
    body.put_i16(-1);
    body.put_i16(acks);
    body.put_i32(within);
    body.put_i32(1);
    put_text(body, topic);
    body.put_i32(1);
    body.put_i32(partition);
    put_bytes(body, batch);
    request
}

/// The broker's error for the batch; 0 is none.
pub(super) fn produced(answer: &[u8]) -> Result<i16, Unreadable> {
    let mut reader = Reader::new(answer);
    let [1] = [reader.i32()?] else { return Err(Unreadable) };
    let _topic = reader.text()?;
    let [1] = [reader.i32()?] else { return Err(Unreadable) };
    let _partition = reader.i32()?;
    reader.i16()
}

/// What becomes of a batch after a broker's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is there.
    Taken,
    /// It may be taken later.
    Again {
        /// By another leader, perhaps.
        elsewhere: bool,
    },
    /// It may be taken under another producer id.
    Renumbered,
    /// Something in it is not taken; each record alone may be.
    Unfit,
    /// Nothing will be taken.
    Refused,
}

/// What an error means.
pub(super) fn verdict(error: i16) -> Verdict {
    match error {
        // 46: this very batch has been taken before.
        0 | 46 => Verdict::Taken,
        3 | 5 | 6 | 9 | 56 => Verdict::Again { elsewhere: true },
        7 | 8 | 13 | 14 | 19 | 20 | 89 => Verdict::Again { elsewhere: false },
        45 | 47 | 59 => Verdict::Renumbered,
        2 | 10 | 18 | 87 => Verdict::Unfit,
        _ => Verdict::Refused,
    }
}

/// An error as Kafka's documentation calls it.
pub(super) fn named(error: i16) -> String {
    let name = match error {
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        17 => "INVALID_TOPIC_EXCEPTION",
        18 => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        21 => "INVALID_REQUIRED_ACKS",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE",
        35 => "UNSUPPORTED_VERSION",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        58 => "SASL_AUTHENTICATION_FAILED",
        59 => "UNKNOWN_PRODUCER_ID",
        76 => "UNSUPPORTED_COMPRESSION_TYPE",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        other => return format!("Kafka's error {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn versions(of: &[(i16, i16, i16)]) -> Vec<u8> {
        let mut answer = vec![0, 0];
        answer.put_i32(i32::try_from(of.len()).unwrap());
        for (api, low, high) in of {
            [api, low, high].into_iter().for_each(|number| answer.put_i16(*number));
        }
        answer
    }

    #[test]
    fn a_broker_is_spoken_with_in_a_version_that_it_has() {
        let today = versions(&[(0, 3, 12), (3, 0, 13), (22, 0, 5)]);
        assert_eq!(abilities(&today), Ok(Abilities { produce: 7, ids: Some(3) }));
        let before = versions(&[(0, 0, 7), (3, 0, 5), (22, 0, 1)]);
        assert_eq!(abilities(&before), Ok(Abilities { produce: 7, ids: Some(0) }));
        let older = versions(&[(0, 0, 5), (3, 0, 5)]);
        assert_eq!(abilities(&older), Ok(Abilities { produce: 5, ids: None }));
        assert!(abilities(&versions(&[(0, 0, 2), (3, 0, 5)])).unwrap_err().contains("too old"));
        assert!(abilities(&versions(&[(0, 9, 12), (3, 0, 5)])).is_err());
        assert!(abilities(&versions(&[(0, 3, 7), (3, 5, 9)])).is_err());
        assert!(abilities(&[0, 35, 0, 0, 0, 0]).unwrap_err().contains("UNSUPPORTED_VERSION"));
    }

    #[test]
    fn the_cluster_is_read() {
        let mut answer = Vec::new();
        answer.put_i32(0);
        answer.put_i32(1);
        answer.put_i32(7);
        put_text(&mut answer, "b.example.com");
        answer.put_i32(9092);
        answer.put_i16(-1);
        answer.put_i16(-1);
        answer.put_i32(7);
        answer.put_i32(1);
        answer.put_i16(0);
        put_text(&mut answer, "t");
        answer.put_u8(0);
        answer.put_i32(2);
        for (index, leader) in [(1, 7), (0, -1)] {
            answer.put_i16(0);
            answer.put_i32(index);
            answer.put_i32(leader);
            answer.put_i32(1);
            answer.put_i32(7);
            answer.put_i32(0);
        }
        let expected = Metadata {
            brokers: vec![(7, "b.example.com".to_owned(), 9092)],
            error: 0,
            partitions: vec![(0, -1), (1, 7)],
        };
        assert_eq!(read_metadata(&answer), Ok(expected));
        for end in 0..answer.len() {
            assert_eq!(read_metadata(&answer[..end]), Err(Unreadable));
        }
    }

    #[test]
    fn a_request_has_its_length_and_its_head() {
        let frame = api_versions().frame(9);
        assert_eq!(frame[..4], [0, 0, 0, 20]);
        assert_eq!(frame[4..12], [0, 18, 0, 0, 0, 0, 0, 9]);
        assert_eq!(frame[12..], *b"\0\x0afleethaven");
    }

    #[test]
    fn an_id_is_read_in_either_version() {
        let content = [&[0; 6][..], &7i64.to_be_bytes(), &[0, 2]].concat();
        assert_eq!(producer_id(0, &content), Ok(Ok(Some((7, 2)))));
        let flexible = [&[0][..], &content, &[0]].concat();
        assert_eq!(producer_id(3, &flexible), Ok(Ok(Some((7, 2)))));
        let none = [&[0; 6][..], &[0xff; 10]].concat();
        assert_eq!(producer_id(0, &none), Ok(Ok(None)));
        assert_eq!(producer_id(0, &[&[0, 0, 0, 0, 0, 31][..], &[0xff; 10]].concat()), Ok(Err(31)));
        assert_eq!(
            init_producer_id(3).frame(1)[4 + 8 + 12..],
            *b"\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"
        );
    }

    #[test]
    fn errors_say_what_to_do() {
        assert_eq!(verdict(46), Verdict::Taken);
        assert_eq!(verdict(6), Verdict::Again { elsewhere: true });
        assert_eq!(verdict(29), Verdict::Refused);
        let unknown = named(120);
        assert_eq!((verdict(120), unknown.as_str()), (Verdict::Refused, "Kafka's error 120"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in proptest::collection::vec(any::<u8>(), 0..96)) {
            let _ = (abilities(&answer), handshaken(&answer), read_metadata(&answer));
            let _ = (authenticated(&answer).is_ok(), producer_id(3, &answer), produced(&answer));
        }
    }
}
