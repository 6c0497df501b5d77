//! Follows the topic rules in the metastore.
