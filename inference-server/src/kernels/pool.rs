//! The threads that products are shared out to. Where the kernel lets this process have as many processors as there are threads, and
//! no more, each thread stays on one of them; with a quota of many processors' time none is, or it would wait for its own while
//! another is idle.

use rayon::{
    ThreadPool, ThreadPoolBuilder,
    iter::{IntoParallelIterator, ParallelIterator},
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A fixed number of threads; none of its own for one.
pub struct Pool {
    threads: usize,
    pool: Option<ThreadPool>,
}

impl Pool {
    /// A pool of so many threads, at least one.
    pub fn new(threads: usize) -> Pool {
        let build = || {
            ThreadPoolBuilder::new()
                .num_threads(threads)
                .start_handler(move |i| stay(i, threads))
                .thread_name(|i| format!("kernel-{i}"))
                .build()
        };
        // Without threads of its own it still works, on the caller's.
        let pool = if threads > 1 { build().ok() } else { None };
        Pool {
            threads: pool.as_ref().map_or(1, |_| threads),
            pool,
        }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Does something on one of the threads, from where [`Pool::each`] reaches the others without waking them one by one.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Does something with each of some things, which come with their number.
    pub fn share<T: Send>(
        &self,
        things: impl Iterator<Item = T>,
        worth: bool,
        work: impl Fn(usize, T) + Sync + Send,
    ) {
        let all: Vec<(usize, T)> = things.enumerate().collect();
        match &self.pool {
            Some(pool) if worth && all.len() > 1 => {
                pool.install(|| all.into_par_iter().for_each(|(i, thing)| work(i, thing)));
            }
            _ => all.into_iter().for_each(|(i, thing)| work(i, thing)),
        }
    }

    /// Does `tasks` pieces of work, in any order; on the caller's thread alone where they are not `worth` sharing.
    pub fn each(&self, tasks: usize, worth: bool, work: impl Fn(usize) + Sync + Send) {
        match &self.pool {
            Some(pool) if worth && tasks > 1 => pool.install(|| (0..tasks).into_par_iter().for_each(work)),
            _ => (0..tasks).for_each(work),
        }
    }
}

/// Keeps this thread on the processor of its number.
fn stay(number: usize, threads: usize) {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    if processors.len() == threads {
        let mut mine = CpuSet::new();
        mine.set(processors[number]);
        // Without it the thread only moves about.
        let _ = sched_setaffinity(None, &mine);
    }
}
