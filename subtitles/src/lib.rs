//! Cues in; SubRip or WebVTT out. Pure. The server and the kubectl plugin both write subtitles, and must write the same.

use std::{fmt::Write, time::Duration};

/// Text that is shown for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cue<'a> {
    /// When it appears, since the beginning.
    pub start: Duration,
    /// When it goes.
    pub end: Duration,
    /// What is shown; runs of blanks count as one.
    pub text: &'a str,
    /// Who says it, where each channel is transcribed by itself; from 1.
    pub channel: Option<u16>,
}

/// SubRip: numbered cues, each with an empty line after it.
pub fn srt<'a>(cues: impl IntoIterator<Item = Cue<'a>>) -> String {
    let mut out = String::new();
    for (number, cue) in (1..).zip(cues) {
        let (start, end) = (stamp(cue.start, ','), stamp(cue.end, ','));
        let _ = write!(out, "{number}\n{start} --> {end}\n{}\n\n", one_line(cue.text));
    }
    out
}

/// WebVTT: a header, and cues with what is markup there escaped.
pub fn vtt<'a>(cues: impl IntoIterator<Item = Cue<'a>>) -> String {
    let mut out = "WEBVTT\n\n".to_owned();
    for cue in cues {
        let (start, end) = (stamp(cue.start, '.'), stamp(cue.end, '.'));
        let text = one_line(cue.text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let voice = cue.channel.map(|channel| format!("<v Channel {channel}>"));
        let voice = voice.unwrap_or_default();
        let _ = write!(out, "{start} --> {end}\n{voice}{text}\n\n");
    }
    out
}

/// An arrow or an empty line within a cue would end it.
fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("-->", "->")
}

/// `hh:mm:ss` and milliseconds after the separator; hours grow as they must.
fn stamp(time: Duration, separator: char) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    format!(
        "{:02}:{:02}:{:02}{separator}{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUES: [Cue<'static>; 2] = [
        Cue {
            start: Duration::from_millis(200),
            end: Duration::from_millis(1500),
            text: " Seven\n\n--> one.",
            channel: None,
        },
        Cue {
            start: Duration::from_millis(3_600_000),
            end: Duration::from_millis(3_661_004),
            text: "R&D <b>",
            channel: Some(2),
        },
    ];

    #[test]
    fn cues_have_their_stamps_and_escapes() {
        assert_eq!(
            srt(CUES),
            "1\n00:00:00,200 --> 00:00:01,500\nSeven -> one.\n\n2\n01:00:00,000 --> 01:01:01,004\nR&D <b>\n\n"
        );
        assert_eq!(
            vtt(CUES),
            "WEBVTT\n\n00:00:00.200 --> 00:00:01.500\nSeven -&gt; one.\n\n\
             01:00:00.000 --> 01:01:01.004\n<v Channel 2>R&amp;D &lt;b&gt;\n\n"
        );
    }

    #[test]
    fn no_cues_are_an_empty_file() {
        assert_eq!((srt([]), vtt([])), (String::new(), "WEBVTT\n\n".to_owned()));
    }
}
