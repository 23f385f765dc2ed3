//! Bytes of an Ogg file pass through; whether they end with a page, and not in the middle of one, is seen.
//! Recordings that were cut off between two pages (of a radio, of a stream) are whole; uploads that broke off are not.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Bytes of a page's header before the table of its segments.
const HEADER: usize = 27;

/// A reader that watches the pages go by.
pub(super) struct Pages<R> {
    inner: R,
    /// The header of the page in hand, as far as it has come.
    header: Vec<u8>,
    /// Bytes of its body that are still to come.
    body: usize,
    whole: Arc<AtomicBool>,
}

impl<R: Read> Pages<R> {
    /// The flag is true while the bytes so far end with a page.
    pub(super) fn new(inner: R) -> (Self, Arc<AtomicBool>) {
        let whole = Arc::new(AtomicBool::new(false));
        let pages = Pages {
            inner,
            header: Vec::new(),
            body: 0,
            whole: whole.clone(),
        };
        (pages, whole)
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.body.min(bytes.len());
            self.body -= passed;
            bytes = &bytes[passed..];
            while self.body == 0
                && let Some((&byte, rest)) = bytes.split_first()
            {
                bytes = rest;
                self.header.push(byte);
                self.end_header();
            }
        }
        let whole = self.body == 0 && self.header.is_empty();
        self.whole.store(whole, Ordering::Relaxed);
    }

    /// A complete header says how long the body is; what is no header is skipped byte by byte, as the decoder does.
    fn end_header(&mut self) {
        if !b"OggS".starts_with(&self.header[..self.header.len().min(4)]) {
            self.header.remove(0);
            return;
        }
        let segments = self.header.get(HEADER - 1).map(|&n| usize::from(n));
        if let Some(segments) = segments
            && self.header.len() == HEADER + segments
        {
            self.body = self.header[HEADER..].iter().map(|&n| usize::from(n)).sum();
            self.header.clear();
        }
    }
}

impl<R: Read> Read for Pages<R> {
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
    fn only_the_end_of_a_page_is_an_end() {
        let mut page = b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x03\x02".to_vec();
        page.extend(b"abcde");
        let two = [&page[..], &page[..]].concat();
        for end in 0..=two.len() {
            for piece in [1, 7, 100] {
                let (mut pages, whole) = Pages::new(io::empty());
                two[..end].chunks(piece).for_each(|piece| pages.see(piece));
                let at_end = end == page.len() || end == two.len();
                assert_eq!(whole.load(Ordering::Relaxed), at_end, "{end} by {piece}");
            }
        }
    }
}
