//! The attention of a decoder, whose rows belong to different sequences: what each has read, and what it listens to, is in the
//! turn at hand, which the graph's operators share.
//!
//! Source of rows of many sequences in one run: Yu et al., "Orca: a distributed serving system for transformer-based generative
//! models" (2022).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tract_onnx::prelude::{TDim, Tensor, TractResult};

use super::{
    attention::{Group, Heads, look_back},
    cache::Cache,
    key_values::{Memory, sizes},
    operators::{Kernel, Machine},
    share::Shared,
    tile::Format,
};

/// Keys and values of what a decoder listens to, by layer.
pub struct Memories {
    /// Number of positions.
    pub positions: usize,
    /// For each layer what `Memorise` made of it, and what it did not fill after that.
    pub layers: Vec<[Arc<Tensor>; 2]>,
}

/// What the rows of one run are.
#[derive(Default)]
pub struct Turn {
    /// For each row its cache, and its token's place in it.
    pub rows: Vec<(usize, usize)>,
    /// What the sequences have read, with room for the rows' tokens.
    pub caches: Vec<Cache>,
    /// Rows that listen to the same thing, in order: how many, and to what.
    pub groups: Vec<(usize, Arc<Memories>)>,
    /// Rows that come out.
    pub wanted: Vec<usize>,
    /// For each row whether its weights are kept.
    pub watched: Vec<bool>,
    /// The weights kept: row, layer, head.
    pub seen: Vec<((usize, usize, usize), Vec<f32>)>,
}

/// The turn at hand.
#[derive(Clone, Default)]
pub struct Hand(Arc<Mutex<Turn>>);

impl Hand {
    /// The turn; whoever has it keeps all others waiting.
    pub fn turn(&self) -> MutexGuard<'_, Turn> {
        // A turn is replaced as a whole before the next run: nothing half-done stays.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attention of each row to the tokens of its sequence, from queries (scaled), keys and values side by side.
pub struct CachedAttention {
    /// The layer.
    pub layer: usize,
    /// The heads.
    pub heads: Heads,
    /// The turn.
    pub hand: Hand,
}

impl Kernel for CachedAttention {
    fn name(&self) -> &'static str {
        "CachedAttention"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.heads.all()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let (all, width) = (self.heads.all(), self.heads.width);
        let mut turn = self.hand.turn();
        let Turn { rows, caches, .. } = &mut *turn;
        for (row, &(cache, token)) in inputs[0].chunks(3 * all).zip(rows.iter()) {
            caches[cache].write(self.layer, token, &row[all..2 * all], &row[2 * all..]);
        }
        let out = Shared::new(outputs[0]);
        let work: usize = rows.iter().map(|&(_, token)| token).sum::<usize>() * all;
        let tasks = rows.len() * self.heads.count;
        machine.pool.each(tasks, work > 100_000, |task| {
            let (row, head) = (task / self.heads.count, task % self.heads.count);
            let (cache, token) = rows[row];
            let begin = row * 3 * all + head * width;
            let query = &inputs[0][begin..begin + width];
            // Sound: each task has a part of its own.
            let out = unsafe { out.part(row * all + head * width, width) };
            caches[cache].look(machine.isa, self.layer, (head, token), query, out);
        });
        Ok(())
    }
}

/// Attention of each row to what its sequence listens to, from queries (scaled).
pub struct CrossAttention {
    /// The layer.
    pub layer: usize,
    /// The heads.
    pub heads: Heads,
    /// Of what is listened to.
    pub format: Format,
    /// Heads whose weights may be kept.
    pub watched: Vec<usize>,
    /// The turn.
    pub hand: Hand,
}

impl Kernel for CrossAttention {
    fn name(&self) -> &'static str {
        "CrossAttention"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.heads.all()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let mut turn = self.hand.turn();
        let (mut groups, mut from) = (Vec::new(), 0);
        for (count, memories) in &turn.groups {
            let [keys, values] = &memories.layers[self.layer];
            let (keys, values) = (keys.try_as_plain_ram()?, values.try_as_plain_ram()?);
            let (keys, values) = (keys.as_slice()?, values.as_slice()?);
            let (isa, format, positions) = (machine.isa, self.format, memories.positions);
            let (of_keys, of_values) = sizes(isa, format, self.heads, positions);
            let (keys, values) = (&keys[..of_keys], &values[..of_values]);
            let memory = Memory::of(isa, format, self.heads, positions, keys, values);
            groups.push(Group {
                from,
                count: *count,
                memory,
            });
            from += count;
        }
        let seen = Mutex::new(Vec::new());
        look_back(
            &machine.pool,
            self.heads,
            inputs[0],
            &groups,
            outputs[0],
            |row, head, weights| {
                if turn.watched[row] && self.watched.contains(&head) {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(((row, self.layer, head), weights()));
                }
            },
        );
        drop(groups);
        turn.seen
            .extend(seen.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// The rows that are wanted.
pub struct Pick {
    /// Values of a row.
    pub width: usize,
    /// Their number.
    pub count: TDim,
    /// The turn.
    pub hand: Hand,
}

impl Kernel for Pick {
    fn name(&self) -> &'static str {
        "Pick"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.width]
    }

    fn rows(&self, _: &TDim) -> TDim {
        self.count.clone()
    }

    fn count(&self, _: usize) -> usize {
        self.hand.turn().wanted.len()
    }

    fn run(&self, _: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let turn = self.hand.turn();
        for (out, row) in outputs[0].chunks_mut(self.width).zip(&turn.wanted) {
            out.copy_from_slice(&inputs[0][row * self.width..(row + 1) * self.width]);
        }
        Ok(())
    }
}
