//! A connection to one broker: opened by TLS or not, authenticated, and then shared by all that have something for it. Requests follow
//! each other without waiting; the broker answers in their order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use fleethaven_outbound::Dialer;
use fleethaven_outbound::dial::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::messages::{self, Abilities, Request};
use super::properties::{Login, Mechanism, Properties};
use super::scram;
use crate::actions::Error;

/// How long a broker may take to answer.
const WITHIN: Duration = Duration::from_secs(4);
/// A connection that nothing was asked on for so long is closed (rules-actions.md 5.10).
const IDLE: Duration = Duration::from_secs(300);
/// Requests that wait to be written.
const WAITING: usize = 64;
/// Requests that wait for their answers.
const UNANSWERED: usize = 256;
/// Most bytes of an answer: what a broker says of a topic with ten thousand partitions is a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

struct Ask {
    request: Request,
    tell: Tell,
}

enum Tell {
    /// The answer.
    Answer(oneshot::Sender<Bytes>),
    /// That it is written: the broker will not answer.
    Written(oneshot::Sender<()>),
}

/// A way to a broker. It is open as long as somebody holds it and something is asked.
#[derive(Clone)]
pub(super) struct Link {
    asks: mpsc::Sender<Ask>,
    pub(super) abilities: Abilities,
}

impl Link {
    pub(super) fn is_open(&self) -> bool {
        !self.asks.is_closed()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: Request, resource: &str) -> Result<Bytes, Error> {
        let (tell, told) = oneshot::channel();
        self.exchange(Ask { request, tell: Tell::Answer(tell) }, told, resource).await
    }

    /// Sends what is not answered.
    pub(super) async fn tell(&self, request: Request, resource: &str) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        self.exchange(Ask { request, tell: Tell::Written(tell) }, told, resource).await
    }

    async fn exchange<T>(&self, ask: Ask, told: oneshot::Receiver<T>, resource: &str) -> Result<T, Error> {
        let broken = || Error::transient(resource, "the connection to the broker broke off");
        let exchange = async {
            self.asks.send(ask).await.map_err(|_| broken())?;
            told.await.map_err(|_| broken())
        };
        let late = || Err(Error::transient(resource, "the broker did not answer in time"));
        tokio::time::timeout(WITHIN, exchange).await.unwrap_or_else(|_| late())
    }
}

/// Connects to a broker. The address passes the guard of all outbound calls, whoever named it.
pub(super) async fn open(
    dialer: &Dialer,
    properties: &Properties,
    (host, port): (&str, u16),
    resource: &str,
) -> Result<Link, Error> {
    let stream = dialer.open(host, port, properties.secured).await;
    let stream = stream.map_err(|error| {
        let reason = format!("{host}:{port}: {error}");
        Error { transient: error.is_transient(), ..Error::permanent(resource, reason) }
    })?;
    let mut carrier = Carrier { stream, inbox: BytesMut::new(), unanswered: VecDeque::new(), correlation: 0 };
    let greeted = tokio::time::timeout(WITHIN, carrier.greet(properties)).await;
    let late = || Err(Greeting::Broken("it does not answer in time".to_owned()));
    let abilities = greeted.unwrap_or_else(|_| late()).map_err(|greeting| match greeting {
        Greeting::Broken(reason) => Error::transient(resource, format!("{host}:{port}: {reason}")),
        Greeting::Refused(reason) => Error::permanent(resource, format!("{host}:{port}: {reason}")),
    })?;
    let (sender, asks) = mpsc::channel(WAITING);
    tokio::spawn(carrier.carry(asks));
    Ok(Link { asks: sender, abilities })
}

/// Why a connection comes to nothing.
enum Greeting {
    /// It may be better the next time.
    Broken(String),
    Refused(String),
}

/// A connection, and who waits on it.
struct Carrier {
    stream: Stream,
    inbox: BytesMut,
    unanswered: VecDeque<(i32, oneshot::Sender<Bytes>)>,
    correlation: i32,
}

impl Carrier {
    /// Asks what the broker can do, and says who we are.
    async fn greet(&mut self, properties: &Properties) -> Result<Abilities, Greeting> {
        let answer = self.asked(&messages::api_versions()).await?;
        let abilities = messages::abilities(&answer).map_err(Greeting::Refused)?;
        if let Some(login) = &properties.login {
            self.authenticate(login).await?;
        }
        Ok(abilities)
    }

