//! Over real loopback sockets, as an orchestrator would ask.

use std::net::SocketAddr;

use prometheus::IntCounter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Served {
    admin: Admin,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn served(registry: Registry) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, admin) = (listener.local_addr().unwrap(), Admin::new(registry));
    let (stop, stopped) = oneshot::channel();
    let serving = admin.clone().serve(listener, async { _ = stopped.await });
    Served { admin, address, stop, server: tokio::spawn(serving) }
}

impl Served {
    /// Sends `request` as it is and reads until the server closes.
    async fn send(&self, request: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A reset after the answer is as good as a close.
            _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        };
        time::timeout(Duration::from_secs(20), exchange).await.unwrap()
    }

    /// Status and body of a GET.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (status(head), body.to_owned())
    }
}

fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap()
}

#[tokio::test]
async fn health_follows_what_the_service_says() {
    let served = served(Registry::new()).await;
    assert_eq!(served.get("/startupz").await, (503, "starting\n".to_owned()));
    served.admin.started();
    assert_eq!(served.get("/startupz").await, (200, "ok\n".to_owned()));

    let (listeners, store) = (served.admin.readiness("listeners"), served.admin.readiness("store"));
    assert_eq!(served.get("/readyz").await, (503, "listeners\nstore\n".to_owned()));
    listeners.set(true);
    store.set(true);
    assert_eq!(served.get("/readyz?verbose").await, (200, "ok\n".to_owned()));

    let _beat = served.admin.heartbeat("core-0");
    assert_eq!(served.get("/livez").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn metrics_come_in_prometheus_text_format() {
    let registry = Registry::new();
    let messages = IntCounter::new("messages_total", "Messages taken.").unwrap();
    registry.register(Box::new(messages.clone())).unwrap();
    messages.inc_by(7);
    let served = served(registry).await;
    let (status, body) = served.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE messages_total counter\nmessages_total 7\n"), "{body}");
}

#[tokio::test]
async fn only_get_and_head_of_known_paths() {
    let served = served(Registry::new()).await;
    assert_eq!(served.get("/").await.0, 404);
    let head = served.send("HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&head), 200);
    assert!(head.contains("content-length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let post = served.send("POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&post), 405);
    assert!(post.contains("allow: GET, HEAD\r\n"), "{post}");
}

#[tokio::test]
async fn operators_of_this_user_are_answered_and_web_pages_are_not() {
    let served = served(Registry::new()).await;
    let post = |kind: &str, host: &str| {
        format!(
            "POST /operator HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: 2\r\n\r\n{{}}"
        )
    };
    let json = "application/json";
    assert_eq!(status(&served.send(&post(json, "127.0.0.1:1")).await), 405, "nothing to operate here");
    served.admin.operate(Arc::new(|body| {
        Box::pin(async move { String::from_utf8(body.to_vec()).map_err(|e| e.to_string()) })
    }));
    let answer = served.send(&post(json, "127.0.0.1:1")).await;
    assert!(status(&answer) == 200 && answer.ends_with("\r\n\r\n{}"), "{answer}");
    assert_eq!(status(&served.send(&post("text/plain", "127.0.0.1:1")).await), 403);
    assert_eq!(status(&served.send(&post(json, "rebound.example.com")).await), 403);
    assert_eq!(served.get("/operator").await.0, 404);
    let long = "x".repeat(66_000);
    let head = "POST /operator HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let long = format!("{head}content-length: {}\r\n\r\n{long}", long.len());
    assert_eq!(status(&served.send(&long).await), 413);
}

#[tokio::test]
async fn heads_are_bounded() {
    let served = served(Registry::new()).await;
    let long = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(2 * MAX_HEAD));
    assert_eq!(status(&served.send(&long).await), 431);
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
    assert_eq!(status(&served.send(&many).await), 431);
}

/// Real time, because only a real socket shows it; paused time would run ahead of the connect.
#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let served = served(Registry::new()).await;
    let before = time::Instant::now();
    let answer = served.send("GET /livez HTTP/1.1\r\nx: ").await;
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    assert!(before.elapsed() < CONNECTION_TIMEOUT);
}

#[tokio::test]
async fn shutdown_closes_the_listener() {
    let served = served(Registry::new()).await;
    served.stop.send(()).unwrap();
    time::timeout(Duration::from_secs(20), served.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
