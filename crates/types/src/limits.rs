//! What a listener does where AWS and the MQTT text differ ([`Behaviour`]), and how much an account may use
//! ([`Limits`]). Both come as two bundles, [`Profile::Standard`] and [`Profile::Aws`], and every field is a setting.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AccountId, QoS};

/// A named bundle of behaviour and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// MQTT by the OASIS text with generous limits; breaks no AWS client.
    #[default]
    Standard,
    /// AWS IoT Core's own deviations and quotas, for people who test what they run on AWS.
    Aws,
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "standard" => Ok(Self::Standard),
            "aws" => Ok(Self::Aws),
            other => Err(format!("'{other}' is not a profile: use 'standard' or 'aws'")),
        }
    }
}

/// Where AWS deviates from the MQTT text, which of the two a listener follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Behaviour {
    /// Highest QoS granted and accepted.
    pub max_qos: QoS,
    /// Whether `a/#` matches `a` [MQTT 4.7.1.2]; AWS: no.
    pub hash_matches_parent: bool,
    /// Whether a wildcard SUBSCRIBE gets retained messages; AWS: exact filters only.
    pub retained_on_wildcard_subscribe: bool,
    /// Whether a session made by 3.1.1 can be resumed by 5 and the reverse.
    pub cross_version_session_resume: bool,
    /// Whether Subscription Identifiers are available.
    pub subscription_identifiers: bool,
    /// DUP set on redelivered PUBLISH packets; AWS: never.
    pub dup_flag_on_redelivery: bool,
    /// Names below `$` other than the reserved ones are ordinary topics; AWS: refused.
    pub dollar_topics_are_ordinary: bool,
    /// A topic alias that was never defined is a Protocol Error, 0x82 [MQTT5 section 3.3.4]; AWS: 0x94 as for any other.
    pub undefined_alias_is_protocol_error: bool,
    /// A 3.1.1 SUBSCRIBE that policy denies closes the connection (AWS) instead of SUBACK 0x80.
    pub denied_v3_subscribe_closes: bool,
    /// Deliver at most so many stored messages a second after a resume; `None`: as fast as the client takes them.
    pub stored_drain_rate: Option<u32>,
    /// Deliver at most so many queued messages of a shared subscription a second to each member; `None`: as fast as members
    /// take them.
    pub share_drain_rate: Option<u32>,
    /// PUBACK 0x10 when no subscriber matched.
    pub report_no_matching_subscribers: bool,
    /// UNSUBACK 0x11 when no subscription existed.
    pub report_no_subscription_existed: bool,
    /// A client whose certificate is in SNI_ONLY mode (registered without a CA) must ask for a server name; AWS: yes.
    pub sni_only_needs_name: bool,
    /// A WebSocket Close frame counts as DISCONNECT (no will).
    pub ws_close_is_disconnect: bool,
    /// What the Response Information of an MQTT 5 client that asks for it begins with; its client id and a slash follow.
    /// Empty: it gets none, as from AWS.
    pub response_information_prefix: String,
    /// Where MQTT 5 clients are sent when the broker drains, as names or addresses separated by spaces: DISCONNECT 0x9C with
    /// this Server Reference. Empty: 0x8B, as from AWS.
    pub drain_server_reference: String,
    /// Clients are to use the server of `drain_server_reference` from now on (0x9D), not for a while (0x9C).
    pub drain_server_moved: bool,
    /// Seconds over which a drain spreads the ends of connections; half of the grace period at most. 0: all at once.
    pub drain_spread_secs: u32,
    /// The wills of clients that a drain disconnects are published, after their delay.
    pub drain_will: bool,
}

