//! provisioning.md section 7.5.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_types::Timestamp;
use serde_json::{Value, json};

use super::{CLAIMED_MILLIS, STEP_LINES, UPLOAD_PIECE, UPLOAD_PIECES};
use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::template::{Purpose, Template};
use crate::testing::Registry;
use crate::{View, keys};

const BODY: &str = r#"{"Parameters": {"Name": {"Type": "String"}},
    "Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "Name"}}}}}"#;
const SIZE: u64 = 1000;

fn started_with() -> StartThingRegistrationTask {
    StartThingRegistrationTask {
        template_body: BODY.to_owned(),
        input_file_bucket: "bucket".to_owned(),
        input_file_key: "a/file.json".to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/read".to_owned(),
    }
}

fn start(registry: &mut Registry) -> String {
    match registry.run(Action::StartThingRegistrationTask(Box::new(started_with()))).unwrap() {
        Reply::RegistrationTask(id) => id,
        other => panic!("{other:?}"),
    }
}

fn claim(registry: &mut Registry, id: &str, owner: &str) -> Option<RegistrationWork> {
    let claim = ClaimRegistrationTask { task_id: id.to_owned(), owner: owner.to_owned() };
    work(registry.run(Action::ClaimRegistrationTask(Box::new(claim))).unwrap())
}

fn work(reply: Reply) -> Option<RegistrationWork> {
    match reply {
        Reply::RegistrationWork(work) => work.map(|work| *work),
        other => panic!("{other:?}"),
    }
}

/// A step of lines that make these things; of an empty name, one that is refused.
fn step(id: &str, owner: &str, (from, to): (u64, u64), things: &[&str]) -> Action {
    let template = Template::parse(BODY, Purpose::Registration).unwrap();
    let wanted = |name: &&str| match *name {
        "" => super::malformed("no good"),
        name => {
            let parameters = BTreeMap::from([("Name".to_owned(), name.to_owned())]);
            let plan = template.resolve(&parameters, &BTreeMap::new()).unwrap();
            WantedLine::Provision(Box::new(Provision { plan, certificate: None }))
        }
    };
    Action::AdvanceRegistrationTask(Box::new(AdvanceRegistrationTask {
        task_id: id.to_owned(),
        owner: owner.to_owned(),
        input: (SIZE, "tag".to_owned()),
        from,
        to,
        lines: things.iter().map(|name| RegistrationLine { offset: from, wanted: wanted(name) }).collect(),
    }))
}

fn describe(registry: &Registry, id: &str) -> RegistrationTaskDescription {
    match registry.ask(QueryKind::DescribeThingRegistrationTask(id.to_owned())).unwrap() {
        QueryReply::RegistrationTask(task) => *task,
        other => panic!("{other:?}"),
    }
}

fn links(registry: &Registry, id: &str, report_type: ReportType) -> Vec<ReportLink> {
    let page = PageRequest::default();
    let query = QueryKind::ListThingRegistrationTaskReports { task_id: id.to_owned(), report_type, page };
    match registry.ask(query).unwrap() {
        QueryReply::RegistrationReports(page) => page.items,
        other => panic!("{other:?}"),
    }
}

