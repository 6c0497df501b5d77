use std::collections::VecDeque;

use fleethaven_fabric::{RuleChange, Traces};
use fleethaven_storage::RuleRef;
use fleethaven_types::{Message, Profile};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{Answer, FakeBroker, NoFunctions, change, message, outside, republish, rule, scope};

/// A queue in memory: claims wait for entries, and fail as often as it is told.
#[derive(Default)]
struct FakeQueue {
    waiting: Mutex<VecDeque<RuleEntry>>,
    failing: Mutex<u32>,
    acknowledged: Mutex<Vec<u64>>,
    buried: Mutex<Vec<(u64, String)>>,
    arrived: Notify,
    settled: Notify,
}

impl RuleQueue for FakeQueue {
    fn claim(
        &self,
        max: usize,
    ) -> fleethaven_storage::rule_queue::BoxFuture<'_, Result<Vec<RuleEntry>, Error>> {
        Box::pin(async move {
            loop {
                if *self.failing.lock() > 0 {
                    *self.failing.lock() -= 1;
                    return Err(Error::Unavailable("not now".to_owned()));
                }
                let claimed: Vec<_> = {
                    let mut waiting = self.waiting.lock();
                    let count = max.min(waiting.len());
                    waiting.drain(..count).collect()
                };
                if !claimed.is_empty() {
                    return Ok(claimed);
                }
                self.arrived.notified().await;
            }
        })
    }

    fn acknowledge(&self, entries: Vec<RuleEntryId>) -> Result<(), Error> {
        self.acknowledged.lock().extend(entries.iter().map(|id| id.0));
        self.settled.notify_one();
        Ok(())
    }

    fn dead_letter(&self, entry: RuleEntryId, reason: &str) -> Result<(), Error> {
        self.buried.lock().push((entry.0, reason.to_owned()));
        self.settled.notify_one();
        Ok(())
    }

    fn dead_letters(
        &self,
        _: Option<fleethaven_types::AccountId>,
        _: usize,
    ) -> Result<Vec<fleethaven_storage::DeadLetter>, Error> {
        Ok(Vec::new())
    }

    fn redrive(&self, _: RuleEntryId) -> Result<bool, Error> {
        Ok(false)
    }

    fn discard(&self, _: RuleEntryId) -> Result<bool, Error> {
        Ok(false)
    }

    fn depth(&self) -> u64 {
        self.waiting.lock().len() as u64
    }
}

impl FakeQueue {
    /// An entry that matched `R1` in the version of `revision`.
    fn add(&self, id: u64, message: Message, revision: u64, deliveries: u32) {
        let rules = vec![RuleRef { name: "R1".into(), revision }];
        let entry = RuleEntry { id: RuleEntryId(id), message: Arc::new(message), rules, deliveries };
        self.waiting.lock().push_back(entry);
        self.arrived.notify_one();
    }

    /// Waits until so many entries are acknowledged or buried; returns those acknowledged, in order.
    async fn settled(&self, count: usize) -> Vec<u64> {
        while self.acknowledged.lock().len() + self.buried.lock().len() < count {
            self.settled.notified().await;
        }
        let mut acknowledged = self.acknowledged.lock().clone();
        acknowledged.sort_unstable();
        acknowledged
    }
}

struct Bench {
    queue: Arc<FakeQueue>,
    broker: Arc<FakeBroker>,
    rules: Arc<Rules>,
    worker: JoinHandle<()>,
    /// Tells the worker to stop, also when it is dropped.
    stop: oneshot::Sender<()>,
}

