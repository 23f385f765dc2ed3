//! What this process asks of the system's memory beside what its allocator does by itself.
#![allow(unsafe_code)]

use std::{fs::File, io, ops::Range, path::Path, sync::Arc};

use memmap2::Mmap;

/// Bytes of a huge page.
pub(crate) const HUGE: usize = 2 << 20;

/// Huge pages are given to whoever asks for them, and to nobody else: our allocator is built to ask for none, since half of each
/// may lie idle, and has them forbidden to the whole process. Has no effect where the kernel knows no such pages.
pub fn huge_pages_on_request() {
    #[cfg(target_os = "linux")]
    // Sound: it takes numbers, and changes nothing but this.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0);
    }
}

/// Asks for such pages where numbers lie that are long and stay: reading them takes fewer steps. Nothing happens where there are none.
pub(crate) fn ask_for_huge_pages(words: &mut [u32]) {
    #[cfg(target_os = "linux")]
    {
        let bytes = words.as_mut_ptr_range();
        let (begin, end) = (
            (bytes.start as usize).next_multiple_of(HUGE),
            bytes.end as usize / HUGE * HUGE,
        );
        if begin < end {
            let begin = begin as *mut libc::c_void;
            // Sound: whole pages of ours, and what they hold stays the same.
            unsafe { libc::madvise(begin, end - begin as usize, libc::MADV_HUGEPAGE) };
        }
    }
}

/// Has our allocator give back what is freed, which it otherwise keeps for a while: after something that needed much once.
pub fn give_back() {
    // Sound: it may be called at any time, whatever allocates.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// A part of a file, mapped into memory: all processes of a machine that map it share what is read of it.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    file: Arc<Mmap>,
    part: Range<usize>,
}

impl Mapped {
    /// A whole file, in huge pages where its file system has them: one that was written [`HUGE`] bytes at a time lies in such. Nobody may
    /// shorten or change the file as long as it is used; it is to be replaced by another under its name.
    pub(crate) fn open(path: &Path) -> io::Result<Mapped> {
        let file = File::open(path)?;
        // Sound: as long as nobody changes the file, which only whoever owns the model could.
        let file = unsafe { Mmap::map(&file) }?;
        #[cfg(target_os = "linux")]
        let _ = file.advise(memmap2::Advice::HugePage); // small pages do as well
        let part = 0..file.len();
        Ok(Mapped {
            file: Arc::new(file),
            part,
        })
    }

    /// Some of its bytes; nothing where they are not within it.
    pub(crate) fn part(&self, of: Range<usize>) -> Option<Mapped> {
        self.bytes().get(of.clone())?;
        let part = self.part.start + of.start..self.part.start + of.end;
        Some(Mapped {
            file: self.file.clone(),
            part,
        })
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.file[self.part.clone()]
    }

    /// Its bytes as words of the machine; none where they are not whole words at their places.
    pub(crate) fn words(&self) -> &[u32] {
        bytemuck::try_cast_slice(self.bytes()).unwrap_or_default()
    }

    /// Its bytes as numbers, in the same way.
    pub(crate) fn numbers<T: bytemuck::AnyBitPattern>(&self) -> Vec<T> {
        bytemuck::try_cast_slice(self.bytes())
            .unwrap_or_default()
            .to_vec()
    }
}
