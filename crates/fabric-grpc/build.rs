//! Checks every contract below `proto/` and generates the code of those that this crate speaks. Pure Rust: no `protoc`.

use std::path::Path;

/// What is generated and spoken.
const SPOKEN: [&str; 5] = [
    "fleethaven/admin/v1/admin.proto",
    "fleethaven/membership/v1/membership.proto",
    "fleethaven/metadata/v1/metadata.proto",
    "fleethaven/raft/v1/raft.proto",
    "fleethaven/routing/v1/routing.proto",
];
/// What is a contract only: it must compile.
const CONTRACTS: [&str; 1] = ["fleethaven/connections/v1/connections.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    protox::compile(CONTRACTS, [&proto])?;
    // JSON and keys are handed on as they are: `Bytes` shares the buffer of the message.
    tonic_prost_build::configure().bytes(".").compile_fds(protox::compile(SPOKEN, [&proto])?)?;
    Ok(())
}
