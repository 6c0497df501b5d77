//! The allow-list of topics below `$aws/` as data.

/// What clients may do on the topics of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Publish only: a request to a service.
    Publish,
    /// Subscribe only: the service publishes.
    Subscribe,
    /// Both.
    Both,
    /// Subscribe, but what is sent there reaches only the client whose request it answers.
    Reply,
}

use Access::{Both, Publish, Reply, Subscribe};

impl Access {
    pub(super) fn publish(self) -> bool {
        matches!(self, Publish | Both)
    }

    pub(super) fn subscribe(self) -> bool {
        !matches!(self, Publish)
    }

    pub(super) fn deliver(self) -> bool {
        matches!(self, Subscribe | Both)
    }
}

/// Rows of what follows `$aws/`. A level is one of the words parted by `|`, or `+` for any name that is not
/// empty; `#` stands for any further levels, none included.
pub(super) static ROWS: &[(Access, &str)] = &[
    (Both, "things/+/shadow/get|update|delete"),
    (Subscribe, "things/+/shadow/get|update|delete/accepted|rejected"),
    (Subscribe, "things/+/shadow/update/delta|documents"),
    (Both, "things/+/shadow/name/+/get|update|delete"),
    (Subscribe, "things/+/shadow/name/+/get|update|delete/accepted|rejected"),
    (Subscribe, "things/+/shadow/name/+/update/delta|documents"),
    (Publish, "things/+/jobs/get|start-next"),
    (Publish, "things/+/jobs/+/get|update"),
    (Reply, "things/+/jobs/get|start-next/accepted|rejected"),
    (Reply, "things/+/jobs/+/get|update/accepted|rejected"),
    (Subscribe, "things/+/jobs/notify|notify-next"),
    (Publish, "things/+/defender/metrics/json|cbor"),
    (Subscribe, "things/+/defender/metrics/json|cbor/accepted|rejected"),
    (Publish, "things/+/streams/+/get|describe/json|cbor"),
    (Subscribe, "things/+/streams/+/data|description|rejected/json|cbor"),
    (Subscribe, "things/+/tunnels/notify"),
    (Publish, "certificates/create|create-from-csr/json|cbor"),
    (Reply, "certificates/create|create-from-csr/json|cbor/accepted|rejected"),
    (Publish, "provisioning-templates/+/provision/json|cbor"),
    (Reply, "provisioning-templates/+/provision/json|cbor/accepted|rejected"),
    (Publish, "rules/+/#"),
    // Client ids may hold slashes.
    (Subscribe, "events/presence/connected|disconnected|connect_failed/+/#"),
    (Subscribe, "events/subscriptions/subscribed|unsubscribed/+/#"),
    (Subscribe, "events/certificates/registered/+"),
    (Subscribe, "events/thing|thingGroup|thingType/+/created|updated|deleted"),
    (Subscribe, "events/thingTypeAssociation/thing/+/thingType/+/added|removed"),
    (Subscribe, "events/thingGroupMembership/thingGroup/+/thing/+/added|removed"),
    (Subscribe, "events/thingGroupHierarchy/thingGroup/+/childThingGroup/+/added|removed"),
    (Subscribe, "events/job/+/completed|canceled|deleted|cancellation_in_progress|deletion_in_progress"),
    (Subscribe, "events/jobExecution/+/succeeded|failed|rejected|canceled|timed_out|removed|deleted"),
    (Subscribe, "commands/things|clients/+/executions/+/request"),
    (Subscribe, "commands/things|clients/+/executions/+/request/json|cbor"),
    (Publish, "commands/things|clients/+/executions/+/response/json|cbor"),
    (Subscribe, "commands/things|clients/+/executions/+/response/accepted|rejected/json|cbor"),
    (Publish, "device_location/+/get_position_estimate"),
    (Subscribe, "device_location/+/get_position_estimate/accepted|rejected"),
    (Subscribe, "sitewise/asset-models/+/assets/+/properties/+"),
    (Subscribe, "iotwireless/events/#"),
];
