//! The code generated from `proto/`, laid out as its packages are: they name each other by their place.

#[expect(unreachable_pub, reason = "the generator writes `pub`, and this crate keeps it to itself")]
mod fleethaven {
    pub(crate) mod admin {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.admin.v1");
        }
    }
    pub(crate) mod connections {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.connections.v1");
        }
    }
    pub(crate) mod delivery {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.delivery.v1");
        }
    }
    pub(crate) mod membership {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.membership.v1");
        }
    }
    pub(crate) mod metadata {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.metadata.v1");
        }
    }
    pub(crate) mod raft {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.raft.v1");
        }
    }
    pub(crate) mod routing {
        pub(crate) mod v1 {
            tonic::include_proto!("fleethaven.routing.v1");
        }
    }
}

pub(crate) use fleethaven::admin::v1 as admin;
pub(crate) use fleethaven::connections::v1 as connections;
pub(crate) use fleethaven::delivery::v1 as delivery;
pub(crate) use fleethaven::membership::v1 as membership;
pub(crate) use fleethaven::metadata::v1 as metadata;
pub(crate) use fleethaven::raft::v1 as raft;
pub(crate) use fleethaven::routing::v1 as routing;
