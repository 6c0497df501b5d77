//! Structured logs, Prometheus metrics and the admin port with its health endpoints.
