//! Frames and methods of AMQP 0-9-1, as far as a publisher has to do with them: big-endian numbers, and texts with their length
//! before them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::session::Publish;

/// What a client says first.
pub(super) const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";
/// Most bytes of a short string: exchanges, routing keys, names of headers.
pub(super) const MAX_SHORT: usize = 255;
/// Bytes of a frame beside its content.
const AROUND: usize = 8;
const END: u8 = 0xce;

/// The class that publishes belong to.
const BASIC: u16 = 60;
/// Flags of properties, in the order in which those are written.
const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Method,
    Header,
    Body,
    Heartbeat,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) channel: u16,
    pub(super) content: Bytes,
}

/// Why something cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker sent what is no AMQP 0-9-1")]
pub(super) struct Unreadable;

/// The next frame, once it is there whole; none may be larger than `most`.
pub(super) fn frame(inbox: &mut BytesMut, most: usize) -> Result<Option<Frame>, Unreadable> {
    let Some(head) = inbox.first_chunk::<7>() else { return Ok(None) };
    let [kind, c0, c1, s0, s1, s2, s3] = *head;
    let kind = match kind {
        1 => Kind::Method,
        2 => Kind::Header,
        3 => Kind::Body,
        8 => Kind::Heartbeat,
        // Also the header that a broker of another protocol answers with.
        _ => return Err(Unreadable),
    };
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).map_err(|_| Unreadable)?;
    let whole = size.checked_add(AROUND).filter(|whole| *whole <= most).ok_or(Unreadable)?;
    if inbox.len() < whole {
        return Ok(None);
    }
    let mut frame = inbox.split_to(whole).freeze();
    if frame.last() != Some(&END) {
        return Err(Unreadable);
    }
    frame.advance(AROUND - 1);
    frame.truncate(size);
    Ok(Some(Frame { kind, channel: u16::from_be_bytes([c0, c1]), content: frame }))
}

/// What a broker says to a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    Start {
        mechanisms: String,
    },
    Secure,
    Tune {
        channel_max: u16,
        frame_max: u32,
        heartbeat: u16,
    },
    OpenOk,
    /// Of the connection.
    Close {
        code: u16,
        text: String,
    },
    Blocked {
        reason: String,
    },
    Unblocked,
    ChannelClose {
        code: u16,
        text: String,
    },
    Ack {
        tag: u64,
        multiple: bool,
    },
    Nack {
        tag: u64,
        multiple: bool,
    },
    Return {
        code: u16,
        text: String,
        exchange: String,
        routing_key: String,
    },
    /// What needs no answer and changes nothing.
    Other,
}

impl Method {
    /// Reads the content of a method's frame.
    pub(super) fn read(content: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(content);
        let (class, method) = (reader.u16()?, reader.u16()?);
        Ok(match (class, method) {
            (10, 10) => {
                let (_major, _minor) = (reader.u8()?, reader.u8()?);
                reader.long()?;
                Self::Start { mechanisms: text(reader.long()?) }
            }
            (10, 20) => Self::Secure,
            (10, 30) => {
                Self::Tune { channel_max: reader.u16()?, frame_max: reader.u32()?, heartbeat: reader.u16()? }
            }
            (10, 41) => Self::OpenOk,
            (10, 50) => Self::Close { code: reader.u16()?, text: text(reader.short()?) },
            (10, 60) => Self::Blocked { reason: text(reader.short()?) },
            (10, 61) => Self::Unblocked,
            (20, 40) => Self::ChannelClose { code: reader.u16()?, text: text(reader.short()?) },
            (60, 50) => Self::Return {
                code: reader.u16()?,
                text: text(reader.short()?),
                exchange: text(reader.short()?),
                routing_key: text(reader.short()?),
            },
            (60, 80) => Self::Ack { tag: reader.u64()?, multiple: reader.u8()? & 1 == 1 },
            (60, 120) => Self::Nack { tag: reader.u64()?, multiple: reader.u8()? & 1 == 1 },
            _ => Self::Other,
        })
    }
}

