//! Bytes of an MP4 file in; what its edit lists leave of each track out, which symphonia does not read.
//! An encoder's delay is cut away by them. Allocates nothing by what a length claims; what makes no sense is no edit.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What is to be heard of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edit {
    pub(super) track: u32,
    /// Seconds at the beginning that are not.
    pub(super) skip: f64,
    /// Seconds after them that are; `None` for all.
    pub(super) keep: Option<f64>,
}

/// The edits of the tracks, as far as the bytes go.
pub(super) fn edits(file: &[u8]) -> Vec<Edit> {
    let Some(movie) = child(file, b"moov") else {
        return Vec::new();
    };
    let Some(scale) = child(movie, b"mvhd").and_then(timescale) else {
        return Vec::new();
    };
    boxes(movie)
        .filter(|(name, _)| name == b"trak")
        .filter_map(|(_, track)| edit(track, scale))
        .collect()
}

fn edit(track: &[u8], movie_scale: f64) -> Option<Edit> {
    let header = child(track, b"tkhd")?;
    let id = u32_at(header, if header.first() == Some(&1) { 20 } else { 12 })?;
    let media_scale = timescale(child(child(track, b"mdia")?, b"mdhd")?)?;
    let list = child(child(track, b"edts")?, b"elst")?;
    let long = list.first() == Some(&1);
    let size = if long { 20 } else { 12 };
    // An entry without media (its time is -1) is a pause; nothing is to be cut for it.
    let mut entries = list.get(8..)?.chunks_exact(size).filter_map(|entry| {
        let (duration, time) = if long {
            (u64_at(entry, 0)?, u64_at(entry, 8)? as i64)
        } else {
            (u64::from(u32_at(entry, 0)?), i64::from(u32_at(entry, 4)? as i32))
        };
        (time >= 0).then_some((duration, time))
    });
    let (duration, time) = entries.next()?;
    let one = entries.next().is_none();
    Some(Edit {
        track: id,
        skip: time as f64 / media_scale,
        keep: (one && duration > 0).then(|| duration as f64 / movie_scale),
    })
}

/// Units a second, of `mvhd` or `mdhd`, which are alike so far.
fn timescale(header: &[u8]) -> Option<f64> {
    let scale = u32_at(header, if header.first() == Some(&1) { 20 } else { 12 })?;
    (scale > 0).then(|| f64::from(scale))
}

/// The names and bodies of the boxes in `bytes`; the last one may be cut short.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let name = *bytes.get(4..)?.first_chunk::<4>()?;
        let (header, length) = match u32_at(bytes, 0)? {
            0 => (8, u64::MAX),
            1 => (16, u64_at(bytes, 8)?),
            length => (8, u64::from(length)),
        };
        let end = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
        let body = bytes.get(header..end)?;
        bytes = &bytes[end..];
        Some((name, body))
    })
}

fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes)
        .find(|(found, _)| found == name)
        .map(|(_, body)| body)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
}

/// Watches the boxes of a file go by: a file of fragments ends with a whole one.
#[derive(Default)]
pub(super) struct Boxes {
    /// The header of the box in hand, as far as it has come.
    header: Vec<u8>,
    /// Bytes of its body that are still to come.
    body: u64,
}

impl Boxes {
    /// Whether the bytes so far end with a box.
    pub(super) fn whole(&self) -> bool {
        self.body == 0 && self.header.is_empty()
    }

    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.body > 0 {
                let passed = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
                self.body -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            self.header.push(byte);
            bytes = rest;
            self.body = match (
                self.header.len(),
                u32_at(&self.header, 0),
                u64_at(&self.header, 8),
            ) {
                (8, Some(length), _) if length != 1 => u64::from(length).saturating_sub(8),
                (16, _, Some(length)) => length.saturating_sub(16),
                _ => continue,
            };
            self.header.clear();
        }
    }
}

/// A reader that keeps what it reads, until [`Kept::take`]: the index, which comes before the samples.
pub(super) struct Recorder<R> {
    inner: R,
    kept: Kept,
    boxes: Boxes,
    whole: Arc<AtomicBool>,
}

/// What a [`Recorder`] has read.
#[derive(Clone)]
pub(super) struct Kept(Arc<Mutex<Option<Vec<u8>>>>);

impl Kept {
    /// Takes it; nothing more is kept.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .ok()
            .and_then(|mut kept| kept.take())
            .unwrap_or_default()
    }
}

impl<R: Read> Recorder<R> {
    /// The flag is true while the bytes so far end with a box.
    pub(super) fn new(inner: R) -> (Self, Kept, Arc<AtomicBool>) {
        let kept = Kept(Arc::new(Mutex::new(Some(Vec::new()))));
        let whole = Arc::new(AtomicBool::new(false));
        let recorder = Recorder {
            inner,
            kept: kept.clone(),
            boxes: Boxes::default(),
            whole: whole.clone(),
        };
        (recorder, kept, whole)
    }
}

impl<R: Read> Read for Recorder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.boxes.see(&out[..n]);
        self.whole.store(self.boxes.whole(), Ordering::Relaxed);
        if let Ok(mut kept) = self.kept.0.lock()
            && let Some(kept) = kept.as_mut()
        {
            kept.extend_from_slice(&out[..n]);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], name, body].concat()
    }

    /// A movie of one track: 1000 units a second, 16 000 in the track, whose list has these entries.
    fn movie(entries: &[(u32, i32)]) -> Vec<u8> {
        let header = |scale: u32| [&[0; 12][..], &scale.to_be_bytes(), &[0; 8]].concat();
        let mut list = [[0; 4], (entries.len() as u32).to_be_bytes()].concat();
        for (duration, time) in entries {
            list.extend(duration.to_be_bytes());
            list.extend(time.to_be_bytes());
            list.extend([0, 1, 0, 0]);
        }
        let track = [
            boxed(b"tkhd", &header(7)),
            boxed(b"edts", &boxed(b"elst", &list)),
            boxed(b"mdia", &boxed(b"mdhd", &header(16_000))),
        ];
        let movie = [boxed(b"mvhd", &header(1000)), boxed(b"trak", &track.concat())];
        [boxed(b"ftyp", b"M4A "), boxed(b"moov", &movie.concat())].concat()
    }

    #[test]
    fn an_edit_says_what_is_to_be_heard() {
        let edit = |skip, keep| vec![Edit { track: 7, skip, keep }];
        assert_eq!(edits(&movie(&[(1200, 1024)])), edit(0.064, Some(1.2)));
        assert_eq!(edits(&movie(&[(500, -1), (1200, 1024)])), edit(0.064, Some(1.2)));
        assert_eq!(edits(&movie(&[(0, 1024)])), edit(0.064, None));
        assert_eq!(edits(&movie(&[(1000, 1600), (1000, 32_000)])), edit(0.1, None));
        assert_eq!(edits(&movie(&[])), []);
        let file = movie(&[(1200, 1024)]);
        for end in 0..file.len() {
            assert!(edits(&file[..end]).len() <= 1);
        }
    }

    #[test]
    fn only_the_end_of_a_box_is_an_end() {
        let long = [&[0, 0, 0, 1][..], b"mdat", &20u64.to_be_bytes(), b"abcd"].concat();
        let file = [boxed(b"moof", b"abc"), long].concat();
        for end in 0..=file.len() {
            for piece in [1, 5, 100] {
                let mut boxes = Boxes::default();
                file[..end].chunks(piece).for_each(|piece| boxes.see(piece));
                assert_eq!(
                    boxes.whole(),
                    [0, 11, file.len()].contains(&end),
                    "{end} by {piece}"
                );
            }
        }
    }
}
