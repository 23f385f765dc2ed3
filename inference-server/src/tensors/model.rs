//! A folder with one ONNX graph in; a model that can be run out: immutable, shared by `Arc`.

use std::path::Path;

use super::{
    OnnxFiles, Signature,
    graph::{Graph, GraphError},
    request::{self, Asked, Fitting, Given},
};
use crate::{
    digest::{self, Digest},
    model::{
        Dtype, ModelError, available_threads,
        graph::executor,
        proto::{self, Part},
    },
    pipeline::{Cancel, Stopped},
    stages::{self, Stage},
    status::Failure,
};

/// An ONNX model.
pub struct TensorModel {
    name: String,
    digest: Digest,
    signature: Signature,
    graph: Graph,
    threads: usize,
}

impl TensorModel {
    /// Loads the model in `dir` for `threads` threads (0: as many as the cgroup grants), in the precision asked for, if one is.
    pub fn load(dir: &Path, dtype: Option<Dtype>, threads: usize) -> Result<TensorModel, ModelError> {
        let path = OnnxFiles::find(dir, dtype)?.path(dir);
        let failed = |problem: String| ModelError::graph(&path, problem);
        let proto = proto::read(&tract_onnx::onnx(), &path, Part::Whole).map_err(failed)?;
        let mut signature = signature_of(&proto).map_err(failed)?;
        let threads = if threads == 0 {
            available_threads()
        } else {
            threads
        };
        let graph = Graph::load(&proto, &path, &mut signature, executor(threads));
        let graph = graph.map_err(|error| failed(crate::model::graph::one_line(&error)))?;
        let digest = digest::directory(dir).map_err(|error| ModelError::read(dir, error))?;
        let folder = dir.canonicalize().ok();
        let name = folder.as_deref().unwrap_or(dir).file_name();
        Ok(TensorModel {
            name: name.map_or("model".to_owned(), |name| name.to_string_lossy().into_owned()),
            digest,
            signature,
            graph,
            threads,
        })
    }

    /// What a model in a folder takes and gives, without loading it.
    pub fn describe(dir: &Path, dtype: Option<Dtype>) -> Result<(OnnxFiles, Signature), ModelError> {
        let files = OnnxFiles::find(dir, dtype)?;
        let path = files.path(dir);
        let failed = |problem: String| ModelError::graph(&path, problem);
        let proto = proto::read(&tract_onnx::onnx(), &path, Part::Whole).map_err(failed)?;
        let signature = signature_of(&proto).map_err(failed)?;
        Ok((files, signature))
    }

    /// Gives it another name than its folder's.
    pub fn set_name(&mut self, name: String) {
        self.name = name;
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its files, all together.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Threads that it runs on.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What is asked, if it fits what the model takes and gives.
    pub fn fit(&self, asked: Asked) -> Result<Fitting, Failure> {
        request::fit(&self.signature, asked)
    }

    /// Runs it on what fits, on this thread.
    pub fn run(&self, fitting: Fitting, cancel: &Cancel) -> Result<Vec<Given>, Failure> {
        let _timed = stages::enter(Stage::Infer);
        let given = self.graph.run(&self.signature, fitting, cancel);
        given.map_err(|error| match error {
            GraphError::Stopped(Stopped::Cancelled) => Failure::Cancelled,
            GraphError::Stopped(Stopped::DeadlineExceeded) => Failure::deadline(super::infer::DOING),
            GraphError::Engine(why) => Failure::Model(why),
        })
    }
}

fn signature_of(proto: &tract_onnx::pb::ModelProto) -> Result<Signature, String> {
    let graph = proto.graph.as_ref().ok_or("it holds no graph")?;
    Signature::of(graph)
}
