//! What happens when proposals do not end as planned. The evaluator is put into states that only a lost
//! leadership brings about, then has to find its own way back.

use std::path::Path;

use openraft::BasicNode;
use tempfile::TempDir;

use super::*;
use crate::disk::Disk;
use crate::group::{CONTROL, Founders, Group};
use crate::network::NoPeers;
use crate::tests::fixture::{clock, config, create, update};

async fn evaluator(dir: &Path) -> (Evaluator, mpsc::Sender<Request>, Group) {
    let config = config(dir);
    let founders = Founders::from([(config.node, BasicNode::default())]);
    let disk = Disk::open(dir, None).unwrap();
    let group = Group::start(disk, CONTROL, &config, Arc::new(NoPeers), Some(founders)).await.unwrap();
    let (requests, queue) = mpsc::channel(64);
    let settings = Settings { clock, limits: config.limits, max_in_flight: 16, outbox: group.outbox.clone() };
    let evaluator = Evaluator::new(group.raft.clone(), group.state.clone(), settings, queue);
    (evaluator, requests, group)
}

/// Sends a create and updates that depend on it and on each other, then a create that is refused.
async fn versions(evaluator: Evaluator, requests: mpsc::Sender<Request>) -> Vec<Answer> {
    let running = tokio::spawn(evaluator.run());
    let mut commands = vec![create("t")];
    commands.extend((1..=30).map(|version| update("t", version)));
    commands.push(update("t", 7));
    let mut answers = Vec::new();
    for command in commands {
        let (request, answer) = Request::new(command);
        requests.send(request).await.ok().unwrap();
        answers.push(answer);
    }
    drop(requests);
    let answers = futures_util::future::join_all(answers).await;
    running.await.unwrap();
    answers.into_iter().map(|answer| answer.unwrap()).collect()
}

fn assert_all_carried_out(answers: &[Answer]) {
    let (refused, done) = answers.split_last().unwrap();
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let revisions: Vec<_> = done.iter().map(|answer| answer.as_ref().unwrap().revision).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

async fn run(break_it: impl FnOnce(&mut Evaluator)) -> (Vec<Answer>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (mut evaluator, requests, _group) = evaluator(dir.path()).await;
    break_it(&mut evaluator);
    (versions(evaluator, requests).await, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_depend_on_each_other_are_carried_out() {
    let (answers, _dir) = run(|_| ()).await;
    assert_all_carried_out(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_of_another_term_is_confirmed_anew() {
    let (answers, _dir) = run(|evaluator| (evaluator.leading, evaluator.term) = (true, 77)).await;
    assert_all_carried_out(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_of_a_leader_that_is_none_are_evaluated_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut evaluator, requests, _group) = evaluator(dir.path()).await;
    // It learns too late that its term is over: openraft rejects what is bound to it.
    (evaluator.leading, evaluator.term) = (true, 77);
    let (request, answer) = Request::new(create("first"));
    let Ok(Ok(Evaluated::Effects(reply, effects))) = evaluator.outcome(&request.work) else { panic!() };
    evaluator.propose(request, reply, effects).await;
    assert_all_carried_out(&versions(evaluator, requests).await);
    answer.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_whose_predecessor_is_missing_are_evaluated_again() {
    // It believes that a proposal was submitted which never was: the state machine turns down what follows
    // it.
    let (answers, _dir) = run(|evaluator| {
        (evaluator.leading, evaluator.term) = (true, 1);
        (evaluator.sequence, evaluator.predecessor) = (5, 5);
    })
    .await;
    assert_all_carried_out(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_raft_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (mut evaluator, requests, group) = evaluator(dir.path()).await;
    (evaluator.leading, evaluator.term) = (true, 1);
    group.raft.shutdown().await.unwrap();
    for answer in versions(evaluator, requests).await {
        assert!(matches!(answer, Err(Error::Unknown | Error::Unavailable(_))), "{answer:?}");
    }
}
