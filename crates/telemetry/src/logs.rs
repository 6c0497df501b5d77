//! The log subscriber of the process: one line per event on standard error.
//!
//! Both forms carry the time as RFC 3339 in UTC with milliseconds, the level, the target, the message and the
//! event's fields; in JSON the fields stand flat beside the others.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level filter cannot be read.
    #[error("log filter {filter:?} is not valid: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: filter::ParseError,
    },
    /// The process has a log subscriber already; it has only one, for its whole life.
    #[error("logs are already set up")]
    AlreadySet,
    /// Not the name of a log format.
    #[error("log format {0:?} is neither \"json\" nor \"text\"")]
    Format(String),
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object a line, for collectors.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// [`Self::Text`] when standard error is a terminal, else [`Self::Json`].
    pub fn for_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(Error::Format(name.to_owned())),
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Directives of `tracing_subscriber::EnvFilter`: a level, or `target=level` parts parted by commas.
    pub filter: String,
    /// How a line looks.
    pub format: Format,
}

impl Default for LogOptions {
    /// Level `info`; the format that suits standard error.
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::for_stderr() }
    }
}

/// Whether a filter is one, without setting anything up.
///
/// # Errors
/// The filter is not valid.
pub fn check_filter(filter: &str) -> Result<(), Error> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    let parsed = EnvFilter::builder().parse(filter);
    parsed.map_err(|reason| Error::Filter { filter: filter.to_owned(), reason })
}

/// Sends the process's events to standard error. What cannot be written there (closed, or its reader gone)
/// is dropped without a word: a broker outlives its log collector.
///
/// # Errors
/// The filter is not valid, or logs were set up before.
pub fn init(options: &LogOptions) -> Result<(), Error> {
    let colours = io::stderr().is_terminal();
    let subscriber = subscriber(options, io::stderr, colours)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::AlreadySet)
}

fn subscriber<W>(
    options: &LogOptions,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parse(&options.filter)?;
    // Internal errors would be reported with `eprintln!`, which panics when standard error is closed.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_timer(UtcMillis)
        .log_internal_errors(false);
    Ok(match options.format {
        Format::Json => Box::new(builder.json().flatten_event(true).with_span_list(false).finish()),
        Format::Text => Box::new(builder.with_ansi(colours).finish()),
    })
}

/// RFC 3339 in UTC with milliseconds.
struct UtcMillis;

impl FormatTime for UtcMillis {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, "{:.3}", jiff::Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Collected {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Refuses every write, as a pipe whose reader is gone.
    struct Broken;

    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn logged(options: &LogOptions, log: impl FnOnce()) -> String {
        let collected = Collected::default();
        let writer = collected.clone();
        let subscriber = subscriber(options, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = collected.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn options(filter: &str, format: Format) -> LogOptions {
        LogOptions { filter: filter.to_owned(), format }
    }

    #[test]
    fn json_lines_carry_flat_fields_and_the_time_in_utc() {
        let text = logged(&options("info", Format::Json), || {
            tracing::info!(client = "lamp", count = 3, "connected");
            tracing::debug!("not at this level");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["client"], "lamp");
        assert_eq!(line["count"], 3);
        assert_eq!(line["message"], "connected");
        assert_eq!(line["level"], "INFO");
        let time = line["timestamp"].as_str().unwrap();
        assert_eq!(time.len(), "2026-01-02T03:04:05.678Z".len(), "{time}");
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn text_is_for_people_and_filters_by_target() {
        let text = logged(&options("off,here=debug", Format::Text), || {
            tracing::debug!(target: "here", topic = "a/b", "seen");
            tracing::error!(target: "there", "not seen");
        });
        assert!(text.contains("DEBUG here: seen topic=\"a/b\""), "{text}");
        assert!(!text.contains("not seen"));
    }

    #[test]
    fn a_broken_standard_error_is_ignored() {
        let subscriber = subscriber(&LogOptions::default(), || Broken, false).unwrap();
        tracing::subscriber::with_default(subscriber, || tracing::error!("nobody reads this"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let Err(error) = subscriber(&options("a=loud", Format::Json), io::sink, false) else {
            panic!("accepted");
        };
        assert!(error.to_string().starts_with("log filter \"a=loud\" is not valid"), "{error}");
        assert!(matches!("xml".parse::<Format>(), Err(Error::Format(name)) if name == "xml"));
        assert_eq!("text".parse::<Format>().unwrap(), Format::Text);
    }

    #[test]
    fn the_second_set_up_is_refused() {
        let off = options("off", Format::Json);
        // Whichever test came first, one of two calls is the second.
        let _ = init(&off);
        assert!(matches!(init(&off), Err(Error::AlreadySet)));
    }
}
