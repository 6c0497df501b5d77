//! Checks every contract below `proto/` and generates its code. Pure Rust: no `protoc`.

use std::path::Path;

/// The contracts, with what they import.
const CONTRACTS: [&str; 6] = [
    "fleethaven/admin/v1/admin.proto",
    "fleethaven/connections/v1/connections.proto",
    "fleethaven/membership/v1/membership.proto",
    "fleethaven/metadata/v1/metadata.proto",
    "fleethaven/raft/v1/raft.proto",
    "fleethaven/routing/v1/routing.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked for when it runs: a target folder may be shared by clones in several places.
    let crate_root = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo says where the crate is")?;
    let proto = Path::new(&crate_root).join("../../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    // JSON and keys are handed on as they are: `Bytes` shares the buffer of the message.
    tonic_prost_build::configure().bytes(".").compile_fds(protox::compile(CONTRACTS, [&proto])?)?;
    Ok(())
}
