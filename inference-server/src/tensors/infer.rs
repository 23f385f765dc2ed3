//! A request with its place in the queue in; what the model gave out. The permit, the thread and the deadline are the desk's.

use std::time::{Duration, Instant};

use super::{Asked, Given, TensorModel};
use crate::{
    admission::Place,
    call::Call,
    desk::{Desk, on_worker},
    status::Failure,
};

/// What the work is, for whoever learns that its time was over.
pub(super) const DOING: &str = "the model ran";

/// Waits for a permit, and runs the model on a thread of its own.
pub(super) async fn infer(
    desk: &Desk<TensorModel>,
    place: Place,
    asked: Asked,
    call: &mut Call,
) -> Result<Vec<Given>, Failure> {
    let model = desk.model()?;
    // Before it waits: what cannot be run keeps nobody waiting.
    let fitting = model.fit(asked)?;
    let permit = desk.permit(place, Duration::ZERO, call).await?;
    let stages = call.stages().clone();
    let work = on_worker(permit, call.deadline(), DOING, move |cancel, _| {
        let _following = stages.follow();
        let started = Instant::now();
        let given = model.run(fitting, cancel)?;
        Ok((given, started.elapsed()))
    });
    let (given, took) = tokio::select! {
        done = work => done?,
        failure = desk.stopped() => return Err(failure),
    };
    call.worked(took);
    Ok(given)
}

/// Refuses a name or a version that is not the model's.
pub(super) fn served(model: &TensorModel, name: &str, version: &str) -> Result<(), Failure> {
    if name != model.name() {
        return Err(Failure::UnknownModel {
            asked: name.to_owned(),
            served: model.name().to_owned(),
        });
    }
    if !version.is_empty() && version != super::VERSION {
        return Err(Failure::UnknownModel {
            asked: format!("{name}, version {version}"),
            served: format!("{name}, version {}", super::VERSION),
        });
    }
    Ok(())
}

/// Refuses a parameter of the request or of one of its tensors that would ask for another answer than is given.
pub(super) fn known_parameter(name: &str) -> Result<(), Failure> {
    let what = match name {
        "shared_memory_region" | "shared_memory_byte_size" | "shared_memory_offset" => {
            "memory shared with the client"
        }
        "sequence_id" | "sequence_start" | "sequence_end" => "sequences of requests",
        "classification" => "classification of an output",
        _ => return Ok(()),
    };
    Err(Failure::invalid(
        "parameters",
        format!("{what} is not served here (the parameter {name})"),
    ))
}
