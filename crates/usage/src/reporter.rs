//! The way of what was counted to the metadata store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::Error;
use fleethaven_registry::shapes::{Amounts, ReportUsage, UsageRow};
use fleethaven_registry::usage::{ROWS, day_of};
use fleethaven_registry::{Action, Command};
use fleethaven_types::{Scope, Timestamp};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::usage::{Owner, Usage};

/// How long the end of a process waits for its last report.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// A day of somebody's, as reports are ordered.
type Line = (u32, Scope, Option<Arc<str>>);

/// Reports what was counted, until it is told to stop.
pub struct Reporter {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Begins to report what is counted, once in `every`. Needs a tokio runtime.
pub fn report(
    usage: Arc<Usage>,
    metadata: Arc<dyn Metadata>,
    clock: fn() -> Timestamp,
    every: Duration,
) -> Reporter {
    let (stop, mut stopped) = oneshot::channel();
    let mut reports = Reports::new(usage, metadata, clock);
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => reports.send(false).await,
                _ = &mut stopped => break,
            }
        }
        reports.send(true).await;
    });
    Reporter { stop, task }
}

impl Reporter {
    /// Reports what is left, and ends. Whoever counts has to have ended before.
    pub async fn finish(self) {
        // A task that is gone has nothing left to tell.
        let _ = self.stop.send(());
        if tokio::time::timeout(LAST_WITHIN, self.task).await.is_err() {
            tracing::warn!("what was used at the end could not be reported");
        }
    }
}

/// What is to be reported.
struct Reports {
    usage: Arc<Usage>,
    metadata: Arc<dyn Metadata>,
    clock: fn() -> Timestamp,
    source: String,
    /// Of the last report that is done with.
    number: u64,
    waiting: BTreeMap<Line, Amounts>,
    /// The report that may have arrived: it is sent again as it is.
    sent: Option<ReportUsage>,
}

impl Reports {
    fn new(usage: Arc<Usage>, metadata: Arc<dyn Metadata>, clock: fn() -> Timestamp) -> Self {
        let source = Uuid::new_v4().to_string();
        Self { usage, metadata, clock, source, number: 0, waiting: BTreeMap::new(), sent: None }
    }

    /// Sends all there is, in order; what fails is sent again the next time. The last time says so.
    async fn send(&mut self, last: bool) {
        let today = day_of((self.clock)());
        for (Owner { scope, billing_group }, amounts) in self.usage.take() {
            *self.waiting.entry((today, scope, billing_group)).or_default() += amounts;
        }
        while let Some(report) = self.next(last) {
            let is_last = report.last;
            let command = Command::new(Scope::CLUSTER, Action::ReportUsage(Box::new(report)));
            match self.metadata.execute(command).await {
                Ok(_) => {}
                // It would be refused the next time, too.
                Err(Error::Refused(error)) => tracing::error!(%error, "what was used was refused"),
                Err(error) => {
                    return tracing::warn!(%error, "what was used is not reported yet");
                }
            }
            (self.number, self.sent) = (self.number + 1, None);
            if is_last {
                return;
            }
        }
    }

