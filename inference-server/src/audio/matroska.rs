//! Bytes of a WebM or Matroska file pass through; whether all of its segment has come is seen.
//! A recording that never got its length filled in (of a browser, of a pipe) ends where its bytes end.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Bytes within which the segment begins; a file that has more before it is not watched.
const HEADER: usize = 1024;

/// A reader that counts the bytes of the segment.
pub(super) struct Segment<R> {
    inner: R,
    /// The beginning, until it says where the segment ends.
    header: Vec<u8>,
    end: Option<u64>,
    passed: u64,
    whole: Arc<AtomicBool>,
}

impl<R: Read> Segment<R> {
    /// The flag is false while bytes are missing.
    pub(super) fn new(inner: R) -> (Self, Arc<AtomicBool>) {
        let whole = Arc::new(AtomicBool::new(true));
        let segment = Segment {
            inner,
            header: Vec::new(),
            end: None,
            passed: 0,
            whole: whole.clone(),
        };
        (segment, whole)
    }

    fn see(&mut self, bytes: &[u8]) {
        self.passed += bytes.len() as u64;
        let room = HEADER.saturating_sub(self.header.len());
        if self.end.is_none() && room > 0 {
            self.header.extend_from_slice(&bytes[..bytes.len().min(room)]);
            self.end = segment_end(&self.header);
        }
        let missing = self.end.is_some_and(|end| self.passed < end);
        self.whole.store(!missing, Ordering::Relaxed);
    }
}

/// Where the segment ends, if the bytes say so: it is the second element of a file.
fn segment_end(file: &[u8]) -> Option<u64> {
    let (size, length) = vint(file.get(4..)?)?;
    let at = usize::try_from(length?).ok()?.checked_add(4 + size)?;
    let segment = file.get(at..)?;
    let (size, length) = vint(segment.strip_prefix(b"\x18\x53\x80\x67")?)?;
    ((at + 4 + size) as u64).checked_add(length?)
}

/// A number of variable size: its size in bytes and its value, which is unknown when all bits are ones.
fn vint(bytes: &[u8]) -> Option<(usize, Option<u64>)> {
    let first = *bytes.first()?;
    let size = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..size)?;
    let value = rest
        .iter()
        .fold(u64::from(first) & (0xff >> size), |value, byte| {
            value << 8 | u64::from(*byte)
        });
    let unknown = (1 << (7 * size)) - 1;
    Some((size, (value != unknown).then_some(value)))
}

impl<R: Read> Read for Segment<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.see(&out[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_known_length_has_an_end() {
        let known = b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x40\x03xyz";
        let unknown = b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xffxyz";
        for (file, missing_at) in [(&known[..], 13..16), (&unknown[..], 0..0)] {
            for end in 0..=file.len() {
                let (mut segment, whole) = Segment::new(io::empty());
                file[..end].chunks(2).for_each(|piece| segment.see(piece));
                assert_eq!(whole.load(Ordering::Relaxed), !missing_at.contains(&end), "{end}");
            }
        }
    }
}
