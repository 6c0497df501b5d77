//! `WatchEvent`.

use fleethaven_fabric::WatchEvent;

use super::{Error, position};
use crate::generated::metadata as wire;
use crate::generated::metadata::watch_event::Event;

pub(crate) fn to_wire(event: WatchEvent) -> wire::WatchEvent {
    let event = match event {
        WatchEvent::Reset => Event::Reset(wire::Reset {}),
        WatchEvent::Put { key, value, revision } => Event::Put(wire::Put { key, value, revision }),
        WatchEvent::Delete { key, revision } => Event::Delete(wire::Delete { key, revision }),
        WatchEvent::Synced(at) => Event::Synced(position::to_wire(at)),
        WatchEvent::Progress(at) => Event::Progress(position::to_wire(at)),
    };
    wire::WatchEvent { event: Some(event) }
}

pub(crate) fn from_wire(event: wire::WatchEvent) -> Result<WatchEvent, Error> {
    Ok(match event.event.ok_or(Error::Missing("event"))? {
        Event::Reset(wire::Reset {}) => WatchEvent::Reset,
        Event::Put(wire::Put { key, value, revision }) => WatchEvent::Put { key, value, revision },
        Event::Delete(wire::Delete { key, revision }) => WatchEvent::Delete { key, revision },
        Event::Synced(at) => WatchEvent::Synced(position::from_wire(at)),
        Event::Progress(at) => WatchEvent::Progress(position::from_wire(at)),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fleethaven_fabric::metadata::Position;

    use super::*;

    #[test]
    fn events_survive_the_wire() {
        let at = Position { incarnation: u64::MAX, group: 3, revision: 77 };
        let (key, value) = (Bytes::from_static(b"\0key"), Bytes::from_static(b"\xffvalue"));
        for event in [
            WatchEvent::Reset,
            WatchEvent::Put { key: key.clone(), value, revision: 5 },
            WatchEvent::Delete { key, revision: 6 },
            WatchEvent::Synced(at),
            WatchEvent::Progress(at),
        ] {
            assert_eq!(from_wire(to_wire(event.clone())).unwrap(), event);
        }
        assert!(from_wire(wire::WatchEvent { event: None }).is_err());
    }
}
