//! The protocol of external signers: on a connection of its own to a Unix socket, a line of JSON says what is to be signed, a line
//! of JSON answers.
//!
//! `{"key":"<what the signer calls it>","digest":"<base64 of 32 bytes>"}` is answered with `{"signature":"<base64>"}`: over the
//! SHA-256 digest, by ECDSA on P-256 as a DER sequence of two integers, or by RSA with PKCS #1 v1.5; or with
//! `{"error":"<why not>"}`. Who may use the keys is who may open the socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// How long a signature may take, with the wait for a place.
const WITHIN: Duration = Duration::from_secs(5);
/// Signatures that are asked for at a time.
const AT_A_TIME: usize = 16;
/// Longest answer in bytes.
const MAX_ANSWER: u64 = 16 << 10;
/// Longest reason that is repeated, in characters.
const MAX_REASON: usize = 200;

/// Why a signer does not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// It could not be reached, or the connection ended.
    #[error("the external signer cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It did not answer in time.
    #[error("the external signer did not answer within {} seconds", WITHIN.as_secs())]
    TooLate,
    /// It refused.
    #[error("the external signer refuses: {0}")]
    Refused(String),
    /// The signature is not by the CA's key.
    #[error("the external signer signs with another key: {0}")]
    AnotherKey(fleethaven_pki::Error),
    /// The answer is none.
    #[error("the external signer's answer cannot be read")]
    Unreadable,
}

/// What signs with keys that are not here.
#[derive(Debug)]
pub struct Signer {
    socket: PathBuf,
    within: Duration,
    places: Semaphore,
}

#[derive(Serialize)]
struct Asked<'a> {
    key: &'a str,
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Signature(String),
    Error(String),
}

impl Signer {
    /// A signer at a Unix socket.
    pub fn at(socket: PathBuf) -> Self {
        Self { socket, within: WITHIN, places: Semaphore::new(AT_A_TIME) }
    }

    /// The signature of a SHA-256 digest by a key. It is not checked here.
    ///
    /// # Errors
    /// See [`SignerError`].
    pub async fn sign(&self, key: &str, digest: [u8; 32]) -> Result<Vec<u8>, SignerError> {
        match tokio::time::timeout(self.within, self.ask(key, digest)).await {
            Ok(answered) => answered,
            Err(_) => Err(SignerError::TooLate),
        }
    }

    async fn ask(&self, key: &str, digest: [u8; 32]) -> Result<Vec<u8>, SignerError> {
        // Never closed.
        let _place = self.places.acquire().await.map_err(|_| SignerError::TooLate)?;
        let mut stream = UnixStream::connect(&self.socket).await?;
        let asked = Asked { key, digest: STANDARD.encode(digest) };
        let mut line = serde_json::to_vec(&asked).map_err(io::Error::from)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer).await?;
        match serde_json::from_slice(&answer).map_err(|_| SignerError::Unreadable)? {
            Answer::Signature(text) => STANDARD.decode(text).map_err(|_| SignerError::Unreadable),
            Answer::Error(reason) => Err(SignerError::Refused(
                reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A signer that answers each connection so; `None`: never.
    fn signer(folder: &tempfile::TempDir, answer: Option<&'static str>) -> Signer {
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!((&asked["key"], asked["digest"].as_str().unwrap().len()), (&"k".into(), 44));
                match answer {
                    Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    None => open.push(stream),
                }
            }
        });
        Signer { within: Duration::from_millis(200), ..Signer::at(socket) }
    }

    async fn told(answer: Option<&'static str>) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let signed = signer(&folder, answer).sign("k", [0; 32]).await;
        signed.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn answers_are_read() {
        assert_eq!(told(Some("{\"signature\":\"AQI=\"}\n")).await, Ok(vec![1, 2]));
        assert_eq!(told(Some("{\"signature\":\"AQI=\"}")).await, Ok(vec![1, 2]), "the stream ends with it");
        assert_eq!(
            told(Some("{\"error\":\"no\\u0007 key\"}\n")).await,
            Err("the external signer refuses: no key".to_owned())
        );
        for answer in ["", "\n", "{}\n", "{\"signature\":\"?\"}\n", "{\"signature\":5}\n"] {
            assert_eq!(
                told(Some(answer)).await,
                Err("the external signer's answer cannot be read".to_owned())
            );
        }
    }

    #[tokio::test]
    async fn a_signer_that_is_silent_or_absent_is_waited_for_no_longer_than_that() {
        assert!(told(None).await.unwrap_err().contains("did not answer"));
        let nobody = Signer::at(PathBuf::from("/nonexistent/socket"));
        assert!(matches!(nobody.sign("k", [0; 32]).await, Err(SignerError::Unreachable(_))));
    }
}
