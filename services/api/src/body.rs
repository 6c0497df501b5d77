//! Reading a request's body, bounded in size and time.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

use crate::error::Error;

/// The whole body: at most `most` bytes, within `timeout`.
pub(crate) async fn read<B>(body: B, most: usize, timeout: Duration) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    if body.size_hint().lower() > most as u64 {
        return Err(Error::TooLarge(most));
    }
    let limited = std::pin::pin!(Limited::new(body, most).collect());
    match tokio::time::timeout(timeout, limited).await {
        Err(_) => Err(Error::Timeout),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::TooLarge(most)),
        Ok(Err(error)) => Err(Error::invalid(format!("the request body cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn bodies_are_bounded() {
        let body = |text: &'static str| Full::new(Bytes::from(text));
        let second = Duration::from_secs(1);
        assert_eq!(read(body("abc"), 3, second).await.unwrap(), "abc");
        assert!(matches!(read(body("abcd"), 3, second).await, Err(Error::TooLarge(3))));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_awaited_for_a_time_only() {
        let frames = futures_util::stream::pending::<Result<hyper::body::Frame<Bytes>, std::io::Error>>();
        let body = http_body_util::StreamBody::new(frames);
        assert!(matches!(read(body, 3, Duration::from_secs(60)).await, Err(Error::Timeout)));
    }
}