impl Bench {
    fn new(broker: FakeBroker, failing: u32) -> Self {
        let queue = Arc::new(FakeQueue { failing: Mutex::new(failing), ..FakeQueue::default() });
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let (broker, rules) = (Arc::new(broker), Arc::new(Rules::new(metrics.clone())));
        let worker = Worker {
            outside: outside(&metrics),
            functions: Arc::new(NoFunctions),
            rules: rules.clone(),
            queue: queue.clone(),
            publish: broker.clone(),
            waiting: Waiting::new(&metrics),
            behaviour: Behaviour::of(Profile::Standard),
            limits: Limits::of(Profile::Standard),
            room: Room::default(),
            metrics,
            traces: Traces::off(),
            usage: Usage::off(),
            logs: fleethaven_logging::Logs::off(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = tokio::spawn(worker.run(async move { drop(stopped.await) }));
        Self { queue, broker, rules, worker, stop }
    }

    fn set_rule(&self, sql: &str, revision: u64) {
        let forward = change("R1", revision, rule(sql, vec![republish("to/${topic()}")], None));
        self.rules.apply_all(vec![forward], revision);
    }

    fn topics(&self) -> Vec<String> {
        self.broker.published().into_iter().map(|(topic, _)| topic).collect()
    }
}

#[tokio::test]
async fn messages_are_executed_in_order_and_acknowledged() {
    let bench = Bench::new(FakeBroker::default(), 0);
    bench.set_rule("SELECT * FROM '#'", 1);
    for id in 0..2000 {
        bench.queue.add(id, message(&id.to_string(), "{}"), 1, 0);
    }
    let expected: Vec<u64> = (0..2000).collect();
    assert_eq!(bench.queue.settled(2000).await, expected);
    let expected: Vec<_> = expected.iter().map(|id| format!("to/{id}")).collect();
    assert_eq!(bench.topics(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_action_holds_no_other_message_back() {
    let bench = Bench::new(FakeBroker::answering([Answer::Slow]), 0);
    bench.set_rule("SELECT * FROM '#'", 1);
    let began = tokio::time::Instant::now();
    for id in 1..=300 {
        bench.queue.add(id, message("a", "{}"), 1, 0);
    }
    assert_eq!(bench.queue.settled(299).await.first(), Some(&2));
    assert!(began.elapsed() < Duration::from_secs(1));
    bench.queue.settled(300).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_to_stop_finishes_what_it_has_and_claims_no_more() {
    let bench = Bench::new(FakeBroker::answering([Answer::Slow]), 0);
    bench.set_rule("SELECT * FROM '#'", 1);
    bench.queue.add(1, message("slow", "{}"), 1, 0);
    bench.queue.add(2, message("quick", "{}"), 1, 0);
    assert_eq!(bench.queue.settled(1).await, [2], "the slow one is in hand");
    let Bench { queue, worker, stop, .. } = bench;
    stop.send(()).unwrap();
    tokio::task::yield_now().await;
    queue.add(3, message("late", "{}"), 1, 0);
    worker.await.unwrap();
    assert_eq!(queue.settled(2).await, [1, 2]);
    assert_eq!(queue.depth(), 1, "for another worker");
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_nothing_is_lost() {
    let away = std::iter::repeat_with(|| Answer::Unavailable).take(200_000);
    let bench = Bench::new(FakeBroker::answering(away), 0);
    bench.set_rule("SELECT * FROM '#'", 1);
    for id in 1..=1000 {
        bench.queue.add(id, message(&id.to_string(), "{}"), 1, 0);
    }
    // Longer than other actions are tried for.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.queue.acknowledged.lock().is_empty());
    bench.broker.answers.lock().clear();
    assert_eq!(bench.queue.settled(1000).await, (1..=1000).collect::<Vec<u64>>());
    assert_eq!(bench.topics().len(), 1000, "each once");
}

#[tokio::test]
async fn poison_is_buried_and_the_rest_goes_on() {
    let bench = Bench::new(FakeBroker::answering([Answer::Panic]), 0);
    bench.set_rule("SELECT * FROM '#'", 1);
    bench.queue.add(1, message("a", "{}"), 1, MAX_DELIVERIES);
    bench.queue.add(2, message("panics", "{}"), 1, 0);
    bench.queue.add(3, message("b", "{}"), 1, MAX_DELIVERIES - 1);
    assert_eq!(bench.queue.settled(3).await, [3]);
    assert_eq!(bench.topics(), ["to/b"]);
    let mut buried = bench.queue.buried.lock().clone();
    buried.sort_unstable();
    let told = "given out 5 times without being finished".to_owned();
    assert_eq!(buried, [(1, told), (2, "a rule or an action panicked".to_owned())]);
}

#[tokio::test]
async fn a_rule_that_changed_runs_as_it_is_now_or_not_at_all() {
    let bench = Bench::new(FakeBroker::default(), 0);
    bench.set_rule("SELECT VALUE 'new' FROM 'a/#'", 5);
    bench.queue.add(1, message("a/b", "{}"), 4, 0);
    bench.queue.add(2, message("b", "{}"), 4, 0);
    bench.queue.add(3, message("$aws/rules/R1/a/c", "{}"), 4, 0);
    bench.queue.add(4, message("$aws/rules/R1/b", "{}"), 4, 0);
    assert_eq!(bench.queue.settled(4).await, [1, 2, 3, 4]);
    assert_eq!(bench.topics(), ["to/a/b", "to/a/c"]);
    bench.set_rule("SELECT *", 6);
    bench.queue.add(5, message("a/b", "{}"), 5, 0);
    bench.queue.settled(5).await;
    let mut off = change("R1", 7, rule("SELECT * FROM 'a/#'", vec![republish("c")], None));
    if let Some((rule, _)) = &mut off.rule {
        rule.payload.rule_disabled = true;
    }
    bench.rules.apply_all(vec![off], 7);
    bench.queue.add(6, message("a/b", "{}"), 5, 0);
    bench.queue.settled(6).await;
    bench.set_rule("SELECT * FROM 'a/#'", 8);
    let gone = RuleChange { scope: scope(), name: "R1".to_owned(), rule: None };
    bench.rules.apply_all(vec![gone], 9);
    bench.queue.add(7, message("a/b", "{}"), 8, 0);
    assert_eq!(bench.queue.settled(7).await.len(), 7);
    assert_eq!(
        bench.topics().len(),
        2,
        "only Basic Ingest reaches a rule without FROM; the others do not run"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_the_version_it_was_matched_with() {
    let bench = Bench::new(FakeBroker::default(), 0);
    bench.queue.add(1, message("a", "{}"), 3, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(bench.queue.acknowledged.lock().is_empty());
    bench.set_rule("SELECT * FROM 'a'", 3);
    bench.queue.settled(1).await;
    assert_eq!(bench.topics(), ["to/a"]);
    bench.queue.add(2, message("a", "{}"), 99, 0);
    bench.queue.settled(2).await;
    assert_eq!(bench.topics(), ["to/a", "to/a"], "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_is_asked_again_until_it_seems_closed() {
    let bench = Bench::new(FakeBroker::default(), MAX_FAILURES - 1);
    bench.set_rule("SELECT * FROM 'a'", 1);
    bench.queue.add(1, message("a", "{}"), 1, 0);
    assert_eq!(bench.queue.settled(1).await, [1]);
    *bench.queue.failing.lock() = MAX_FAILURES;
    bench.queue.arrived.notify_one();
    bench.worker.await.unwrap();
}
