//! The running program on its sockets, by clients that speak raw MQTT, TLS and QUIC: one program of tests, since each
//! that is linked for itself costs as much as building the product once more.

mod alpn;
mod backpressure;
mod connect_refused;
mod drain;
mod forged_certificates;
mod hostile;
mod keep_alive;
mod level_cores;
mod malformed_live;
mod many_connections;
mod normative;
mod peers_bugs;
mod persistent_queue;
mod puback_order;
mod qos2;
mod quic;
mod rates;
mod subscription_options;
mod support;
mod takeover;
mod topic_aliases;