/// How much one account, connection or message may use. `None` means unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// Client id size in UTF-8 bytes.
    pub client_id_bytes: usize,
    /// CONNECTs per second and client id.
    pub connect_per_sec_client: Option<u32>,
    /// CONNECTs per second and account.
    pub connect_per_sec_account: Option<u32>,
    /// Concurrent connections per account.
    pub connections_account: Option<u64>,
    /// Lowest keep-alive in seconds; smaller requests are raised to it.
    pub keep_alive_min: u16,
    /// Keep-alive in seconds for clients that ask for 0; 0 = off.
    pub keep_alive_default: u16,
    /// Highest keep-alive in seconds; 0 = as requested.
    pub keep_alive_max: u16,
    /// PUBLISH packets per second and connection.
    pub publish_per_sec_connection: Option<u32>,
    /// Bytes per second from one connection: above it the connection is read later.
    pub throughput_connection: Option<u32>,
    /// Messages published per second and account, over MQTT and HTTPS.
    pub inbound_publish_per_sec_account: Option<u32>,
    /// Messages delivered per second and account: above it QoS 0 is dropped, and the rest waits.
    pub outbound_publish_per_sec_account: Option<u32>,
    /// Filters subscribed to per second and account.
    pub subscribe_per_sec_account: Option<u32>,
    /// Messages per second and account that are queued for sessions nobody is connected to; the newest are dropped.
    pub queued_per_sec_account: Option<u32>,
    /// Retained messages per account. Deleting always works.
    pub retained_count: Option<u64>,
    /// Messages to be retained per second and account.
    pub retained_per_sec_account: Option<u32>,
    /// Messages to be retained per second and topic.
    pub retained_per_sec_topic: Option<u32>,
    /// GetRetainedMessage requests per second and account.
    pub retained_reads_per_sec: Option<u32>,
    /// ListRetainedMessages requests per second and account.
    pub retained_lists_per_sec: Option<u32>,
    /// Requests per second and account to each operation of the connections API.
    pub connection_requests_per_sec: Option<u32>,
    /// Requests to device shadows per second and account, over MQTT and HTTPS.
    pub shadow_requests_per_sec_account: Option<u32>,
    /// Requests to device shadows per second and thing, over MQTT and HTTPS.
    pub shadow_requests_per_sec_thing: Option<u32>,
    /// Requests to the shadows of one thing that a connection may have under way.
    pub shadow_requests_in_flight: usize,
    /// Requests a second to each operation of fleet provisioning over MQTT, in an account and region.
    pub provisioning_requests_per_sec: Option<u32>,
    /// Requests a second to each operation of the control plane, `sts` and the credentials provider, per account and region: so
    /// many hundredths of what AWS allows.
    pub api_rate_percent: Option<u32>,
    /// Seconds' worth of a rate that may come at once.
    pub rate_burst_secs: u32,
    /// Unacknowledged inbound QoS ≥ 1 PUBLISH packets per connection (the broker's Receive Maximum).
    pub inflight_in: u16,
    /// Unacknowledged outbound QoS ≥ 1 PUBLISH packets per connection.
    pub inflight_out: u16,
    /// Seconds for which the delivery of a QoS 1 message to a client is tried; `None`: as long as the session lasts.
    pub qos1_retry_secs: Option<u32>,
    /// Application payload bytes.
    pub payload_bytes: usize,
    /// Whole MQTT packet bytes.
    pub packet_bytes: u32,
    /// Lowest Maximum Packet Size that an MQTT 5 client may ask for, in bytes.
    pub client_packet_bytes_min: u32,
    /// Topic name and filter size in UTF-8 bytes.
    pub topic_bytes: usize,
    /// Levels in a topic name or filter.
    pub topic_levels: usize,
    /// Filters in one SUBSCRIBE.
    pub filters_per_subscribe: usize,
    /// Subscriptions per connection.
    pub subscriptions_per_connection: usize,
    /// UTF-8 bytes of the filters of all subscriptions of a connection.
    pub subscription_bytes_per_connection: usize,
    /// Subscriptions per account.
    pub subscriptions_account: Option<u64>,
    /// Session Expiry Interval in seconds for 3.1.1 clients with CleanSession 0.
    pub session_expiry_default: u32,
    /// Highest Session Expiry Interval in seconds.
    pub session_expiry_max: u32,
    /// Messages that wait in one session's queue.
    pub session_queued_messages: u64,
    /// Bytes (topics and payloads) that wait in one session's queue.
    pub session_queued_bytes: u64,
    /// Seconds that a message waits in one session's queue; `None`: as long as the session lasts, as at AWS.
    pub session_queued_secs: Option<u32>,
    /// Groups of shared subscriptions per account.
    pub share_groups_account: Option<u64>,
    /// Members of one group.
    pub share_subs_group: usize,
    /// SUBSCRIBE and UNSUBSCRIBE requests per second and group; the latter are counted and never refused.
    pub share_requests_per_sec_group: Option<u32>,
    /// Messages that wait in one group's queue.
    pub share_queued_messages: u64,
    /// Bytes (topics and payloads) that wait in one group's queue.
    pub share_queued_bytes: u64,
    /// Topic aliases a client may define.
    pub topic_alias_max: u16,
    /// Topic aliases that the broker defines for a client that takes them; 0 = none.
    pub topic_alias_out_max: u16,
    /// Total size of the User Properties of a packet in bytes.
    pub user_property_bytes: usize,
    /// Size of a message's Content Type in bytes.
    pub content_type_bytes: usize,
    /// Size of a message's Response Topic in bytes.
    pub response_topic_bytes: usize,
    /// Size of a message's Correlation Data in bytes.
    pub correlation_data_bytes: usize,
    /// Seconds that a WebSocket connection may last.
    pub websocket_lifetime_secs: Option<u32>,
    /// Shortest time in seconds that a custom authorizer may name for the end of a connection or the next refresh.
    pub authorizer_interval_min_secs: u32,
    /// Highest Message Expiry Interval in seconds; 0 = as sent.
    pub message_expiry_max: u32,
    /// Seconds from accepting a connection to its CONNECT.
    pub connect_timeout_secs: u16,
}

