//! Against sockets of this process.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LIMITS: Limits = Limits { deadline: Duration::from_secs(20), max_response: 1024 };

fn client(allow: &[&str]) -> HttpClient {
    let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
    HttpClient::new(&OutboundSettings { allow, authorities: Vec::new() }).unwrap()
}

/// Answers each connection's first request with `answer` and closes it.
async fn serve(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn get(client: &HttpClient, url: &str, limits: Limits) -> Result<Response<Bytes>, OutboundError> {
    client.send(Request::get(url).body(Bytes::new()).unwrap(), limits).await
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_address_of_this_machine_must_be_named() {
    let url = format!("http://{}/", serve(answer("hello")).await);
    let refused = get(&client(&[]), &url, LIMITS).await.unwrap_err();
    assert!(matches!(&refused, OutboundError::Refused(reason) if reason.contains("loopback")), "{refused}");
    let answered = get(&client(&["127.0.0.0/8"]), &url, LIMITS).await.unwrap();
    assert_eq!(answered.body(), "hello");
    let by_name = url.replace("127.0.0.1", "localhost");
    let refused = get(&client(&[]), &by_name, LIMITS).await.unwrap_err();
    assert!(matches!(refused, OutboundError::Refused(_)), "whatever it is called");
}

#[tokio::test]
async fn what_is_not_named_is_called_with_tls_only() {
    let refused = get(&client(&[]), "http://192.0.9.1/", LIMITS).await.unwrap_err();
    assert!(matches!(&refused, OutboundError::Refused(reason) if reason.contains("use https")), "{refused}");
}

#[tokio::test]
async fn redirects_are_answers() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let url = format!("http://{}/", serve(moved.to_owned()).await);
    assert_eq!(get(&client(&["127.0.0.0/8"]), &url, LIMITS).await.unwrap().status(), 302);
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let client = client(&["127.0.0.0/8"]);
    let url = format!("http://{}/", serve(answer(&"x".repeat(1025))).await);
    assert_eq!(get(&client, &url, LIMITS).await.unwrap_err(), OutboundError::TooLarge);
    let url = format!("http://{}/", serve(answer(&"x".repeat(1024))).await);
    assert_eq!(get(&client, &url, LIMITS).await.unwrap().body().len(), 1024);
}

#[tokio::test]
async fn silence_and_closed_ports_are_told_apart() {
    let client = client(&["127.0.0.0/8"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/", listener.local_addr().unwrap());
    let short = Limits { deadline: Duration::from_millis(50), ..LIMITS };
    assert_eq!(get(&client, &silent, short).await.unwrap_err(), OutboundError::TimedOut);
    drop(listener);
    let closed = get(&client, &silent, LIMITS).await.unwrap_err();
    assert!(matches!(closed, OutboundError::Unreachable(_)), "{closed}");
    assert!(closed.is_transient());
    let broken = format!("http://{}/", serve(String::new()).await);
    let broken = get(&client, &broken, LIMITS).await.unwrap_err();
    assert!(matches!(broken, OutboundError::Broken(_)), "{broken}");
}

#[test]
fn files_without_certificates_are_refused() {
    let settings = OutboundSettings { allow: Vec::new(), authorities: vec!["/nowhere/ca.pem".into()] };
    assert!(HttpClient::new(&settings).err().unwrap().contains("/nowhere/ca.pem"));
}
