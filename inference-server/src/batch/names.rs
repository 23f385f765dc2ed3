//! Names of recordings and of what is kept of them: which are taken, whose turn they are, what their transcripts are called.
//! Pure.
//!
//! A name is a path below the place, with `/` between its parts. Whatever is kept of `a/b.wav` is called `a/b.wav` and a suffix:
//! the whole name stays, so that `b.wav` and `b.mp3` never meet.

use sha2::{Digest as _, Sha256};

use crate::render::Format;

/// What files are called that the server can decode.
pub const EXTENSIONS: [&str; 14] = [
    "aac", "flac", "m4a", "mka", "mkv", "mp3", "mp4", "mpga", "oga", "ogg", "opus", "wav", "weba", "webm",
];

/// After the name of a recording that has no transcript: why.
const COMPLAINT: &str = ".error.txt";

/// What a file beside the transcripts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A transcript.
    Transcript(Format),
    /// Why there is none.
    Complaint,
}

/// Which of several runs at a time this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// How many there are.
    pub count: u64,
}

impl Shard {
    /// Whether a name is this run's: the first eight bytes of its sha256 settle it, whatever else is there.
    pub fn has(self, name: &str) -> bool {
        let digest = Sha256::digest(name.as_bytes());
        let number = digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % self.count.max(1) == self.index
    }
}

/// The extension of a transcript.
pub fn extension(format: Format) -> &'static str {
    match format {
        Format::Text => "txt",
        Format::Json => "json",
        Format::Srt => "srt",
        Format::Vtt => "vtt",
    }
}

/// What a recording's transcript is called.
pub fn transcript(recording: &str, format: Format) -> String {
    format!("{recording}.{}", extension(format))
}

/// What the file is called that says why a recording has no transcript.
pub fn complaint(recording: &str) -> String {
    format!("{recording}{COMPLAINT}")
}

/// The recording that a file is kept of, and as what.
pub fn kept_of(name: &str) -> Option<(&str, Output)> {
    if let Some(recording) = name.strip_suffix(COMPLAINT) {
        return Some((recording, Output::Complaint));
    }
    let (recording, last) = name.rsplit_once('.')?;
    let formats = [Format::Text, Format::Json, Format::Srt, Format::Vtt];
    let format = formats.into_iter().find(|format| extension(*format) == last)?;
    Some((recording, Output::Transcript(format)))
}

/// Whether a name is that of a recording with one of these extensions, and nowhere hidden.
pub fn is_recording(name: &str, extensions: &[String]) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    let hidden = name.split('/').any(|part| part.starts_with('.'));
    let taken = |extension: &str| extensions.iter().any(|one| one.eq_ignore_ascii_case(extension));
    !hidden
        && last
            .rsplit_once('.')
            .is_some_and(|(_, extension)| taken(extension))
}

/// An extension that recordings may have: none that a transcript has, which would be taken for a recording in its turn.
pub fn taken_extension(text: &str) -> Result<String, String> {
    let text = text.trim().trim_start_matches('.').to_ascii_lowercase();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("write letters and digits, such as wav".to_owned());
    }
    match text.as_str() {
        "txt" | "json" | "srt" | "vtt" | "error" => Err(format!("{text} is what transcripts end in")),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<String> {
        EXTENSIONS.map(str::to_owned).to_vec()
    }

    #[test]
    fn recordings_are_told_by_their_extension_and_nothing_hidden_is_one() {
        for name in ["a.wav", "a/b c.MP3", "a.txt.flac", "a.wav/b.ogg", "é.opus"] {
            assert!(is_recording(name, &all()), "{name}");
        }
        for name in [
            "a",
            "wav",
            "a.wav.txt",
            "a.wav/b",
            "a/.b.wav",
            ".a/b.wav",
            "._a.wav",
            "a.wav.error.txt",
            "",
        ] {
            assert!(!is_recording(name, &all()), "{name}");
        }
        assert!(is_recording("a.amr", &["amr".to_owned()]));
    }

    #[test]
    fn what_is_kept_of_a_recording_keeps_its_whole_name() {
        assert_eq!(transcript("a/call.wav", Format::Srt), "a/call.wav.srt");
        assert_ne!(
            transcript("a.wav", Format::Text),
            transcript("a.mp3", Format::Text)
        );
        assert_eq!(complaint("a/call.wav"), "a/call.wav.error.txt");
        assert_eq!(kept_of("a.wav.error.txt"), Some(("a.wav", Output::Complaint)));
        assert_eq!(
            kept_of("a.wav.txt"),
            Some(("a.wav", Output::Transcript(Format::Text)))
        );
        assert_eq!(kept_of("a.wav"), None);
    }

    #[test]
    fn an_extension_of_transcripts_is_none_of_recordings() {
        assert_eq!(taken_extension(" .AMR"), Ok("amr".to_owned()));
        for bad in ["", ".", "txt", "SRT", "error", "a/b", "*"] {
            assert!(taken_extension(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shard_of_a_name_never_changes() {
        let shard = |name: &str| {
            (0..3).find(|index| {
                Shard {
                    index: *index,
                    count: 3,
                }
                .has(name)
            })
        };
        // By `printf %s NAME | sha256sum`, the first 16 digits modulo 3.
        assert_eq!(
            ["a.wav", "b.wav", "sub/dir/call.wav"].map(shard),
            [Some(0), Some(1), Some(1)]
        );
    }

    proptest! {
        #[test]
        fn each_name_has_one_shard(name in "[a-z/é]{0,20}", count in 1_u64..9) {
            let shards = (0..count).filter(|index| Shard { index: *index, count }.has(&name));
            prop_assert_eq!(shards.count(), 1);
        }

        #[test]
        fn no_two_files_are_called_the_same(one in "[a-c./]{0,6}(wav|mp3)", other in "[a-c./]{0,6}(wav|mp3)") {
            let kept = |name: &str| {
                let formats = [Format::Text, Format::Json, Format::Srt, Format::Vtt];
                let mut kept = formats.map(|format| transcript(name, format)).to_vec();
                kept.push(complaint(name));
                kept
            };
            let (mine, theirs) = (kept(&one), kept(&other));
            prop_assert!(one == other || mine.iter().all(|name| !theirs.contains(name)));
            let back = mine.iter().all(|name| kept_of(name).is_some_and(|(recording, _)| recording == one));
            prop_assert!(back);
            prop_assert!(mine.iter().all(|name| !is_recording(name, &all())));
        }
    }
}