    fn next(&mut self, last: bool) -> Option<ReportUsage> {
        if self.sent.is_none() {
            let mut rows = Vec::new();
            while rows.len() < ROWS
                && let Some(((day, scope, group), amounts)) = self.waiting.pop_first()
            {
                let billing_group = group.map(|group| group.to_string());
                rows.push(UsageRow { scope, billing_group, day, amounts });
            }
            let last = last && self.waiting.is_empty() && (self.number > 0 || !rows.is_empty());
            if rows.is_empty() && !last {
                return None;
            }
            let (source, number) = (self.source.clone(), self.number + 1);
            self.sent = Some(ReportUsage { source, number, rows, last });
        }
        self.sent.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use fleethaven_fabric::metadata::{AppliedMarker, BoxFuture, Executed, Position, WatchStream};
    use fleethaven_registry::shapes::UsageQuery;
    use fleethaven_registry::testing::Registry;
    use fleethaven_registry::{Query, QueryKind, QueryReply};
    use parking_lot::Mutex;

    use super::*;

    /// What becomes of a command.
    #[derive(Clone, Copy)]
    enum Fate {
        Arrives,
        /// It is carried out, and nobody hears of it.
        AnswerLost,
        NotCarriedOut,
    }

    struct Store {
        registry: Mutex<Registry>,
        fates: Mutex<VecDeque<Fate>>,
    }

    impl Store {
        fn new(fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
            let registry = Mutex::new(Registry::new().unwrap());
            Arc::new(Self { registry, fates: Mutex::new(fates.into_iter().collect()) })
        }

        fn messages(&self, scope: Scope) -> u64 {
            let asked = UsageQuery { from: 0, to: u32::MAX, after: None };
            let query = Query::new(scope, QueryKind::Usage(Box::new(asked)));
            let registry = self.registry.lock();
            match fleethaven_registry::query(&registry.view, &query, registry.now).unwrap() {
                QueryReply::Usage(rows) => rows.iter().map(|row| row.amounts.messages).sum(),
                other => panic!("{other:?}"),
            }
        }
    }

    impl Metadata for Store {
        fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
            let fate = self.fates.lock().pop_front().unwrap_or(Fate::Arrives);
            let run = || Ok(self.registry.lock().run(command.action)?);
            let result = match fate {
                Fate::Arrives => run().map(|reply| Executed { reply, revision: 1 }),
                Fate::AnswerLost => run().and(Err(Error::Unknown)),
                Fate::NotCarriedOut => Err(Error::Unavailable("no leader".to_owned())),
            };
            Box::pin(std::future::ready(result))
        }

        fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
            Box::pin(std::future::ready(self.query_local(query)))
        }

        fn query_local(&self, query: Query) -> Result<QueryReply, Error> {
            Ok(self.registry.lock().ask(query.kind)?)
        }

        fn staleness(&self) -> Duration {
            Duration::ZERO
        }

        fn watch(&self, _prefixes: Vec<Bytes>, _from: Option<Position>) -> WatchStream {
            unreachable!("nothing is watched")
        }

        fn register(&self, _name: &'static str) -> AppliedMarker {
            Box::new(|_| ())
        }

        fn in_force(&self, _revision: u64) -> BoxFuture<'_, bool> {
            Box::pin(std::future::ready(true))
        }
    }

    fn now() -> Timestamp {
        Timestamp(1_700_000_000_000)
    }

    fn messages(messages: u64) -> Amounts {
        Amounts { messages, ..Amounts::NONE }
    }

    #[tokio::test]
    async fn what_is_counted_arrives_once_whatever_becomes_of_reports() {
        use Fate::{AnswerLost, Arrives, NotCarriedOut};
        let store = Store::new([Arrives, AnswerLost, NotCarriedOut, AnswerLost, Arrives]);
        let scope = store.registry.lock().scope;
        let usage = Usage::new(store.clone());
        let mut reports = Reports::new(usage.clone(), store.clone(), now);
        for (round, told) in [1, 3, 3, 3, 31].into_iter().enumerate() {
            usage.add(Owner::account(scope), messages(1 << round));
            reports.send(false).await;
            assert_eq!(store.messages(scope), told, "round {round}");
        }
        usage.add(Owner::account(scope), messages(100));
        reports.send(true).await;
        assert_eq!(store.messages(scope), 131);
        reports.send(false).await;
        assert_eq!(store.messages(scope), 131);
    }

    #[tokio::test]
    async fn the_end_reports_what_is_left_in_as_many_reports_as_it_takes() {
        let store = Store::new([]);
        let scope = store.registry.lock().scope;
        let usage = Usage::new(store.clone());
        let reporter = report(usage.clone(), store.clone(), now, Duration::from_secs(3600));
        let owner = |group: usize| Owner { scope, billing_group: Some(format!("g{group}").into()) };
        usage.add_all((0..ROWS + 1).map(|group| (owner(group), messages(1))));
        reporter.finish().await;
        assert_eq!(store.messages(scope), ROWS as u64 + 1);
    }
}