/// The limits of every account: some have their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLimits {
    /// Of accounts without limits of their own.
    pub default: Limits,
    /// Of those that have.
    pub accounts: BTreeMap<AccountId, Limits>,
}

impl AccountLimits {
    /// The limits of `account`.
    pub fn of(&self, account: AccountId) -> &Limits {
        self.accounts.get(&account).unwrap_or(&self.default)
    }
}

impl From<Limits> for AccountLimits {
    /// The same for all accounts.
    fn from(default: Limits) -> Self {
        Self { default, accounts: BTreeMap::new() }
    }
}

impl Behaviour {
    /// The bundle of `profile`.
    pub fn of(profile: Profile) -> Self {
        let aws = profile == Profile::Aws;
        Self {
            max_qos: if aws { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            hash_matches_parent: !aws,
            retained_on_wildcard_subscribe: !aws,
            cross_version_session_resume: !aws,
            subscription_identifiers: !aws,
            dup_flag_on_redelivery: !aws,
            dollar_topics_are_ordinary: !aws,
            undefined_alias_is_protocol_error: !aws,
            denied_v3_subscribe_closes: aws,
            stored_drain_rate: aws.then_some(10),
            share_drain_rate: aws.then_some(20),
            report_no_matching_subscribers: !aws,
            report_no_subscription_existed: !aws,
            sni_only_needs_name: aws,
            ws_close_is_disconnect: aws,
            response_information_prefix: if aws { String::new() } else { "response/".to_owned() },
            drain_server_reference: String::new(),
            drain_server_moved: false,
            drain_spread_secs: 0,
            drain_will: true,
        }
    }
}

impl Behaviour {
    /// Bytes of a text that goes to clients.
    const TEXT_BYTES: usize = 1024;

    /// Whether the texts can be sent to clients.
    ///
    /// # Errors
    /// Names the setting and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let prefix = &self.response_information_prefix;
        if prefix.contains(['+', '#', '\0']) || prefix.starts_with('$') {
            return Err(format!("response-information-prefix '{prefix}' cannot begin a topic of a client"));
        }
        let texts = [
            ("response-information-prefix", prefix),
            ("drain-server-reference", &self.drain_server_reference),
        ];
        for (name, text) in texts {
            if text.len() > Self::TEXT_BYTES || text.contains('\0') {
                return Err(format!("{name} is longer than {} bytes or has a NUL", Self::TEXT_BYTES));
            }
        }
        Ok(())
    }
}

