//! Which way dependencies point: `types ← pure ← seam ← adapter ← service ← binary`, never back. Read from `cargo metadata`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Where a package stands; a later one may depend on earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// Words, no behaviour.
    Types,
    /// Logic: no runtime, no sockets, no clock.
    Pure,
    /// Traits between services, and between services and stores.
    Seam,
    /// Seams made real on a disk, a network, an operating system.
    Adapter,
    /// What is deployed.
    Service,
    /// The one binary.
    Binary,
}

/// Every package of `crates/` and its layer. A new crate is entered here, and so its place is decided.
const LIBRARIES: [(&str, Layer); 35] = [
    ("types", Layer::Types),
    ("jobs", Layer::Pure),
    ("membership", Layer::Pure),
    ("mqtt", Layer::Pure),
    ("operators", Layer::Pure),
    ("pki", Layer::Pure),
    ("policy", Layer::Pure),
    ("quotas", Layer::Pure),
    ("registry", Layer::Pure),
    ("rulesql", Layer::Pure),
    ("session", Layer::Pure),
    ("shadow", Layer::Pure),
    ("sigv4", Layer::Pure),
    ("topics", Layer::Pure),
    ("vault", Layer::Pure),
    ("fabric", Layer::Seam),
    // Logic in the words of the seams; without a runtime all the same.
    ("authorizers", Layer::Seam),
    // Files and a thread, and no runtime: two adapters keep their records in it.
    ("journal", Layer::Seam),
    ("lanes", Layer::Seam),
    ("storage", Layer::Seam),
    ("audit", Layer::Adapter),
    ("daemon", Layer::Adapter),
    ("fabric-grpc", Layer::Adapter),
    ("issuing", Layer::Adapter),
    ("logging", Layer::Adapter),
    ("net", Layer::Adapter),
    ("outbound", Layer::Adapter),
    ("storage-embedded", Layer::Adapter),
    ("storage-redis", Layer::Adapter),
    ("telemetry", Layer::Adapter),
    ("usage", Layer::Adapter),
    // Tools beside the layers: test support above the adapters, fuzz targets above what they read with,
    // the load test above the pure crates, the simulation above the services that it runs.
    ("testkit", Layer::Adapter),
    ("fuzz", Layer::Binary),
    ("loadtest", Layer::Service),
    ("sim", Layer::Binary),
];

/// What no crate below the adapters may bring in, however indirectly: runtimes, transports, stores.
const IMPURE: [&str; 14] = [
    "async-std",
    "axum",
    "fjall",
    "h2",
    "hyper",
    "mio",
    "openraft",
    "quinn",
    "redis",
    "reqwest",
    "rustls",
    "socket2",
    "tokio",
    "tonic",
];

/// The one package that may name a generated transport.
const TONIC_SPEAKER: &str = "fabric-grpc";

/// A package of the workspace, as far as this test is concerned.
struct Package {
    /// Without the product's prefix.
    name: String,
    /// Its folder, below the root.
    folder: String,
    layer: Layer,
    id: String,
    /// Names of direct dependencies; tests' own apart.
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

/// The workspace, and what each package of the build depends on when it is not tested.
struct Workspace {
    packages: Vec<Package>,
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}")).to_owned()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(arguments).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// For this machine's platform only: what other platforms need may never have been downloaded here.
fn metadata() -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let version = String::from_utf8(cargo(&["-vV"])).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let common = ["metadata", "--format-version", "1", "--offline", "--manifest-path", manifest];
    let output = cargo(&[&common[..], &["--filter-platform", host]].concat());
    serde_json::from_slice(&output).expect("cargo metadata is JSON")
}

fn short(name: &str) -> &str {
    name.strip_prefix("fleethaven-").unwrap_or(name)
}

fn layer(name: &str, folder: &str) -> Layer {
    match folder.split_once('/') {
        Some(("services", "fleethaven")) => Layer::Binary,
        Some(("services", _)) => Layer::Service,
        _ => {
            let entry = LIBRARIES.iter().find(|(library, _)| *library == name);
            entry.unwrap_or_else(|| panic!("{name} ({folder}) has no layer yet: enter it in LIBRARIES")).1
        }
    }
}

fn package(value: &Value, root: &str) -> Package {
    let folder = text(value, "manifest_path");
    let folder = folder.strip_prefix(root).and_then(|path| path.strip_suffix("/Cargo.toml"));
    let folder = folder.expect("a member below the root").trim_start_matches('/').to_owned();
    let named = |dev: bool| {
        let of_kind = list(value, "dependencies").iter().filter(|d| (d["kind"] == "dev") == dev);
        of_kind.map(|d| short(&text(d, "name")).to_owned()).collect()
    };
    let name = short(&text(value, "name")).to_owned();
    Package {
        layer: layer(&name, &folder),
        id: text(value, "id"),
        normal: named(false),
        dev: named(true),
        name,
        folder,
    }
}

