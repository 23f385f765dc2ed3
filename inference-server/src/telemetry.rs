//! A format and a level in; log lines on standard error out. Never writes audio or text of a request.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging and makes panics log lines too. `level` is a word such as `info`, or `tracing` directives.
pub fn init(format: LogFormat, level: &str) -> Result<(), ParseError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, "a thread panicked");
            // A panic's words can quote a text, so they are for those who ask.
            tracing::debug!(words = panic.payload_as_str(), "the panic's words");
        }));
    }
    Ok(())
}

/// A single word is the level of our own lines; libraries only warn.
fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    let level = level.trim();
    if level.contains(['=', ',']) {
        EnvFilter::try_new(level)
    } else {
        EnvFilter::try_new(format!("warn,inference_server={level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_our_own_level_and_directives_are_taken_as_they_are() {
        assert_eq!(
            filter("debug").unwrap().to_string(),
            "inference_server=debug,warn"
        );
        assert_eq!(filter("info,h2=trace").unwrap().to_string(), "h2=trace,info");
        assert!(filter("loud").is_err());
    }
}
