//! Reading a request's body, bounded in size and time.

use std::error::Error as StdError;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::error::Error;

/// Of a body that is too large, so much is read and thrown away: most clients send all of it before they look at the
/// answer, and closing on them would look like a broken connection instead.
const DISCARDED: u64 = 64 << 20;

/// The whole body: at most `most` bytes, within `timeout`. One that is too large is refused when it has been read to its
/// end, within 64 MiB and the same time; at once where the client `waits` to be told (`Expect: 100-continue`).
pub(crate) async fn read<B>(waits: bool, body: B, most: usize, timeout: Duration) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let announced = body.size_hint().lower();
    // hyper asks such a client to go on when the body is first read.
    if announced > most as u64 && (waits || announced > DISCARDED) {
        return Err(Error::TooLarge(most));
    }
    let mut taken = Taken { most, whole: Bytes::new(), joined: BytesMut::new(), length: 0 };
    match tokio::time::timeout(timeout, taken.take(body)).await {
        Err(_) if taken.is_too_large() => Err(Error::TooLarge(most)),
        Err(_) => Err(Error::Timeout),
        Ok(Err(error)) => Err(Error::invalid(format!("the request body cannot be read: {error}"))),
        Ok(Ok(())) if taken.is_too_large() => Err(Error::TooLarge(most)),
        Ok(Ok(())) => Ok(taken.into_bytes()),
    }
}

/// What has arrived of a body; nothing is kept of one that is too large.
struct Taken {
    most: usize,
    /// The first piece, which mostly is the whole body and then costs no copy.
    whole: Bytes,
    /// All pieces, from the second on.
    joined: BytesMut,
    length: u64,
}

impl Taken {
    fn is_too_large(&self) -> bool {
        self.length > self.most as u64
    }

    async fn take<B>(&mut self, body: B) -> Result<(), Box<dyn StdError + Send + Sync>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            // Trailers mean nothing to us.
            let Ok(piece) = frame.map_err(Into::into)?.into_data() else { continue };
            self.length += piece.len() as u64;
            if self.is_too_large() {
                (self.whole, self.joined) = (Bytes::new(), BytesMut::new());
                if self.length > DISCARDED {
                    return Ok(());
                }
            } else if self.length == piece.len() as u64 {
                self.whole = piece;
            } else {
                if self.joined.is_empty() {
                    self.joined.extend_from_slice(&std::mem::take(&mut self.whole));
                }
                self.joined.extend_from_slice(&piece);
            }
        }
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.whole } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn plain<B>(body: B, most: usize, timeout: Duration) -> Result<Bytes, Error>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        read(false, body, most, timeout).await
    }

    /// A body in pieces, of no announced length, and how many of them were read.
    fn pieces(
        count: usize,
        piece: &'static [u8],
    ) -> (impl Body<Data = Bytes, Error = Infallible>, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let counter = read.clone();
        let frames = stream::iter(0..count).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from_static(piece)))
        });
        (StreamBody::new(frames), read)
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let body = |text: &'static str| Full::new(Bytes::from(text));
        assert_eq!(plain(body("abc"), 3, SECOND).await.unwrap(), "abc");
        assert_eq!(plain(body(""), 3, SECOND).await.unwrap(), "");
        assert!(matches!(plain(body("abcd"), 3, SECOND).await, Err(Error::TooLarge(3))));
        assert_eq!(plain(pieces(3, b"ab").0, 6, SECOND).await.unwrap(), "ababab");
    }

    #[tokio::test]
    async fn too_large_a_body_is_read_to_its_end_within_bounds() {
        static MEBIBYTE: [u8; 1 << 20] = [0; 1 << 20];
        let (body, read) = pieces(60, &MEBIBYTE);
        assert!(matches!(plain(body, 3, SECOND * 60).await, Err(Error::TooLarge(3))));
        assert_eq!(read.load(Ordering::Relaxed), 60);
        let (body, read) = pieces(200, &MEBIBYTE);
        assert!(matches!(plain(body, 3, SECOND * 60).await, Err(Error::TooLarge(3))));
        assert_eq!(read.load(Ordering::Relaxed), 65);
    }

    #[tokio::test]
    async fn who_waits_to_be_told_is_told_at_once() {
        let body = Full::new(Bytes::from_static(b"abcd"));
        assert!(matches!(read(true, body, 3, Duration::ZERO).await, Err(Error::TooLarge(3))));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_awaited_for_a_time_only() {
        let nothing = || stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
        assert!(matches!(plain(StreamBody::new(nothing()), 3, SECOND).await, Err(Error::Timeout)));
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"abcd")))]);
        let slow = StreamBody::new(first.chain(nothing()));
        assert!(matches!(plain(slow, 3, SECOND).await, Err(Error::TooLarge(3))));
    }
}
