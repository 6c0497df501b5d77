//! Who publishes what to whom.

use fleethaven_mqtt::QoS;

use crate::client::{Role, Spec};
use crate::options::{Common, FanIn, FanOut, Load, Pairs, Topics};
use crate::process;

/// Which subscribers get which streams; there is one stream per publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every subscriber gets every stream.
    Everyone,
    /// Each message goes to one of the subscribers.
    Shared,
    /// Subscriber N gets stream N.
    Paired,
}

/// Who publishes to whom.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) scenario: &'static str,
    pub(crate) common: &'a Common,
    pub(crate) load: &'a Load,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) layout: Layout,
    /// The subscribers' sessions outlive their connections.
    pub(crate) persistent: bool,
}

impl<'a> Plan<'a> {
    pub(crate) fn fan_in(options: &'a FanIn) -> Self {
        let layout = if options.shared { Layout::Shared } else { Layout::Everyone };
        let (publishers, subscribers) = (options.publishers as usize, options.subscribers as usize);
        Self { layout, ..Self::new("fan-in", &options.common, &options.load, publishers, subscribers) }
    }

    pub(crate) fn fan_out(options: &'a FanOut) -> Self {
        Self::new("fan-out", &options.common, &options.load, 1, options.subscribers as usize)
    }

    pub(crate) fn pairs(options: &'a Pairs) -> Self {
        Self::paired("pairs", &options.common, &options.load, options.pairs as usize)
    }

    /// Every subscriber gets every stream.
    pub(crate) fn new(
        scenario: &'static str,
        common: &'a Common,
        load: &'a Load,
        publishers: usize,
        subscribers: usize,
    ) -> Self {
        Self { scenario, common, load, publishers, subscribers, layout: Layout::Everyone, persistent: false }
    }

    /// As many subscribers as publishers, each with a stream of its own.
    pub(crate) fn paired(scenario: &'static str, common: &'a Common, load: &'a Load, pairs: usize) -> Self {
        Self { layout: Layout::Paired, ..Self::new(scenario, common, load, pairs, pairs) }
    }

    /// Deliveries of one publish.
    pub(super) fn fan(&self) -> u64 {
        if self.layout == Layout::Everyone { self.subscribers as u64 } else { 1 }
    }

    /// The topic of stream N, or with `+` the filter for all.
    fn topic_of(&self, stream: &str) -> String {
        match self.load.topics {
            Topics::Run => format!("{}/{}/{stream}", self.common.client_prefix, process::own_id()),
            Topics::Fleet => format!("acme/prod/{stream}/telemetry"),
        }
    }

    pub(super) fn topic(&self, stream: usize) -> String {
        self.topic_of(&format!("device-{stream}"))
    }

    fn filter(&self, subscriber: usize) -> String {
        match self.layout {
            Layout::Paired => self.topic(subscriber),
            Layout::Everyone if self.publishers == 1 => self.topic(0),
            Layout::Everyone => self.topic_of("+"),
            Layout::Shared => format!("$share/load/{}", self.topic_of("+")),
        }
    }

    fn client_id(&self, role: char, number: usize) -> String {
        format!("{}-{}-{role}{number}", self.common.client_prefix, process::own_id())
    }

    pub(super) fn subscriber_specs(&self) -> Vec<Spec> {
        (0..self.subscribers)
            .map(|number| Spec {
                role: Role::Subscriber(number),
                filter: Some((self.filter(number), self.load.qos())),
                persistent: self.persistent,
                ..Spec::bare(number, self.client_id('s', number))
            })
            .collect()
    }

    pub(super) fn publisher_specs(&self) -> Vec<Spec> {
        (0..self.publishers)
            .map(|stream| Spec {
                role: Role::Publisher(stream),
                ..Spec::bare(self.subscribers + stream, self.client_id('p', stream))
            })
            .collect()
    }

    /// Whether a closed loop can tell that nothing is under way any more only by waiting.
    pub(super) fn may_lose(&self) -> bool {
        self.load.qos() == QoS::AtMostOnce
    }
}
