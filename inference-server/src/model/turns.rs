//! Requests of many threads to one decoder: what comes while it runs goes into the next run together. Nobody waits for others to
//! come.
//!
//! Source: flat combining (Hendler et al., 2010), here with runs of a decoder for the operations.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{
    graph::one_line,
    whisper::{Reply, Request, Whisper},
};

/// Most tokens of a run, unless one request has more.
const MOST: usize = 64;

/// A decoder and those who wait for it.
pub(crate) struct Turns {
    whisper: Whisper,
    state: Mutex<State>,
    changed: Condvar,
    watcher: OnceLock<Box<dyn Fn(usize) + Send + Sync>>,
}

#[derive(Default)]
struct State {
    running: bool,
    tickets: u64,
    waiting: Vec<(u64, Vec<Request>)>,
    done: Vec<(u64, Result<Vec<Reply>, String>)>,
}

/// Ends a run even when it panics: whoever waited for it is told.
struct Run<'t> {
    turns: &'t Turns,
    tickets: Vec<u64>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.running = false;
        for ticket in self.tickets.drain(..) {
            state
                .done
                .push((ticket, Err("the run of the decoder broke off".to_owned())));
        }
        self.turns.changed.notify_all();
    }
}

impl Turns {
    pub(crate) fn new(whisper: Whisper) -> Turns {
        Turns {
            whisper,
            state: Mutex::default(),
            changed: Condvar::new(),
            watcher: OnceLock::new(),
        }
    }

    /// The decoder's model.
    pub(crate) fn whisper(&self) -> &Whisper {
        &self.whisper
    }

