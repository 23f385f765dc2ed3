//! Samples as they arrive in; the words of each window out, once they are final. Holds one window of audio, no more.

use super::{
    Cancel, LongForm, Options, PipelineError, WindowResult, chunked::Chunked, peak::Whole,
    sequential::Sequential,
};
use crate::model::Model;

/// A transcription of audio that arrives piece by piece: each window is transcribed when it is there.
pub struct Live<'m>(Form<'m>);

enum Form<'m> {
    Chunked(Box<Chunked<'m>>),
    Sequential(Box<Sequential<'m>>),
}

impl<'m> Live<'m> {
    /// Checks the options against the model.
    pub fn new(model: &'m Model, options: &Options) -> Result<Self, PipelineError> {
        Self::of(model, options, None, 1)
    }

    /// The same for a whole recording: the chunked long form decodes up to `abreast` windows together; the sequential one, which
    /// is told the loudest, scales each window by it, as the original does.
    pub(super) fn whole(
        model: &'m Model,
        options: &Options,
        whole: Option<Whole>,
        abreast: usize,
    ) -> Result<Self, PipelineError> {
        Self::of(model, options, whole, abreast)
    }

    fn of(
        model: &'m Model,
        options: &Options,
        whole: Option<Whole>,
        abreast: usize,
    ) -> Result<Self, PipelineError> {
        Ok(Live(match options.long_form {
            LongForm::Chunked => Form::Chunked(Box::new(Chunked::new(model, options, abreast)?)),
            LongForm::Sequential => Form::Sequential(Box::new(Sequential::new(model, options, whole)?)),
        }))
    }

    /// Takes the next samples (16 kHz mono) and returns the windows that have become final.
    pub fn push(&mut self, samples: &[f32], cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        match &mut self.0 {
            Form::Chunked(form) => form.push(samples, cancel),
            Form::Sequential(form) => form.push(samples, cancel),
        }
    }

    /// No more audio: transcribes what is left.
    pub fn finish(self, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        match self.0 {
            Form::Chunked(form) => form.finish(cancel),
            Form::Sequential(form) => form.finish(cancel),
        }
    }

    /// Ends the window at a sample of the audio where nobody speaks, and returns what has become final; the sequential form
    /// finds its own ends.
    pub(super) fn cut(&mut self, at: usize, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        match &mut self.0 {
            Form::Chunked(form) => form.cut(at, cancel),
            Form::Sequential(_) => Ok(vec![]),
        }
    }

    /// Leaves out what comes before a sample of the audio, in which nobody spoke.
    pub(super) fn skip(&mut self, to: usize) {
        if let Form::Chunked(form) = &mut self.0 {
            form.skip(to);
        }
    }

    /// Forgets what is not final.
    pub(super) fn clear(&mut self) {
        if let Form::Chunked(form) = &mut self.0 {
            form.clear();
        }
    }

    /// The words so far of what is not final; `None`: the sequential form has none.
    pub(super) fn peek(&self, cancel: &Cancel) -> Result<Option<WindowResult>, PipelineError> {
        match &self.0 {
            Form::Chunked(form) => form.peek(cancel).map(Some),
            Form::Sequential(_) => Ok(None),
        }
    }
}
