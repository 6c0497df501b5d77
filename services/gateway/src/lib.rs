//! Device connections: MQTT over TLS, authentication, policy decisions, flow control; one event loop per core.