fn follow(registry: &Registry, link: &ReportLink) -> Option<Vec<Value>> {
    match registry.ask(QueryKind::RegistrationReport(Box::new(link.clone()))).unwrap() {
        QueryReply::RegistrationReport(text) => {
            text.map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn due(registry: &Registry) -> Vec<DueRegistrationTask> {
    match registry.ask(QueryKind::DueRegistrationTasks).unwrap() {
        QueryReply::DueRegistrationTasks(due) => due,
        other => panic!("{other:?}"),
    }
}

fn exists(registry: &Registry, thing: &str) -> bool {
    registry.view.get(&keys::thing(registry.scope, thing)).is_some()
}

#[test]
fn the_life_of_a_task() {
    let mut registry = registry();
    let id = start(&mut registry);
    let again = registry.run(Action::StartThingRegistrationTask(Box::new(started_with())));
    assert_eq!(refusal(again), (InvalidRequestException, 400), "one at a time");
    assert_eq!(
        due(&registry),
        [DueRegistrationTask { scope: registry.scope, task_id: id.clone(), expired: false }]
    );
    let taken = claim(&mut registry, &id, "one").unwrap();
    assert_eq!((taken.input, taken.offset, taken.started_with), (None, 0, started_with()));
    let advanced = registry.run(step(&id, "one", (0, 400), &["a", "", "b"])).unwrap();
    assert_eq!(work(advanced).unwrap().offset, 400);
    let told = describe(&registry, &id);
    assert_eq!((told.success_count, told.failure_count, told.percentage_progress), (2, 1, 40));
    assert_eq!(told.status, RegistrationTaskStatus::InProgress);
    assert!(exists(&registry, "a") && exists(&registry, "b"));
    assert_eq!(work(registry.run(step(&id, "one", (400, SIZE), &["c"])).unwrap()), None);
    let told = describe(&registry, &id);
    assert_eq!((told.status, told.percentage_progress), (RegistrationTaskStatus::Completed, 100));
    let [results] = &links(&registry, &id, ReportType::Results)[..] else { panic!("one piece") };
    let numbers: Vec<_> =
        follow(&registry, results).unwrap().iter().map(|line| line["lineNumber"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(3), Some(4)]);
    let [errors] = &links(&registry, &id, ReportType::Errors)[..] else { panic!("one piece") };
    let error = json!({"errorCode": "InvalidRequestException", "errorMessage": "no good"});
    assert_eq!(
        follow(&registry, errors).unwrap(),
        [json!({"lineNumber": 2, "offset": 0, "response": error})]
    );
    for change in [
        ReportLink { report_type: ReportType::Errors, ..results.clone() },
        ReportLink { expires: results.expires + 1, ..results.clone() },
        ReportLink { signature: "00".repeat(32), ..results.clone() },
        ReportLink { signature: String::new(), ..results.clone() },
    ] {
        assert_eq!(follow(&registry, &change), None);
    }
    registry.wait(3601);
    assert_eq!(follow(&registry, results), None, "it is over");
    // What has ended makes room, and is forgotten in time.
    let other = start(&mut registry);
    assert_ne!(other, id);
    registry.wait(31 * 24 * 3600);
    assert!(due(&registry).iter().any(|task| task.task_id == id && task.expired));
    registry.run(Action::ForgetRegistrationTask(id.clone())).unwrap();
    let gone = registry.ask(QueryKind::DescribeThingRegistrationTask(id.clone()));
    assert_eq!(refusal(gone), (ResourceNotFoundException, 404));
    assert!(due(&registry).iter().all(|task| task.task_id != id));
    assert!(registry.view.scan(&keys::registration_reports(registry.scope, &id), None, 10).is_empty());
    // One that takes for ever fails.
    assert_eq!(claim(&mut registry, &other, "one"), None);
    assert_eq!(describe(&registry, &other).status, RegistrationTaskStatus::Failed);
}

#[test]
fn no_line_is_done_twice() {
    let mut registry = registry();
    let id = start(&mut registry);
    claim(&mut registry, &id, "one").unwrap();
    let first = step(&id, "one", (0, 400), &["a"]);
    work(registry.run(first.clone()).unwrap()).unwrap();
    // The same step once more, as if its answer had been lost.
    assert_eq!(work(registry.run(first).unwrap()).unwrap().offset, 400);
    assert_eq!(describe(&registry, &id).success_count, 1);
    // Another may not, as long as the first one is heard of.
    assert_eq!(claim(&mut registry, &id, "other"), None);
    assert_eq!(work(registry.run(step(&id, "other", (400, 500), &["b"])).unwrap()), None);
    assert!(!exists(&registry, "b"));
    registry.wait(CLAIMED_MILLIS / 1000);
    let taken = claim(&mut registry, &id, "other").unwrap();
    assert_eq!((taken.input, taken.offset), (Some((SIZE, "tag".to_owned())), 400));
    // The first one comes back from the dead.
    assert_eq!(work(registry.run(step(&id, "one", (400, 500), &["b"])).unwrap()), None);
    assert!(!exists(&registry, "b"));
    assert_eq!(work(registry.run(step(&id, "other", (400, 500), &["b"])).unwrap()).unwrap().offset, 500);
    assert!(exists(&registry, "b"));
}

#[test]
fn a_line_fails_alone() {
    let mut registry = registry();
    registry.run(create_thing("b", None, &[("k", "v")])).unwrap();
    let id = start(&mut registry);
    claim(&mut registry, &id, "one").unwrap();
    let names: Vec<String> = (0..STEP_LINES).map(|n| format!("t{n}")).collect();
    let mut things: Vec<&str> = names.iter().map(String::as_str).collect();
    things[3] = "not a name";
    registry.run(step(&id, "one", (0, 900), &things)).unwrap();
    let told = describe(&registry, &id);
    assert_eq!((told.success_count, told.failure_count), (STEP_LINES as u64 - 1, 1));
    assert!(exists(&registry, "t2") && exists(&registry, "t4"));
}

#[test]
fn stopping_and_failing() {
    let mut registry = registry();
    let id = start(&mut registry);
    claim(&mut registry, &id, "one").unwrap();
    let stop = |id: &str| Action::StopThingRegistrationTask(id.to_owned());
    registry.run(stop(&id)).unwrap();
    assert_eq!(describe(&registry, &id).status, RegistrationTaskStatus::Cancelling);
    assert_eq!(work(registry.run(step(&id, "one", (0, 400), &["a"])).unwrap()), None);
    assert!(!exists(&registry, "a"));
    assert_eq!(describe(&registry, &id).status, RegistrationTaskStatus::Cancelled);
    assert_eq!(refusal(registry.run(stop(&id))), (InvalidRequestException, 400));
    assert_eq!(refusal(registry.run(stop("none"))), (ResourceNotFoundException, 404));
    let id = start(&mut registry);
    claim(&mut registry, &id, "one").unwrap();
    let fail = |owner: &str| FailRegistrationTask {
        task_id: id.clone(),
        owner: owner.to_owned(),
        message: "why".to_owned(),
    };
    registry.run(Action::FailRegistrationTask(Box::new(fail("other")))).unwrap();
    assert_eq!(describe(&registry, &id).status, RegistrationTaskStatus::InProgress);
    registry.run(Action::FailRegistrationTask(Box::new(fail("one")))).unwrap();
    let told = describe(&registry, &id);
    assert_eq!((told.status, told.message.as_deref()), (RegistrationTaskStatus::Failed, Some("why")));
}

#[test]
fn what_is_no_task() {
    let mut registry = registry();
    let change: [fn(&mut StartThingRegistrationTask); 4] = [
        |args| args.template_body = "{}".to_owned(),
        |args| args.input_file_bucket = "a".to_owned(),
        |args| args.input_file_key = "a b".to_owned(),
        |args| args.input_file_key = String::new(),
    ];
    for change in change {
        let mut args = started_with();
        change(&mut args);
        let refused = registry.run(Action::StartThingRegistrationTask(Box::new(args)));
        assert_eq!(refusal(refused), (InvalidRequestException, 400));
    }
    let ids = |registry: &Registry, status| {
        let page = PageRequest::default();
        match registry.ask(QueryKind::ListThingRegistrationTasks { status, page }).unwrap() {
            QueryReply::Names(page) => page.items,
            other => panic!("{other:?}"),
        }
    };
    let id = start(&mut registry);
    let all = ids(&registry, None);
    assert_eq!(all, [id]);
    assert_eq!(ids(&registry, Some(RegistrationTaskStatus::InProgress)), all);
    assert!(ids(&registry, Some(RegistrationTaskStatus::Failed)).is_empty());
    assert!(due(&registry).iter().all(|task| !task.expired));
}

fn begin(id: &str) -> Action {
    let (task_id, template_body) = (id.to_owned(), BODY.to_owned());
    Action::BeginRegistrationUpload(Box::new(BeginRegistrationUpload { task_id, template_body }))
}

fn piece(id: &str, piece: u64, bytes: &[u8]) -> Action {
    let data = STANDARD.encode(bytes);
    Action::PutRegistrationInput(Box::new(PutRegistrationInput { task_id: id.to_owned(), piece, data }))
}

fn input(registry: &Registry, id: &str, piece: u64) -> Option<Vec<u8>> {
    let query = QueryKind::RegistrationInput { task_id: id.to_owned(), piece };
    match registry.ask(query).unwrap() {
        QueryReply::RegistrationInput(data) => data.map(|data| STANDARD.decode(data).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upload_becomes_a_task_and_goes_with_its_end() {
    let mut registry = registry();
    let invalid = (InvalidRequestException, 400);
    let whole = vec![b'x'; UPLOAD_PIECE];
    assert_eq!(refusal(registry.run(piece("up", 0, &whole))), (ResourceNotFoundException, 404));
    registry.run(begin("up")).unwrap();
    assert_eq!(refusal(registry.run(begin("up"))), invalid);
    let start_it = || Action::StartUploadedRegistration("up".to_owned());
    assert_eq!(refusal(registry.run(start_it())), invalid, "nothing is there yet");
    for (number, bytes) in [(1, &b"x"[..]), (0, b""), (0, &[0; UPLOAD_PIECE + 1]), (UPLOAD_PIECES, b"x")] {
        assert_eq!(refusal(registry.run(piece("up", number, bytes))), invalid, "{number}");
    }
    registry.run(piece("up", 0, &whole)).unwrap();
    registry.run(piece("up", 0, &whole)).unwrap();
    registry.run(piece("up", 1, b"end")).unwrap();
    registry.run(piece("up", 1, b"the end")).unwrap();
    assert_eq!(refusal(registry.run(piece("up", 2, b"x"))), invalid, "what is before it is not whole");
    assert_eq!(due(&registry), [], "it is no task yet");
    assert_eq!(registry.run(start_it()).unwrap(), Reply::RegistrationTask("up".to_owned()));
    assert_eq!(refusal(registry.run(start_it())), (ResourceNotFoundException, 404));
    assert_eq!(refusal(registry.run(begin("up"))), invalid, "its id is taken");
    let taken = claim(&mut registry, "up", "one").unwrap();
    let size = UPLOAD_PIECE as u64 + 7;
    assert!(taken.uploaded);
    assert_eq!(taken.input, Some((size, String::new())));
    assert_eq!(input(&registry, "up", 1).unwrap(), b"the end");
    assert_eq!(describe(&registry, "up").started_with.input_file_bucket, "");
    let Action::AdvanceRegistrationTask(mut whole) = step("up", "one", (0, size), &["a"]) else { panic!() };
    whole.input = (size, String::new());
    assert_eq!(work(registry.run(Action::AdvanceRegistrationTask(whole)).unwrap()), None);
    assert_eq!(describe(&registry, "up").status, RegistrationTaskStatus::Completed);
    assert_eq!((input(&registry, "up", 0), input(&registry, "up", 1)), (None, None));
}

#[test]
fn an_upload_that_becomes_no_task_is_forgotten() {
    let mut registry = registry();
    let before = registry.view.clone();
    for id in ["a", "b", "c", "d"] {
        registry.run(begin(id)).unwrap();
    }
    assert_eq!(refusal(registry.run(begin("e"))), (LimitExceededException, 410));
    registry.run(piece("a", 0, b"x")).unwrap();
    let forget = |id: &str| Action::ForgetRegistrationTask(id.to_owned());
    assert_eq!(registry.run(forget("a")).unwrap(), Reply::Ended(0), "it is not time yet");
    assert!(input(&registry, "a", 0).is_some());
    registry.now = Timestamp(registry.now.as_millis() + 24 * 60 * 60 * 1000);
    assert_eq!(due(&registry).len(), 4);
    assert!(due(&registry).iter().all(|due| due.expired));
    for id in ["a", "b", "c", "d"] {
        while registry.run(forget(id)).unwrap() != Reply::Ended(0) {}
    }
    let left: Vec<_> = registry.view.entries().keys().filter(|key| before.get(key).is_none()).collect();
    assert!(left.iter().all(|key| key.windows(5).any(|part| part == b"scope")), "{left:?}");
}
