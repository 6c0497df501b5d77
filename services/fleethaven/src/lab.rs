//! `fleethaven check`: what a device and an operator do, tried on a cluster that runs: a thing, its certificate and policy by the
//! API; a rule; telemetry over mutual TLS; the rule's alert. Everything is deleted again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use fleethaven_daemon::clock;
use fleethaven_mqtt::{
    Connect, ConnectProperties, DecodeLimits, Decoder, Disconnect, Packet, Publish, QoS, ReasonCode,
    Subscribe, Subscription, Version, encode,
};
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use http::Request;
use http_body_util::Full;
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::call;
use crate::cli::{CheckArgs, Place};
use crate::process;

/// How long one step waits for what was changed to be in force everywhere.
const STEP_WITHIN: Duration = Duration::from_secs(30);
/// Pause before a step is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Serialize)]
struct Passed {
    passed: bool,
    thing: String,
    /// Milliseconds from a hot reading's publish to the rule's alert.
    alert_ms: u64,
}

/// Runs all of it. What is wrong is the error.
pub(crate) async fn run(arguments: CheckArgs) -> Result<()> {
    let roots = std::fs::read_to_string(&arguments.ca)
        .with_context(|| format!("cannot read {}", arguments.ca.display()))?;
    let lab = Lab {
        thing: format!("check-{:08x}", uuid::Uuid::new_v4().as_fields().0),
        tls: call::tls(&roots, None)?,
        roots,
        arguments,
    };
    let mut made = Made::default();
    let outcome = lab.all(&mut made).await;
    let cleaned = lab.clean(&made).await;
    let alert = outcome?;
    cleaned.context("everything worked, but not all of it could be deleted again")?;
    let alert_ms = u64::try_from(alert.as_millis()).unwrap_or(u64::MAX);
    process::print_line(&Passed { passed: true, thing: lab.thing, alert_ms })
}

struct Lab {
    arguments: CheckArgs,
    /// The thing's name, and all others'.
    thing: String,
    roots: String,
    tls: Arc<ClientConfig>,
}

/// What has to be deleted again.
#[derive(Default)]
struct Made {
    certificate: Option<(String, String)>,
    policy: bool,
    attached: bool,
    thing: bool,
    rule: bool,
}