/// The `message-id` of a content header.
pub(super) fn header(content: &[u8]) -> Result<Option<String>, Unreadable> {
    let mut reader = Reader(content);
    let (_class, _weight, _size, flags) = (reader.u16()?, reader.u16()?, reader.u64()?, reader.u16()?);
    let has = |flag| flags & flag != 0;
    for flag in [CONTENT_TYPE, CONTENT_ENCODING] {
        if has(flag) {
            reader.short()?;
        }
    }
    if has(HEADERS) {
        reader.long()?;
    }
    for flag in [DELIVERY_MODE, PRIORITY] {
        if has(flag) {
            reader.u8()?;
        }
    }
    for flag in [CORRELATION_ID, REPLY_TO, EXPIRATION] {
        if has(flag) {
            reader.short()?;
        }
    }
    if has(MESSAGE_ID) { reader.short().map(text).map(Some) } else { Ok(None) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads from the beginning on.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    fn u8(&mut self) -> Result<u8, Unreadable> {
        self.fixed().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Unreadable> {
        self.fixed().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.fixed().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.fixed().map(u64::from_be_bytes)
    }

    fn short(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A long string, or a table, which is one as far as nobody reads it.
    fn long(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Unreadable)?)
    }
}

/// Writes a frame whose content `write` writes.
fn framed(out: &mut BytesMut, kind: u8, channel: u16, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    out.put_u16(channel);
    let at = out.len();
    out.put_u32(0);
    write(out);
    let size = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&size.to_be_bytes());
    }
    out.put_u8(END);
}

fn method(out: &mut BytesMut, channel: u16, id: (u16, u16), write: impl FnOnce(&mut BytesMut)) {
    framed(out, 1, channel, |out| {
        out.put_u16(id.0);
        out.put_u16(id.1);
        write(out);
    });
}

/// A text of at most [`MAX_SHORT`] bytes: callers check.
fn short(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes().get(..text.len().min(MAX_SHORT)).unwrap_or_default();
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes);
}

