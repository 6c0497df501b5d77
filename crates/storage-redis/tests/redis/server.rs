//! A real Redis for one test: its own process, directory and socket; killed and started again at will.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A port of this machine that nobody listens on.
pub(crate) fn free_port() -> String {
    // Below the ports that outgoing connections get (from 32768 on): what is free now is not taken by one of another test's
    // before the server binds it. Each process looks at ports of its own.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 32;
        let port = 10_240 + (std::process::id() * 32 + number) % 20_480;
        if std::net::TcpListener::bind(("127.0.0.1", port as u16)).is_ok() {
            return port.to_string();
        }
    }
}

/// Names a server with WAITAOF, Redis 7.2 or Valkey, to tests that need one: `make test` does.
const NEWER: &str = "VALKEY_SERVER";

/// One `redis-server`.
pub(crate) struct Server {
    program: String,
    dir: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with an append-only file that is written with every command, and further settings.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::of("redis-server", settings)
    }

    /// The same of a server with WAITAOF; `None` where the environment names none.
    #[expect(clippy::print_stdout, reason = "who runs the tests is told that this one had no server")]
    pub(crate) fn newer(settings: &[&str]) -> Option<Self> {
        let program = std::env::var(NEWER).ok().filter(|program| !program.is_empty());
        if program.is_none() {
            println!("{NEWER} names no server with WAITAOF: nothing is tested");
        }
        Some(Self::of(&program?, settings))
    }

    fn of(program: &str, settings: &[&str]) -> Self {
        let program = program.to_owned();
        let dir = tempfile::tempdir().expect("a directory");
        let arguments = settings.iter().map(|word| (*word).to_owned()).collect();
        let mut server = Self { program, dir, arguments, child: None };
        server.restart();
        server
    }

    /// The address for the store.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends the process as a power failure of its own would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// Starts it again on the same data and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.socket());
        let child = Command::new(&self.program)
            .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (Debian: apt-get install redis-server)");
        self.child = Some(child);
        let loaded = |server: &Self| server.try_command(&["PING"]).is_ok();
        self.until("answers", loaded);
    }

    /// Stops or continues the process.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let status = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// One command, which must be accepted.
    pub(crate) fn command(&self, words: &[&str]) -> redis::Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(DEADLINE)?;
        let (name, arguments) = words.split_first().expect("a command");
        redis::cmd(name).arg(arguments).query(&mut connection)
    }

    /// Waits until `condition` holds.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < DEADLINE, "Redis never {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }
}

/// One sentinel that watches a primary and fails over when it is away.
pub(crate) struct Sentinel {
    _dir: tempfile::TempDir,
    port: String,
    child: Child,
}

impl Sentinel {
    /// Watches the primary at a port of this machine, under the name `main`.
    pub(crate) fn of(primary: &str, port: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            format!("sentinel monitor main 127.0.0.1 {primary} 1"),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 2000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).expect("written");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server is installed");
        Self { _dir: dir, port: port.to_owned(), child }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The address for the store: the primary by the sentinel's word.
    pub(crate) fn address(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.port)
    }

    /// Whether it knows so many replicas of its primary.
    pub(crate) fn knows_replicas(&self, count: usize) -> bool {
        let replicas = || {
            let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(DEADLINE)?;
            redis::cmd("SENTINEL").arg("REPLICAS").arg("main").query::<Vec<redis::Value>>(&mut connection)
        };
        replicas().is_ok_and(|replicas| replicas.len() == count)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
