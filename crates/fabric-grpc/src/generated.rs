//! The code generated from `proto/fleethaven/metadata/v1`.

#[expect(unreachable_pub, reason = "the generator writes `pub`, and this crate keeps it to itself")]
pub(crate) mod metadata {
    tonic::include_proto!("fleethaven.metadata.v1");
}