impl Lab {
    async fn all(&self, made: &mut Made) -> Result<Duration> {
        let thing = &self.thing;
        let keys = self.api("POST", "/keys-and-certificate", "setAsActive=true", &json!({})).await?;
        let text = |path: &str| {
            keys.pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("no {path} in the answer"))
        };
        let (arn, id) = (text("/certificateArn")?, text("/certificateId")?);
        made.certificate = Some((id, arn.clone()));
        let (certificate, key) = (text("/certificatePem")?, text("/keyPair/PrivateKey")?);
        let policy = policy(&arn, thing).context("a certificate's ARN of an unknown form")?;
        self.api("POST", &format!("/policies/{thing}"), "", &json!({ "policyDocument": policy.to_string() }))
            .await?;
        made.policy = true;
        self.api("PUT", &format!("/target-policies/{thing}"), "", &json!({ "target": arn })).await?;
        made.attached = true;
        self.api("POST", &format!("/things/{thing}"), "", &json!({})).await?;
        made.thing = true;
        let name = thing.replace('-', "_");
        let rule = json!({
            "sql": format!("SELECT * FROM '{thing}/telemetry' WHERE temperature > 30"),
            "awsIotSqlVersion": "2016-03-23",
            "actions": [{ "republish": {
                "roleArn": "arn:aws:iam::123456789012:role/check", "topic": format!("{thing}/alerts"), "qos": 1,
            } }],
        });
        self.api("POST", &format!("/rules/{name}"), "", &rule).await?;
        made.rule = true;
        let tls = call::tls(&self.roots, Some((&certificate, &key)))?;
        // It may take a second until every gateway knows the certificate and its policy.
        let mut device =
            patiently("a device connects", || Device::connect(&self.arguments.mqtt, &tls, thing)).await?;
        device.subscribe(&format!("{thing}/alerts")).await?;
        let alert = self.alert(&mut device).await.context("the rule's alert")?;
        device.send(&Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION))).await?;
        Ok(alert)
    }

    /// Publishes a cold and a hot reading until the hot one comes back; how long that took.
    async fn alert(&self, device: &mut Device) -> Result<Duration> {
        let topic = format!("{}/telemetry", self.thing);
        let end = Instant::now() + STEP_WITHIN;
        let mut number = 0;
        while Instant::now() < end {
            number += 1;
            device.publish(&topic, &json!({ "n": number, "temperature": 20 })).await?;
            let hot = json!({ "n": number, "temperature": 31 });
            let sent = Instant::now();
            device.publish(&topic, &hot).await?;
            // The rule may not be in force on every router and worker yet: then the next reading is for it.
            while let Ok(received) = tokio::time::timeout(2 * PAUSE, device.next_message()).await {
                let received = received?;
                let alert: Value =
                    serde_json::from_slice(&received.payload).context("an alert that is no JSON")?;
                if alert.get("temperature") == Some(&json!(20)) {
                    bail!("a cold reading came back: the rule's WHERE was not applied");
                }
                if alert == hot {
                    return Ok(sent.elapsed());
                }
            }
        }
        bail!("none within {} s: is a rules worker running?", STEP_WITHIN.as_secs())
    }

    /// Deletes what was made, the last first, and goes on when something fails.
    async fn clean(&self, made: &Made) -> Result<()> {
        let (thing, name) = (&self.thing, self.thing.replace('-', "_"));
        let mut failed = Ok(());
        let mut note = |outcome: Result<Value>| {
            if let Err(error) = outcome {
                failed = Err(error);
            }
        };
        if made.rule {
            note(self.api("DELETE", &format!("/rules/{name}"), "", &json!({})).await);
        }
        if made.thing {
            note(self.api("DELETE", &format!("/things/{thing}"), "", &json!({})).await);
        }
        if let Some((id, arn)) = &made.certificate {
            if made.attached {
                note(
                    self.api("POST", &format!("/target-policies/{thing}"), "", &json!({ "target": arn }))
                        .await,
                );
            }
            note(self.api("PUT", &format!("/certificates/{id}"), "newStatus=INACTIVE", &json!({})).await);
            note(self.api("DELETE", &format!("/certificates/{id}"), "", &json!({})).await);
        }
        if made.policy {
            note(self.api("DELETE", &format!("/policies/{thing}"), "", &json!({})).await);
        }
        failed
    }

    /// One request to the `iot` API, signed.
    async fn api(&self, method: &str, path: &str, query: &str, body: &Value) -> Result<Value> {
        let CheckArgs { api, region, access_key_id, secret_access_key, .. } = &self.arguments;
        let body = if matches!(method, "DELETE") { Vec::new() } else { serde_json::to_vec(body)? };
        let authority = format!("{}:{}", call::bracketed(&api.host), api.port);
        let headers = vec![("host", authority.as_bytes()), ("content-type", b"application/json".as_slice())];
        let parts = RequestParts { method, path, query, headers };
        let credentials = Credentials { access_key_id, secret_access_key, session_token: None };
        let target = Target { region, service: "iot", path_encoding: PathEncoding::Twice };
        let signed = sign(&parts, &credentials, &target, PayloadHash::of(&body), clock::now().as_secs());
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = Request::builder().method(method).uri(format!("{path}{mark}{query}"));
        request = request.header("host", &authority).header("content-type", "application/json");
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body))?;
        let failed = || format!("{method} {path} at {authority}");
        let (status, answer) =
            call::call((&api.host, api.port), &self.tls, request).await.with_context(failed)?;
        if !status.is_success() {
            bail!("{}: {status} {}", failed(), String::from_utf8_lossy(&answer));
        }
        // Some answers are empty.
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }
}

