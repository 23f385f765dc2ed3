//! What is there, and what is kept of it, in; what is still to be done out. Pure.

use std::{collections::HashMap, time::SystemTime};

use super::names::{self, Output, Shard};
use crate::render::Format;

/// A file of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the place.
    pub name: String,
    /// When it was last written.
    pub changed: SystemTime,
}

/// What is kept of the recordings of a shard, by their names.
#[derive(Debug)]
pub struct Kept {
    shard: Shard,
    formats: Vec<Format>,
    of: HashMap<String, Files>,
}

/// What is kept of one recording.
#[derive(Clone, Copy, Debug)]
struct Files {
    /// Transcripts of those that are asked for.
    transcripts: usize,
    /// When the oldest of them was written.
    oldest: SystemTime,
    complaint: bool,
}

/// A recording that has no transcripts yet, or older ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Todo {
    /// Its name.
    pub name: String,
    /// Whether an earlier run left a complaint about it.
    pub complained: bool,
}

/// What a run has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of their names, once it is whole.
    pub todo: Vec<Todo>,
    /// Recordings that have their transcripts.
    pub skipped: usize,
}

impl Kept {
    /// Nothing yet. The formats are each there once.
    pub fn new(shard: Shard, formats: &[Format]) -> Kept {
        Kept {
            shard,
            formats: formats.to_vec(),
            of: HashMap::new(),
        }
    }

    /// A file that is there already; others than transcripts and complaints are passed over.
    pub fn see(&mut self, entry: &Entry) {
        let Some((recording, output)) = names::kept_of(&entry.name) else {
            return;
        };
        let asked = match output {
            Output::Transcript(format) => self.formats.contains(&format),
            Output::Complaint => true,
        };
        if !asked || !self.shard.has(recording) {
            return;
        }
        let files = self.of.entry(recording.to_owned()).or_insert(Files {
            transcripts: 0,
            oldest: entry.changed,
            complaint: false,
        });
        match output {
            Output::Complaint => files.complaint = true,
            Output::Transcript(_) if files.transcripts == 0 => {
                files.transcripts = 1;
                files.oldest = entry.changed;
            }
            Output::Transcript(_) => {
                files.transcripts += 1;
                files.oldest = files.oldest.min(entry.changed);
            }
        }
    }

    /// Adds a recording of the shard to the plan: it is skipped when all its transcripts are there, and none was written before it.
    pub fn judge(&self, recording: Entry, plan: &mut Plan) {
        let files = self.of.get(&recording.name);
        let done = files.is_some_and(|files| {
            files.transcripts == self.formats.len() && files.oldest >= recording.changed
        });
        if done {
            plan.skipped += 1;
            return;
        }
        plan.todo.push(Todo {
            name: recording.name,
            complained: files.is_some_and(|files| files.complaint),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: Shard = Shard { index: 0, count: 1 };

    fn entry(name: &str, second: u64) -> Entry {
        Entry {
            name: name.to_owned(),
            changed: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        }
    }

    fn plan(formats: &[Format], kept: &[(&str, u64)], recording: (&str, u64)) -> Plan {
        let mut all = Kept::new(ONE, formats);
        for (name, second) in kept {
            all.see(&entry(name, *second));
        }
        let mut plan = Plan::default();
        all.judge(entry(recording.0, recording.1), &mut plan);
        plan
    }

    fn todo(complained: bool) -> Plan {
        Plan {
            todo: vec![Todo {
                name: "a.wav".to_owned(),
                complained,
            }],
            skipped: 0,
        }
    }

    #[test]
    fn a_recording_with_all_transcripts_that_are_newer_is_skipped() {
        let both = [Format::Text, Format::Srt];
        let skipped = Plan {
            todo: vec![],
            skipped: 1,
        };
        let recording = ("a.wav", 10);
        assert_eq!(
            plan(&both, &[("a.wav.txt", 11), ("a.wav.srt", 10)], recording),
            skipped
        );
        assert_eq!(
            plan(&both, &[("a.wav.txt", 11)], recording),
            todo(false),
            "one is missing"
        );
        assert_eq!(
            plan(&both, &[("a.wav.txt", 11), ("a.wav.srt", 9)], recording),
            todo(false),
            "the recording is newer than one"
        );
        assert_eq!(
            plan(&both, &[("a.wav.txt", 11), ("a.wav.json", 11)], recording),
            todo(false),
            "another format does not count"
        );
        assert_eq!(
            plan(&both, &[("b.wav.txt", 11), ("b.wav.srt", 11)], recording),
            todo(false)
        );
        assert_eq!(plan(&both, &[], recording), todo(false));
    }

    #[test]
    fn a_complaint_is_remembered_and_is_no_transcript() {
        let text = [Format::Text];
        assert_eq!(plan(&text, &[("a.wav.error.txt", 11)], ("a.wav", 10)), todo(true));
        let kept = [("a.wav.error.txt", 5), ("a.wav.txt", 11)];
        assert_eq!(
            plan(&text, &kept, ("a.wav", 10)).skipped,
            1,
            "its age does not count"
        );
    }

    #[test]
    fn what_is_kept_of_other_shards_takes_no_room() {
        let shard = (0..2)
            .map(|index| Shard { index, count: 2 })
            .find(|shard| !shard.has("a.wav"))
            .unwrap();
        let mut kept = Kept::new(shard, &[Format::Text]);
        kept.see(&entry("a.wav.txt", 1));
        assert!(kept.of.is_empty());
    }
}
