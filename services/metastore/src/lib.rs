//! The metadata store: openraft groups over one embedded store; evaluates on the leader, replicates effects.
