//! The code generated from `proto/fleethaven/metadata/v1`.

pub(crate) mod metadata {
    tonic::include_proto!("fleethaven.metadata.v1");
}
