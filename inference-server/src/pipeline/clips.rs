//! The parts of a recording that are to be transcribed in; where they begin and end, in samples or frames, out. Pure.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::PipelineError;

/// A part of the audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clip {
    /// From the start of the audio.
    pub start: Duration,
    /// From the start of the audio; `None`: the end of the audio.
    pub end: Option<Duration>,
}

/// Reads a list of seconds, `start,end,start,end,...`, as openai/whisper's `--clip-timestamps`; the last end may be left out.
pub fn clips(text: &str) -> Result<Vec<Clip>, String> {
    let seconds = |text: &str| {
        let number: f64 = text
            .trim()
            .parse()
            .map_err(|_| format!("{text:?} is no number of seconds"))?;
        Duration::try_from_secs_f64(number).map_err(|_| format!("{text} is no time of 0 s or more"))
    };
    if text.trim().is_empty() {
        return Ok(vec![]);
    }
    let times = text.split(',').map(seconds).collect::<Result<Vec<_>, _>>()?;
    let clips = times.chunks(2).map(|pair| Clip {
        start: pair[0],
        end: pair.get(1).copied(),
    });
    Ok(clips.collect())
}

/// Refuses clips that are empty, overlap, or go backwards: audio is heard once, from its beginning to its end.
pub(super) fn check(clips: &[Clip]) -> Result<(), PipelineError> {
    let mut latest = Some(Duration::ZERO);
    for clip in clips {
        let in_order = latest.is_some_and(|latest| clip.start >= latest);
        if !in_order || clip.end.is_some_and(|end| end <= clip.start) {
            let end = clip
                .end
                .map_or_else(|| "the end".to_owned(), |end| format!("{end:?}"));
            return Err(PipelineError::InvalidOptions(format!(
                "a clip from {:?} to {end}: clips must end after they begin, and begin where the one before has ended or later",
                clip.start
            )));
        }
        latest = clip.end;
    }
    Ok(())
}

/// The clips that are still to come, in steps of so many a second.
#[derive(Clone, Debug)]
pub(super) struct Ahead(VecDeque<Range<usize>>);

impl Ahead {
    pub(super) fn new(clips: &[Clip], rate: u32) -> Self {
        let steps = |time: Duration| (time.as_secs_f64() * f64::from(rate)).round_ties_even() as usize;
        let all = Clip::default();
        let clips = if clips.is_empty() {
            std::slice::from_ref(&all)
        } else {
            clips
        };
        let ranges = clips
            .iter()
            .map(|clip| steps(clip.start)..clip.end.map_or(usize::MAX, steps));
        Ahead(ranges.filter(|range| !range.is_empty()).collect())
    }

    /// The clip that a place is in, or the next one after it; `None`: there are no more. Places go forwards.
    pub(super) fn at(&mut self, place: usize) -> Option<Range<usize>> {
        while self.0.front().is_some_and(|clip| clip.end <= place) {
            self.0.pop_front();
        }
        self.0.front().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(start: u64, end: Option<u64>) -> Clip {
        Clip {
            start: Duration::from_secs(start),
            end: end.map(Duration::from_secs),
        }
    }

    #[test]
    fn lists_of_seconds_are_read_as_openai_whisper_reads_them() {
        assert_eq!(clips(""), Ok(vec![]));
        assert_eq!(clips("0"), Ok(vec![clip(0, None)]));
        assert_eq!(clips("1, 3,5"), Ok(vec![clip(1, Some(3)), clip(5, None)]));
        assert_eq!(clips("0.5,1").unwrap()[0].start, Duration::from_millis(500));
        for wrong in ["one", "1,,2", "-1", "NaN"] {
            assert!(clips(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clips_go_forwards() {
        for good in [
            &[][..],
            &[clip(0, None)],
            &[clip(1, Some(2)), clip(2, Some(3)), clip(9, None)],
        ] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for wrong in [
            &[clip(2, Some(2))][..],
            &[clip(3, Some(2))],
            &[clip(0, Some(5)), clip(4, Some(6))],
            &[clip(0, None), clip(4, Some(6))],
        ] {
            let refused = check(wrong).unwrap_err().to_string();
            assert!(refused.starts_with("a clip from "), "{refused}");
        }
    }

    #[test]
    fn the_next_clip_is_the_one_that_has_not_ended() {
        let mut ahead = Ahead::new(&[clip(1, Some(2)), clip(4, None)], 100);
        assert_eq!(ahead.at(0), Some(100..200));
        assert_eq!(ahead.at(199), Some(100..200));
        assert_eq!(ahead.at(200), Some(400..usize::MAX));
        assert_eq!(ahead.at(9000), Some(400..usize::MAX));
        assert_eq!(Ahead::new(&[], 100).at(7), Some(0..usize::MAX));
        assert_eq!(Ahead::new(&[clip(0, Some(1))], 100).at(100), None);
    }
}
