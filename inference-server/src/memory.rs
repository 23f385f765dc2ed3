//! What this process asks of the system's memory beside what its allocator does by itself.
#![allow(unsafe_code)]

/// Bytes of a huge page.
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

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
