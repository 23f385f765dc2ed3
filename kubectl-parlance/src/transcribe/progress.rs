//! How far a transcription is, on standard error; nothing where that is no terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two turns of the wheel.
const TICK: Duration = Duration::from_millis(120);

/// A line that tells how far one file is.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    name: String,
    quiet: bool,
}

impl Progress {
    /// The line of a file.
    pub fn of(name: &str, quiet: bool) -> Progress {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        Progress {
            bar: ProgressBar::with_draw_target(None, target).with_style(style("{msg}")),
            name: name.to_owned(),
            quiet,
        }
    }

    /// The upload begins, from its first byte.
    pub fn sends(&self, bytes: u64) {
        self.bar.disable_steady_tick();
        self.bar.reset();
        self.bar.set_length(bytes);
        self.bar.set_message(format!("{}: sending", self.name));
        self.bar.set_style(style(
            "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}",
        ));
    }

    /// More bytes are on their way.
    pub fn sent(&self, bytes: u64) {
        self.bar.inc(bytes);
        if Some(self.bar.position()) == self.bar.length() {
            self.bar.set_style(style("{spinner} {msg}"));
            self.bar
                .set_message(format!("{}: sent, waiting for words", self.name));
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// So many seconds of audio are transcribed, since `began`.
    pub fn heard(&self, seconds: f64, began: Instant) {
        let audio = clock(seconds);
        let speed = seconds / began.elapsed().as_secs_f64().max(1e-3);
        let text = format!(
            "{}: transcribed {audio} of audio, {speed:.1} times as fast as it was spoken",
            self.name
        );
        self.bar.set_message(text);
    }

    /// A sentence above the line.
    pub fn tell(&self, sentence: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{}: {sentence}", self.name));
        }
    }

    /// The line goes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are our own: what cannot be read would show as the usual bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Seconds as `m:ss`, or `h:mm:ss` from an hour on.
pub fn clock(seconds: f64) -> String {
    let all = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_read_like_a_clock() {
        assert_eq!(
            [clock(5.9), clock(65.0), clock(3725.0)],
            ["0:05", "1:05", "1:02:05"]
        );
    }
}