impl Limits {
    /// The bundle of `profile`.
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::Standard => Self::standard(),
            Profile::Aws => Self::aws(),
        }
    }

    /// Generous values that still bound memory.
    fn standard() -> Self {
        Self {
            client_id_bytes: 1024,
            connect_per_sec_client: None,
            connect_per_sec_account: None,
            connections_account: None,
            keep_alive_min: 0,
            keep_alive_default: 0,
            keep_alive_max: 0,
            publish_per_sec_connection: None,
            throughput_connection: None,
            inbound_publish_per_sec_account: None,
            outbound_publish_per_sec_account: None,
            subscribe_per_sec_account: None,
            queued_per_sec_account: None,
            retained_count: None,
            retained_per_sec_account: None,
            retained_per_sec_topic: None,
            retained_reads_per_sec: None,
            retained_lists_per_sec: None,
            connection_requests_per_sec: None,
            shadow_requests_per_sec_account: None,
            shadow_requests_per_sec_thing: None,
            shadow_requests_in_flight: 1000,
            provisioning_requests_per_sec: None,
            api_rate_percent: None,
            rate_burst_secs: 1,
            inflight_in: 1000,
            inflight_out: 1000,
            qos1_retry_secs: None,
            payload_bytes: 8 << 20,
            packet_bytes: 8 << 20,
            client_packet_bytes_min: 0,
            topic_bytes: 65_535,
            topic_levels: 128,
            filters_per_subscribe: 1000,
            subscriptions_per_connection: 10_000,
            subscription_bytes_per_connection: 2 << 20,
            subscriptions_account: None,
            session_expiry_default: 3600,
            session_expiry_max: 30 * 86_400,
            session_queued_messages: 10_000,
            session_queued_bytes: 16 << 20,
            session_queued_secs: None,
            share_groups_account: None,
            share_subs_group: 10_000,
            share_requests_per_sec_group: None,
            share_queued_messages: 100_000,
            share_queued_bytes: 64 << 20,
            topic_alias_max: 64,
            topic_alias_out_max: 64,
            user_property_bytes: 64 << 10,
            content_type_bytes: 65_535,
            response_topic_bytes: 65_535,
            correlation_data_bytes: 65_535,
            websocket_lifetime_secs: None,
            authorizer_interval_min_secs: 300,
            message_expiry_max: 0,
            connect_timeout_secs: 10,
        }
    }

    /// AWS's documented defaults in a large region.
    fn aws() -> Self {
        Self {
            client_id_bytes: 128,
            connect_per_sec_client: Some(1),
            connect_per_sec_account: Some(500),
            connections_account: Some(500_000),
            keep_alive_min: 30,
            keep_alive_default: 1200,
            keep_alive_max: 1200,
            publish_per_sec_connection: Some(100),
            throughput_connection: Some(512 << 10),
            inbound_publish_per_sec_account: Some(20_000),
            outbound_publish_per_sec_account: Some(20_000),
            subscribe_per_sec_account: Some(500),
            queued_per_sec_account: Some(500),
            retained_count: Some(5_000),
            retained_per_sec_account: Some(500),
            retained_per_sec_topic: Some(1),
            retained_reads_per_sec: Some(500),
            retained_lists_per_sec: Some(10),
            connection_requests_per_sec: Some(100),
            shadow_requests_per_sec_account: Some(4000),
            shadow_requests_per_sec_thing: Some(20),
            shadow_requests_in_flight: 10,
            provisioning_requests_per_sec: Some(10),
            api_rate_percent: Some(100),
            rate_burst_secs: 1,
            inflight_in: 100,
            inflight_out: 100,
            qos1_retry_secs: Some(3600),
            payload_bytes: 128 << 10,
            packet_bytes: 149_504,
            client_packet_bytes_min: 1024,
            topic_bytes: 256,
            topic_levels: 8,
            filters_per_subscribe: 8,
            subscriptions_per_connection: 50,
            subscription_bytes_per_connection: 50 * 512,
            subscriptions_account: Some(500_000),
            session_expiry_default: 3600,
            session_expiry_max: 3600,
            session_queued_messages: 10_000,
            session_queued_bytes: 16 << 20,
            session_queued_secs: None,
            share_groups_account: Some(10_000),
            share_subs_group: 100,
            share_requests_per_sec_group: Some(20),
            share_queued_messages: 10_000,
            share_queued_bytes: 16 << 20,
            topic_alias_max: 8,
            topic_alias_out_max: 8,
            user_property_bytes: 8 << 10,
            content_type_bytes: 256,
            response_topic_bytes: 256,
            correlation_data_bytes: 16 << 10,
            websocket_lifetime_secs: Some(86_400),
            authorizer_interval_min_secs: 300,
            message_expiry_max: 604_800,
            connect_timeout_secs: 10,
        }
    }
}