/// The packages that `node` is built with, at run time (neither for its tests nor for its build script).
fn runtime_edges(node: &Value) -> (String, Vec<String>) {
    let is_normal = |dep: &&Value| list(dep, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
    let edges = list(node, "deps").iter().filter(is_normal).map(|dep| text(dep, "pkg"));
    (text(node, "id"), edges.collect())
}

fn workspace() -> Workspace {
    let all = metadata();
    let root = text(&all, "workspace_root");
    let members = list(&all, "workspace_members");
    let packages = list(&all, "packages");
    let resolve = all.get("resolve").expect("what the packages resolve to");
    let ours = packages.iter().filter(|p| members.contains(&p["id"]));
    Workspace {
        packages: ours.map(|p| package(p, &root)).collect(),
        names: packages.iter().map(|p| (text(p, "id"), text(p, "name"))).collect(),
        edges: list(resolve, "nodes").iter().map(runtime_edges).collect(),
    }
}

impl Workspace {
    fn layer_of(&self, name: &str) -> Option<Layer> {
        self.packages.iter().find(|package| package.name == name).map(|package| package.layer)
    }

    /// Names of everything that `id` brings into a build.
    fn brought_in(&self, id: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::from([id]);
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let next = self.edges.get(id).into_iter().flatten();
            todo.extend(next.map(String::as_str).filter(|&next| seen.insert(next)));
        }
        seen.into_iter().filter_map(|id| self.names.get(id)).map(String::as_str).collect()
    }
}

/// Whether a package of layer `from` may use one of layer `to` in its product code.
fn may_use(from: Layer, to: Layer) -> bool {
    match from {
        // Pure crates build on each other, and so do seams.
        Layer::Pure | Layer::Seam => to <= from,
        _ => to < from,
    }
}

/// All findings at once, so that one run tells the whole story.
fn report(findings: &[String]) {
    assert!(findings.is_empty(), "dependencies that point the wrong way:\n  {}", findings.join("\n  "));
}

#[test]
fn dependencies_point_down_the_layers() {
    let workspace = workspace();
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for (name, to) in package.normal.iter().filter_map(|n| workspace.layer_of(n).map(|to| (n, to))) {
            if !may_use(package.layer, to) {
                findings.push(format!("{} ({:?}) uses {name} ({to:?})", package.name, package.layer));
            }
        }
    }
    report(&findings);
}

#[test]
fn what_is_below_the_adapters_brings_in_no_runtime_transport_or_store() {
    let workspace = workspace();
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| package.layer < Layer::Adapter) {
        let impure: Vec<_> =
            workspace.brought_in(&package.id).into_iter().filter(|name| IMPURE.contains(name)).collect();
        if !impure.is_empty() {
            findings.push(format!("{} brings in {}", package.name, impure.join(", ")));
        }
    }
    report(&findings);
}

#[test]
fn libraries_do_not_test_against_services() {
    let workspace = workspace();
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| package.layer < Layer::Service) {
        let services = package.dev.iter().filter(|name| workspace.layer_of(name) >= Some(Layer::Service));
        findings.extend(services.map(|name| format!("the tests of {} use {name}", package.name)));
    }
    report(&findings);
}

#[test]
fn test_support_stays_out_of_the_product() {
    let findings: Vec<_> = workspace()
        .packages
        .iter()
        .filter(|package| package.normal.contains("testkit"))
        .map(|package| format!("{} uses testkit outside its tests", package.name))
        .collect();
    report(&findings);
}

#[test]
fn generated_messages_stay_in_one_crate() {
    let findings: Vec<_> = workspace()
        .packages
        .iter()
        .filter(|package| package.name != TONIC_SPEAKER && package.normal.contains("tonic"))
        .map(|package| format!("{} uses tonic; {TONIC_SPEAKER} speaks it for all", package.name))
        .collect();
    report(&findings);
}

#[test]
fn folders_tell_libraries_from_what_is_deployed() {
    for package in workspace().packages {
        let expected = match package.layer {
            _ if package.name == "loadtest" => "loadtest".to_owned(),
            Layer::Service | Layer::Binary if !["fuzz", "sim"].contains(&&*package.name) => {
                format!("services/{}", package.name)
            }
            _ => format!("crates/{}", package.name),
        };
        assert_eq!(package.folder, expected);
    }
}