    /// Has the number of sequences of each run told; the first watcher stays.
    pub(crate) fn watch(&self, watcher: impl Fn(usize) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// Has the requests read, with those of others if there are any. Fails with the engine's reason.
    pub(crate) fn read(&self, requests: Vec<Request>) -> Result<Vec<Reply>, String> {
        // Before they wait: others are not to fail with them.
        requests
            .iter()
            .try_for_each(|request| self.whisper.check(request))?;
        let mut state = self.state();
        let ticket = state.tickets;
        state.tickets += 1;
        state.waiting.push((ticket, requests));
        loop {
            if let Some(at) = state.done.iter().position(|(done, _)| *done == ticket) {
                return state.done.swap_remove(at).1;
            }
            if state.running {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let some = state.next();
            state.running = true;
            drop(state);
            self.run(some);
            state = self.state();
        }
    }

    fn run(&self, some: Vec<(u64, Vec<Request>)>) {
        let mut run = Run {
            turns: self,
            tickets: some.iter().map(|(ticket, _)| *ticket).collect(),
        };
        let counts: Vec<usize> = some.iter().map(|(_, requests)| requests.len()).collect();
        let all: Vec<Request> = some.into_iter().flat_map(|(_, requests)| requests).collect();
        if let Some(watcher) = self.watcher.get() {
            watcher(all.len());
        }
        let replies = self.whisper.read(all).map_err(|error| one_line(&error));
        let mut state = self.state();
        match replies {
            Ok(replies) => {
                let mut replies = replies.into_iter();
                for (ticket, count) in run.tickets.drain(..).zip(counts) {
                    state
                        .done
                        .push((ticket, Ok(replies.by_ref().take(count).collect())));
                }
            }
            Err(error) => {
                for ticket in run.tickets.drain(..) {
                    state.done.push((ticket, Err(error.clone())));
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those who come next, first come first served: as many as fit into a run.
    fn next(&mut self) -> Vec<(u64, Vec<Request>)> {
        let mut tokens = 0;
        let fits = |(_, requests): &&(u64, Vec<Request>)| {
            let before = tokens;
            tokens += requests.iter().map(|request| request.tokens.len()).sum::<usize>();
            before == 0 || tokens <= MOST
        };
        let count = self.waiting.iter().take_while(fits).count();
        self.waiting.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
    };

    use super::*;
    use crate::{
        bundled,
        encoder::{self, States},
        features::LogMel,
        kernels::turn::Memories,
        model::{Engine, Model},
    };

    fn model() -> Model {
        Model::load(&bundled::find("whisper-nano-digits").unwrap(), 1).unwrap()
    }

    fn turns(model: &Model) -> &Turns {
        match &model.engine {
            Engine::Own(turns) => turns,
            Engine::Exported(_) => panic!("the bundled model's weights were not found"),
        }
    }

    fn window(model: &Model, value: f32) -> Arc<Memories> {
        let features = LogMel {
            bins: 80,
            frames: 3000,
            values: vec![value; 80 * 3000],
        };
        match encoder::encode(model, &features).unwrap().0 {
            States::Own(_, memories) => memories,
            States::Exported(_) => unreachable!(),
        }
    }

    fn request(turns: &Turns, memories: &Arc<Memories>, tokens: &[u32]) -> Request {
        Request {
            cache: turns.whisper().cache(),
            memories: memories.clone(),
            tokens: tokens.to_vec(),
            wanted: vec![tokens.len() - 1],
            watch: false,
        }
    }

    fn until(holds: impl Fn() -> bool) {
        while !holds() {
            thread::yield_now();
        }
    }

    #[test]
    fn what_comes_during_a_run_is_read_in_the_next_together_and_as_if_it_were_alone() {
        let (model, alone) = (model(), model());
        let (turns, alone) = (turns(&model), turns(&alone));
        let windows = [window(&model, 0.0), window(&model, 0.5)];
        let asked: [(usize, &[u32]); 4] = [(0, &[1, 2]), (1, &[3]), (0, &[4, 5, 6]), (1, &[2, 1])];
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (go, gate) = mpsc::channel();
        let (told, gate) = (sizes.clone(), Mutex::new(Some(gate)));
        turns.watch(move |size| {
            told.lock().unwrap().push(size);
            let gate = gate.lock().unwrap().take();
            gate.inspect(|gate| gate.recv().unwrap());
        });
        thread::scope(|scope| {
            let ask = |(window, tokens): (usize, &'static [u32])| {
                let request = || request(alone, &windows[window], tokens);
                let expected = alone.read(vec![request()]).unwrap().remove(0).scores;
                let reply = turns.read(vec![request()]).unwrap().remove(0);
                assert_eq!(reply.cache.length(), tokens.len());
                assert_eq!(reply.scores, expected, "{tokens:?}");
            };
            let (first, others) = asked.split_at(1);
            scope.spawn(move || ask(first[0]));
            until(|| turns.state().running);
            for other in others {
                scope.spawn(move || ask(*other));
            }
            until(|| turns.state().waiting.len() == others.len());
            go.send(()).unwrap();
        });
        assert_eq!(*sizes.lock().unwrap(), [1, 3]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_a_run_that_panics_keeps_nobody_waiting() {
        let model = model();
        let (turns, window) = (turns(&model), window(&model, 0.0));
        let read = |tokens: &[u32]| turns.read(vec![request(turns, &window, tokens)]);
        let places = model.config.sizes.decoder_positions;
        assert!(read(&vec![1; places]).is_ok());
        let error = read(&vec![1; places + 1]).err().unwrap();
        assert!(error.contains("it holds 448 places"), "{error}");
        let error = read(&[u32::MAX]).err().unwrap();
        assert!(error.contains("token 4294967295"), "{error}");
        assert_eq!(turns.state().tickets, 1, "what cannot be read is in nobody's run");

        let panics = AtomicBool::new(true);
        turns.watch(move |_| assert!(!panics.swap(false, Ordering::Relaxed), "once"));
        assert!(catch_unwind(AssertUnwindSafe(|| read(&[1]))).is_err());
        assert!(read(&[1]).is_ok(), "the next one is not kept waiting");
    }
}
