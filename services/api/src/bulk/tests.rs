//! Tasks over the registry in memory, with files in memory.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_fabric::metadata::{BoxFuture, Metadata};
use fleethaven_registry::shapes::{BeginRegistrationUpload, PutRegistrationInput};
use fleethaven_registry::thing_registration_tasks::UPLOAD_PIECE;
use fleethaven_registry::{Action, Command};
use serde_json::{Value, json};

use super::{BucketError, Buckets, InputFile};
use crate::testing::{House, scope};

/// One file for all tasks; the first reads do not succeed.
struct Memory {
    text: String,
    failures: AtomicUsize,
}

impl Buckets for Memory {
    fn look<'a>(&'a self, file: &'a InputFile) -> BoxFuture<'a, Result<(u64, String), BucketError>> {
        Box::pin(async move {
            match file.bucket.as_str() {
                "none" => Err(BucketError { reason: "NoSuchBucket".to_owned(), transient: false }),
                _ => Ok((self.text.len() as u64, "v".to_owned())),
            }
        })
    }

    fn read<'a>(
        &'a self,
        _: &'a InputFile,
        _: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, BucketError>> {
        Box::pin(async move {
            let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            match left {
                Ok(_) => Err(BucketError { reason: "SlowDown".to_owned(), transient: true }),
                Err(_) => {
                    let range = range.start as usize..range.end as usize;
                    Ok(Bytes::copy_from_slice(&self.text.as_bytes()[range]))
                }
            }
        })
    }
}

fn template() -> String {
    let thing = json!({"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "Name"}}});
    let resources = json!({"thing": thing});
    json!({"Parameters": {"Name": {"Type": "String"}}, "Resources": resources}).to_string()
}

async fn start(house: &House, bucket: &str) -> String {
    let body = json!({
        "templateBody": template(),
        "inputFileBucket": bucket,
        "inputFileKey": "file.json",
        "roleArn": "arn:aws:iam::123456789012:role/read",
    });
    let started = house.call("POST", "/thing-registration-tasks", &body.to_string()).await.ok();
    started["taskId"].as_str().unwrap().to_owned()
}

/// The task once it has ended.
async fn ended(house: &House, id: &str) -> Value {
    loop {
        let told = house.call("GET", &format!("/thing-registration-tasks/{id}"), "").await.ok();
        if told["status"] != "InProgress" {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_worked_off() {
    let house = House::new();
    let mut text: Vec<String> = (0..100).map(|n| json!({"Name": format!("t{n}")}).to_string()).collect();
    text.insert(50, "{\"Name\": 7}".to_owned());
    text.push(String::new());
    let memory = Arc::new(Memory { text: text.join("\n"), failures: AtomicUsize::new(2) });
    let id = start(&house, "bucket").await;
    let working = tokio::spawn(house.api.clone().work_on_tasks(memory));
    let told = ended(&house, &id).await;
    assert_eq!(told["status"], "Completed", "{told}");
    assert_eq!((&told["successCount"], &told["failureCount"]), (&json!(100), &json!(1)));
    assert_eq!(told["percentageProgress"], 100);
    house.call("GET", "/things/t99", "").await.ok();
    let path = format!("/thing-registration-tasks/{id}/reports?reportType=ERRORS");
    let reports = house.call("GET", &path, "").await.ok();
    assert_eq!(reports["reportType"], "ERRORS");
    let link = reports["resourceLinks"][0].as_str().unwrap();
    assert!(link.contains("/thing-registration-reports/") && link.contains("/ERRORS/0?expires="), "{link}");
    working.abort();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_there_fails_its_task() {
    let house = House::new();
    let memory = Arc::new(Memory { text: String::new(), failures: AtomicUsize::new(0) });
    let working = tokio::spawn(house.api.clone().work_on_tasks(memory));
    let id = start(&house, "none").await;
    let told = ended(&house, &id).await;
    assert_eq!((&told["status"], &told["message"]), (&json!("Failed"), &json!("NoSuchBucket")));
    // An empty one is done at once.
    let id = start(&house, "bucket").await;
    let told = ended(&house, &id).await;
    assert_eq!((&told["status"], &told["percentageProgress"]), (&json!("Completed"), &json!(100)));
    working.abort();
}

async fn run(house: &House, action: Action) {
    house.metadata.execute(Command::new(scope("us-east-1"), action)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_worked_off_across_its_pieces() {
    let house = House::new();
    let blank = " ".repeat(1000);
    let lines = (0..100).map(|n| format!("{{\"Name\": \"t{n}\"{blank}}}"));
    let text = lines.collect::<Vec<_>>().join("\n");
    assert!(text.len() > 3 * UPLOAD_PIECE);
    let begin = BeginRegistrationUpload { task_id: "up".to_owned(), template_body: template() };
    run(&house, Action::BeginRegistrationUpload(Box::new(begin))).await;
    for (piece, data) in (0..).zip(text.as_bytes().chunks(UPLOAD_PIECE)) {
        let put = PutRegistrationInput { task_id: "up".to_owned(), piece, data: STANDARD.encode(data) };
        run(&house, Action::PutRegistrationInput(Box::new(put))).await;
    }
    run(&house, Action::StartUploadedRegistration("up".to_owned())).await;
    let memory = Arc::new(Memory { text: String::new(), failures: AtomicUsize::new(0) });
    let working = tokio::spawn(house.api.clone().work_on_tasks(memory));
    let told = ended(&house, "up").await;
    assert_eq!((&told["status"], &told["successCount"]), (&json!("Completed"), &json!(100)), "{told}");
    assert!(told.get("inputFileBucket").is_none() && told.get("roleArn").is_none(), "{told}");
    house.call("GET", "/things/t99", "").await.ok();
    working.abort();
}