    async fn authenticate(&mut self, login: &Login) -> Result<(), Greeting> {
        let answer = self.asked(&messages::sasl_handshake(login.mechanism.name())).await?;
        messages::handshaken(&answer).map_err(Greeting::Refused)?;
        let Login { user, password, .. } = login;
        match login.mechanism {
            Mechanism::Plain => {
                self.token(format!("\0{user}\0{password}").as_bytes()).await?;
            }
            Mechanism::ScramSha512 => {
                let exchange = scram::Exchange::new(user, uuid::Uuid::new_v4().simple().to_string());
                let server_first = self.token(exchange.first().as_bytes()).await?;
                let password = password.clone();
                let computed =
                    tokio::task::spawn_blocking(move || exchange.last(&server_first, &password)).await;
                let refused = |reason| Greeting::Refused(format!("SCRAM with the broker fails: {reason}"));
                let computed = computed.map_err(|error| Greeting::Broken(error.to_string()))?;
                let (last, proof) = computed.map_err(refused)?;
                proof.check(&self.token(last.as_bytes()).await?).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// Sends a token of SASL; the answer is the broker's.
    async fn token(&mut self, token: &[u8]) -> Result<String, Greeting> {
        let answer = self.asked(&messages::sasl_authenticate(token)).await?;
        let token = messages::authenticated(&answer).map_err(Greeting::Refused)?;
        Ok(String::from_utf8_lossy(token).into_owned())
    }

    /// A request and its answer while nobody else asks.
    async fn asked(&mut self, request: &Request) -> Result<Bytes, Greeting> {
        let correlation = self.next();
        self.write(&request.frame(correlation)).await.map_err(Greeting::Broken)?;
        loop {
            if let Some((answered, answer)) = self.answer().map_err(Greeting::Broken)? {
                return match answered == correlation {
                    true => Ok(answer),
                    false => Err(Greeting::Broken("it answers something else".to_owned())),
                };
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) => return Err(Greeting::Broken("it closed the connection".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(Greeting::Broken(error.to_string())),
            }
        }
    }

    /// Until nobody holds the link any more, nothing was asked for long, or the connection breaks.
    async fn carry(mut self, mut asks: mpsc::Receiver<Ask>) {
        let reason = loop {
            tokio::select! {
                ask = asks.recv(), if self.unanswered.len() < UNANSWERED => match ask {
                    Some(ask) => if let Err(reason) = self.send(ask, &mut asks).await {
                        break reason;
                    },
                    None => return,
                },
                read = self.stream.read_buf(&mut self.inbox) => match read {
                    Ok(0) if self.unanswered.is_empty() => return,
                    Ok(0) => break "it closed the connection".to_owned(),
                    Ok(_) => if let Err(reason) = self.hear() {
                        break reason;
                    },
                    Err(error) => break error.to_string(),
                },
                () = tokio::time::sleep(IDLE), if self.unanswered.is_empty() => return,
            }
        };
        tracing::warn!(reason, "the connection to a Kafka broker broke off");
    }

    /// Sends a request, and those that wait behind it.
    async fn send(&mut self, first: Ask, asks: &mut mpsc::Receiver<Ask>) -> Result<(), String> {
        let mut next = Some(first);
        while let Some(Ask { request, tell }) = next {
            let correlation = self.next();
            let written = match tell {
                Tell::Answer(tell) => {
                    self.unanswered.push_back((correlation, tell));
                    None
                }
                Tell::Written(tell) => Some(tell),
            };
            self.write(&request.frame(correlation)).await?;
            // One that does not wait any more has failed on its own.
            written.into_iter().for_each(|tell| _ = tell.send(()));
            next = if self.unanswered.len() < UNANSWERED { asks.try_recv().ok() } else { None };
        }
        Ok(())
    }

    fn next(&mut self) -> i32 {
        self.correlation = self.correlation.wrapping_add(1);
        self.correlation
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), String> {
        let written = tokio::time::timeout(WITHIN, async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it reads nothing".to_owned()),
        }
    }

    /// Gives out the answers that have been read. Some brokers also answer what they are told not to: that is passed over.
    fn hear(&mut self) -> Result<(), String> {
        while let Some((answered, answer)) = self.answer()? {
            match self.unanswered.front() {
                Some((correlation, _)) if *correlation == answered => {
                    let waiting = self.unanswered.pop_front();
                    waiting.into_iter().for_each(|(_, tell)| _ = tell.send(answer.clone()));
                }
                _ if self.unanswered.iter().any(|(correlation, _)| *correlation == answered) => {
                    return Err("its answers are not in the order of the requests".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The next answer and what it answers, if it has been read whole.
    fn answer(&mut self) -> Result<Option<(i32, Bytes)>, String> {
        let Some(size) = self.inbox.first_chunk::<4>() else { return Ok(None) };
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
        if !(4..=MAX_ANSWER).contains(&size) {
            return Err(format!("its answer has {size} bytes"));
        }
        if self.inbox.len() - 4 < size {
            return Ok(None);
        }
        self.inbox.advance(4);
        let mut frame = self.inbox.split_to(size).freeze();
        let correlation = frame.get_i32();
        Ok(Some((correlation, frame)))
    }
}