/// What the thing may do, in the region and account of its certificate.
fn policy(certificate_arn: &str, thing: &str) -> Option<Value> {
    let at = certificate_arn.split_once(":cert/")?.0;
    let resource = |what: &str| format!("{at}:{what}");
    Some(json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "iot:Connect", "Resource": resource(&format!("client/{thing}")) },
        { "Effect": "Allow", "Action": "iot:Publish", "Resource": resource(&format!("topic/{thing}/telemetry")) },
        { "Effect": "Allow", "Action": "iot:Subscribe", "Resource": resource(&format!("topicfilter/{thing}/alerts")) },
        { "Effect": "Allow", "Action": "iot:Receive", "Resource": resource(&format!("topic/{thing}/alerts")) },
    ] }))
}

/// Tries until it works.
async fn patiently<T, F: Future<Output = Result<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let end = Instant::now() + STEP_WITHIN;
    loop {
        match attempt().await {
            Err(_) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            outcome => return outcome.with_context(|| what.to_owned()),
        }
    }
}

/// A device's MQTT 5 connection.
struct Device {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    buffer: BytesMut,
    /// Messages that came while something else was waited for.
    messages: Vec<Publish>,
}

impl Device {
    async fn connect(at: &Place, tls: &Arc<ClientConfig>, client_id: &str) -> Result<Self> {
        let stream = call::connect(&at.host, at.port, tls).await?;
        let decoder = Decoder::client(Version::V5, DecodeLimits::default());
        let mut device = Self { stream, decoder, buffer: BytesMut::new(), messages: Vec::new() };
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 60,
            client_id: client_id.into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        device.send(&Packet::Connect(Box::new(connect))).await?;
        match device.receive().await? {
            Packet::Connack(connack) if connack.reason == ReasonCode::Success => Ok(device),
            Packet::Connack(connack) => bail!("CONNACK {:?}", connack.reason),
            other => bail!("instead of CONNACK came {other:?}"),
        }
    }

    async fn send(&mut self, packet: &Packet) -> Result<()> {
        let mut bytes = BytesMut::new();
        encode(packet, Version::V5, &mut bytes)?;
        Ok(self.stream.write_all(&bytes).await?)
    }

    /// The next packet.
    async fn receive(&mut self) -> Result<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer)? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the gateway closed the connection");
            }
        }
    }

    /// Waits for an answer; messages that come before it are kept.
    async fn answer(&mut self, what: &str, is_it: impl Fn(&Packet) -> Option<ReasonCode>) -> Result<()> {
        let waiting = async {
            loop {
                match self.receive().await? {
                    Packet::Publish(message) => self.messages.push(message),
                    packet => match is_it(&packet) {
                        Some(reason) if reason.is_error() => bail!("{what}: {reason:?}"),
                        Some(_) => return Ok(()),
                        None => bail!("instead of {what} came {packet:?}"),
                    },
                }
            }
        };
        tokio::time::timeout(STEP_WITHIN, waiting).await.with_context(|| format!("no {what} in time"))?
    }

    async fn subscribe(&mut self, filter: &str) -> Result<()> {
        let filters = vec![Subscription::new(filter, QoS::AtLeastOnce)];
        let packet_id = std::num::NonZeroU16::MIN;
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_id: None,
            user_properties: Vec::new(),
            filters,
        }))
        .await?;
        self.answer("SUBACK", |packet| match packet {
            Packet::Suback(suback) => suback.reason_codes.first().copied(),
            _ => None,
        })
        .await
    }

    async fn publish(&mut self, topic: &str, payload: &Value) -> Result<()> {
        let packet_id = Some(std::num::NonZeroU16::MIN);
        let message = Publish::new(topic, payload.to_string());
        self.send(&Packet::Publish(Publish { qos: QoS::AtLeastOnce, packet_id, ..message })).await?;
        self.answer("PUBACK", |packet| match packet {
            Packet::Puback(ack) => Some(ack.reason),
            _ => None,
        })
        .await
    }

    /// The next message, acknowledged.
    async fn next_message(&mut self) -> Result<Publish> {
        let message = match self.messages.is_empty() {
            false => self.messages.remove(0),
            true => match self.receive().await? {
                Packet::Publish(message) => message,
                packet => bail!("instead of a message came {packet:?}"),
            },
        };
        if let Some(id) = message.packet_id {
            self.send(&Packet::Puback(fleethaven_mqtt::Ack::new(id, ReasonCode::Success))).await?;
        }
        Ok(message)
    }
}
