//! Against a server of this process.

use std::net::SocketAddr;

use fleethaven_fabric::Source;
use fleethaven_registry::shapes::{FunctionCredentials, FunctionKind, FunctionTarget, Secret};
use fleethaven_types::{AccountId, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::client::OutboundSettings;

const ARN: &str = "arn:aws:lambda:eu-west-1:210987654321:function:hook";
const SECRET: &str = "a secret of a webhook";

/// A server that gives each request the next of its answers, the last again and again.
struct Server {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Seen>,
}

/// A request: its first line, its headers in lower case, its body.
struct Seen {
    line: String,
    head: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Server {
    async fn start(answers: &[(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let answers = answers.to_vec();
        tokio::spawn(async move {
            for number in 0.. {
                let (head, body) = answers[usize::min(number, answers.len() - 1)];
                let (mut stream, _) = listener.accept().await.unwrap();
                seen.send(read(&mut stream).await).unwrap();
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, requests }
    }

    fn webhook(&self) -> FunctionTarget {
        let signing_secret = Some(Secret(SECRET.to_owned()));
        FunctionTarget {
            url: format!("http://{}/f", self.address),
            kind: FunctionKind::Webhook { signing_secret },
        }
    }

    /// How many requests there were beyond those that were looked at.
    fn more(&mut self) -> usize {
        std::iter::from_fn(|| self.requests.try_recv().ok()).count()
    }
}

async fn read(stream: &mut TcpStream) -> Seen {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let (line, head) = head.split_once("\r\n").unwrap();
        let seen = Seen { line: line.to_owned(), head: head.replace("\r\n", "\n"), body: body.to_owned() };
        let length: usize = seen.header("content-length").unwrap().parse().unwrap();
        if body.len() == length {
            return seen;
        }
    }
}

fn account() -> AccountId {
    "123456789012".parse().unwrap()
}

fn functions(target: FunctionTarget) -> MappedFunctions {
    let settings = OutboundSettings { allow: vec!["127.0.0.0/8".parse().unwrap()], authorities: Vec::new() };
    let catalogue = Catalogue::new([(account(), ARN.to_owned(), target)]);
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let clock = || Timestamp(1_700_000_000_000);
    MappedFunctions::new(HttpClient::new(&settings).unwrap(), Arc::new(catalogue), clock, metrics)
}

fn call(payload: &str) -> Invocation {
    Invocation {
        scope: Scope { account: account(), region: "eu-west-1".parse().unwrap() },
        function_arn: ARN.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        source: Source::Authorizer,
        source_arn: "arn:aws:iot:eu-west-1:123456789012:authorizer/a".to_owned(),
        trace_id: Some("t-1".to_owned()),
        below: None,
        deadline: Duration::from_secs(30),
    }
}

#[tokio::test]
async fn a_webhook_is_told_who_calls_and_can_prove_it() {
    let mut server = Server::start(&[("200 OK", r#"{"ok":true}"#)]).await;
    let functions = functions(server.webhook());
    assert_eq!(functions.invoke(call(r#"{"a":1}"#)).await.unwrap(), r#"{"ok":true}"#);
    let seen = server.requests.recv().await.unwrap();
    assert_eq!((seen.line.as_str(), seen.body.as_str()), ("POST /f HTTP/1.1", r#"{"a":1}"#));
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-fleethaven-account", "123456789012"),
        ("x-fleethaven-function-arn", ARN),
        ("x-fleethaven-invocation-type", "RequestResponse"),
        ("x-fleethaven-source", "authorizer"),
        ("x-fleethaven-source-arn", "arn:aws:iot:eu-west-1:123456789012:authorizer/a"),
        ("x-fleethaven-timestamp", "1700000000"),
        ("x-trace-id", "t-1"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of a webhook'
    let expected = "v1=64d23c6241f1e107d7bde3b83dfd73c90e328a7d88b292299822ac99fe4490c7";
    assert_eq!(seen.header("x-fleethaven-signature"), Some(expected));

    functions.send(call("{}")).await.unwrap();
    let seen = server.requests.recv().await.unwrap();
    assert_eq!(seen.header("x-fleethaven-invocation-type"), Some("Event"));
}

#[tokio::test]
async fn lambda_is_invoked_as_aws_is() {
    let mut server = Server::start(&[
        ("200 OK", r#"{"ok":true}"#),
        ("200 OK\r\nx-amz-function-error: Unhandled", r#"{"errorMessage":"no"}"#),
        ("202 Accepted", ""),
    ])
    .await;
    let credentials = Some(FunctionCredentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret("hush".to_owned()),
    });
    let url = format!("http://{}/", server.address);
    let functions = functions(FunctionTarget { url, kind: FunctionKind::Lambda { credentials } });
    assert_eq!(functions.invoke(call("{}")).await.unwrap(), r#"{"ok":true}"#);
    let failed = functions.invoke(call("{}")).await.unwrap_err();
    assert_eq!(failed, FunctionError::Failed(r#"{"errorMessage":"no"}"#.to_owned()));
    functions.send(call("{}")).await.unwrap();
    let seen = server.requests.recv().await.unwrap();
    let path =
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A210987654321%3Afunction%3Ahook/invocations";
    assert_eq!(seen.line, format!("POST {path} HTTP/1.1"));
    assert_eq!(seen.header("x-amz-invocation-type"), Some("RequestResponse"));
    let signed =
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/eu-west-1/lambda/aws4_request, SignedHeaders=";
    assert!(seen.header("authorization").unwrap().starts_with(signed), "{}", seen.head);
}

#[tokio::test]
async fn what_fails_for_a_moment_is_tried_again() {
    let mut server =
        Server::start(&[("503 Service Unavailable", ""), ("429 Too Many Requests", ""), ("200 OK", "1")])
            .await;
    assert_eq!(functions(server.webhook()).invoke(call("{}")).await.unwrap(), "1");
    assert_eq!(server.more(), 3);

    let mut server = Server::start(&[("503 Service Unavailable", "")]).await;
    let failed = functions(server.webhook()).invoke(call("{}")).await.unwrap_err();
    assert!(matches!(failed, FunctionError::Unavailable(_)), "{failed}");
    assert_eq!(server.more(), 3);
}

#[tokio::test]
async fn what_the_function_says_is_final() {
    for (status, body) in [("403 Forbidden", "go away"), ("500 Internal Server Error", "oh")] {
        let mut server = Server::start(&[(status, body)]).await;
        let failed = functions(server.webhook()).invoke(call("{}")).await.unwrap_err();
        assert_eq!(failed, FunctionError::Failed(format!("it answered {status}: {body}")));
        assert_eq!(server.more(), 1);
    }
}

#[tokio::test]
async fn a_function_that_keeps_failing_is_left_alone() {
    let mut server = Server::start(&[("503 Service Unavailable", "")]).await;
    let functions = MappedFunctions { cool_down: Duration::from_secs(3600), ..functions(server.webhook()) };
    for _ in 0..4 {
        functions.invoke(call("{}")).await.unwrap_err();
    }
    assert_eq!(server.more(), crate::breaker::THRESHOLD as usize);
}

#[tokio::test]
async fn nothing_is_called_for_an_arn_of_nobody_or_a_large_event() {
    let mut server = Server::start(&[("200 OK", "1")]).await;
    let functions = functions(server.webhook());
    let other = format!("{ARN}s");
    let unmapped = functions.invoke(Invocation { function_arn: other.clone(), ..call("{}") }).await;
    assert_eq!(unmapped.unwrap_err(), FunctionError::Unmapped(other));
    let large = functions.invoke(call(&"x".repeat(MAX_EVENT + 1))).await.unwrap_err();
    assert!(matches!(large, FunctionError::Invalid(_)), "{large}");
    assert_eq!(server.more(), 0);
}

#[tokio::test]
async fn a_silent_function_costs_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let kind = FunctionKind::Webhook { signing_secret: None };
    let deadline = Duration::from_millis(50);
    let late = functions(FunctionTarget { url, kind }).invoke(Invocation { deadline, ..call("{}") }).await;
    assert_eq!(late.unwrap_err(), FunctionError::TimedOut);
}