fn long(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn table(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let mut content = BytesMut::new();
    write(&mut content);
    long(out, &content);
}

/// Who we are, and that we want to be told why when that is refused, and when the broker takes no messages.
pub(super) fn start_ok(out: &mut BytesMut, mechanism: &str, response: &[u8]) {
    method(out, 0, (10, 11), |out| {
        table(out, |out| {
            short(out, "product");
            out.put_u8(b'S');
            long(out, b"fleethaven");
            short(out, "capabilities");
            out.put_u8(b'F');
            table(out, |out| {
                for name in ["authentication_failure_close", "connection.blocked", "publisher_confirms"] {
                    short(out, name);
                    out.put_slice(b"t\x01");
                }
            });
        });
        short(out, mechanism);
        long(out, response);
        short(out, "en_US");
    });
}

pub(super) fn tune_ok(out: &mut BytesMut, channel_max: u16, frame_max: u32, heartbeat: u16) {
    method(out, 0, (10, 31), |out| {
        out.put_u16(channel_max);
        out.put_u32(frame_max);
        out.put_u16(heartbeat);
    });
}

/// Opens the connection to a virtual host.
pub(super) fn open(out: &mut BytesMut, host: &str) {
    method(out, 0, (10, 40), |out| {
        short(out, host);
        short(out, "");
        out.put_u8(0);
    });
}

/// Ends the connection: nothing is wrong.
pub(super) fn close(out: &mut BytesMut) {
    method(out, 0, (10, 50), |out| {
        out.put_u16(200);
        short(out, "");
        out.put_u32(0);
    });
}

pub(super) fn close_ok(out: &mut BytesMut) {
    method(out, 0, (10, 51), |_| {});
}

pub(super) fn channel_close_ok(out: &mut BytesMut, channel: u16) {
    method(out, channel, (20, 41), |_| {});
}

/// Opens a channel on which publishes are confirmed. Nobody waits for the answer: the broker takes one after the other.
pub(super) fn open_channel(out: &mut BytesMut, channel: u16) {
    method(out, channel, (20, 10), |out| short(out, ""));
    method(out, channel, (85, 10), |out| out.put_u8(1));
}

pub(super) fn heartbeat(out: &mut BytesMut) {
    framed(out, 8, 0, |_| {});
}

/// A publish: its method, its header, and its payload in frames of at most `frame_max` bytes.
pub(super) fn publish(out: &mut BytesMut, channel: u16, publish: &Publish, frame_max: usize) {
    method(out, channel, (BASIC, 40), |out| {
        out.put_u16(0);
        short(out, &publish.exchange);
        short(out, &publish.routing_key);
        out.put_u8(u8::from(publish.mandatory));
    });
    framed(out, 2, channel, |out| {
        out.put_u16(BASIC);
        out.put_u16(0);
        out.put_u64(publish.payload.len() as u64);
        let id = if publish.message_id.is_some() { MESSAGE_ID } else { 0 };
        out.put_u16(CONTENT_TYPE | HEADERS | DELIVERY_MODE | id | TIMESTAMP);
        short(out, publish.content_type);
        table(out, |out| {
            for (name, value) in &publish.headers {
                short(out, name);
                out.put_u8(b'S');
                long(out, value.as_bytes());
            }
        });
        out.put_u8(if publish.persistent { 2 } else { 1 });
        if let Some(id) = &publish.message_id {
            short(out, id);
        }
        out.put_u64(publish.timestamp);
    });
    for part in publish.payload.chunks(frame_max.saturating_sub(AROUND).max(1)) {
        framed(out, 3, channel, |out| out.put_slice(part));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_publish(payload: &[u8]) -> Publish {
        Publish {
            exchange: "readings".to_owned(),
            routing_key: "a.b".to_owned(),
            content_type: "application/json",
            headers: vec![("site".to_owned(), "x".to_owned())],
            persistent: true,
            mandatory: true,
            message_id: Some("id".to_owned()),
            timestamp: 5,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn frames(mut bytes: BytesMut) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(next) = frame(&mut bytes, 4096).unwrap() {
            frames.push(next);
        }
        assert!(bytes.is_empty());
        frames
    }

    #[test]
    fn a_publish_is_a_method_a_header_and_parts() {
        let mut out = BytesMut::new();
        publish(&mut out, 3, &a_publish(b"0123456789"), 4 + AROUND);
        let frames = frames(out);
        let kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.channel)).collect();
        assert_eq!(
            kinds,
            [(Kind::Method, 3), (Kind::Header, 3), (Kind::Body, 3), (Kind::Body, 3), (Kind::Body, 3)]
        );
        assert_eq!(&frames[0].content[..], b"\x00\x3c\x00\x28\x00\x00\x08readings\x03a.b\x01");
        assert_eq!(header(&frames[1].content), Ok(Some("id".to_owned())));
        let payload: Vec<u8> = frames[2..].iter().flat_map(|frame| frame.content.to_vec()).collect();
        assert_eq!(payload, b"0123456789");
        let mut out = BytesMut::new();
        publish(&mut out, 3, &a_publish(b""), 4096);
        assert_eq!(self::frames(out).len(), 2, "no payload, no part");
    }

    #[test]
    fn what_a_broker_says_is_read() {
        let mut out = BytesMut::new();
        method(&mut out, 0, (10, 50), |out| {
            out.put_u16(320);
            short(out, "CONNECTION_FORCED");
            out.put_u32(0);
        });
        method(&mut out, 2, (60, 80), |out| {
            out.put_u64(7);
            out.put_u8(1);
        });
        method(&mut out, 2, (20, 11), |out| out.put_u32(0));
        let methods: Vec<_> = frames(out).iter().map(|frame| Method::read(&frame.content).unwrap()).collect();
        let close = Method::Close { code: 320, text: "CONNECTION_FORCED".to_owned() };
        assert_eq!(methods, [close, Method::Ack { tag: 7, multiple: true }, Method::Other]);
    }

    #[test]
    fn frames_are_bounded_and_whole() {
        let mut out = BytesMut::new();
        heartbeat(&mut out);
        assert_eq!(frame(&mut BytesMut::from(&out[..7]), 4096), Ok(None));
        assert_eq!(frame(&mut out.clone(), 7), Err(Unreadable), "larger than was agreed on");
        *out.last_mut().unwrap() = 0;
        assert_eq!(frame(&mut out, 4096), Err(Unreadable));
        assert_eq!(frame(&mut BytesMut::from(&b"AMQP\0\0\x09\x01"[..]), 4096), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn nothing_that_a_broker_sends_panics(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let _ = Method::read(&bytes);
            let _ = header(&bytes);
            let mut inbox = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = frame(&mut inbox, 64) {}
        }
    }
}
