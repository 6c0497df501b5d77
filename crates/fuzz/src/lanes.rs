//! The packed frames of the lanes between gateways and routers. What arrives on them comes from other services, which are
//! authenticated: a damaged or hostile one costs its own stream and nobody else.

use std::fmt::Debug;

use bytes::Bytes;
use fleethaven_fabric_grpc::routing::{PackError, delivery, publish};

use crate::selected;

/// `[kind][frame]`: what can be read can be written, and reads the same.
pub(crate) fn frames(data: &[u8]) {
    let (kind, frame) = selected(data);
    let frame = Bytes::copy_from_slice(frame);
    match kind % 4 {
        0 => {
            let read = |frame| publish::Decoder::default().read(frame);
            let write = |publications: &Vec<_>| {
                let (mut encoder, mut out) = (publish::Encoder::default(), Vec::new());
                publications.iter().for_each(|publication| encoder.put(&mut out, publication));
                out.into()
            };
            again(frame, read, write);
        }
        1 => {
            let write = |replies: &Vec<_>| {
                let mut out = Vec::new();
                assert!(replies.iter().all(|reply| publish::put_answer(&mut out, reply)));
                out.into()
            };
            again(frame, publish::read_answers, write);
        }
        2 => {
            let read = |frame| delivery::Decoder::new(3).read(frame);
            let write =
                |pushes: &Vec<_>| delivery::Encoder::default().frame(&mut pushes.clone().into(), usize::MAX);
            again(frame, read, write);
        }
        _ => again(frame, delivery::read_shares, |shares: &Vec<_>| delivery::pack_shares(shares)),
    }
}

fn again<T: Debug>(
    frame: Bytes,
    read: impl Fn(Bytes) -> Result<Vec<T>, PackError>,
    write: impl Fn(&Vec<T>) -> Bytes,
) {
    let length = frame.len();
    let Ok(values) = read(frame) else { return };
    assert!(values.len() <= length, "more was read than was sent");
    let rewritten = read(write(&values)).unwrap();
    assert_eq!(format!("{rewritten:?}"), format!("{values:?}"));
}
