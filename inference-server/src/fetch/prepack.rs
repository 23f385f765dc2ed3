//! A model that was brought in; its weights in order beside it out, for a server on this machine, and what its precisions are worth. A model
//! without them is served all the same.

use std::path::Path;

use super::space::{free, human};
use crate::{
    digest::Digest,
    model::{Measured, Precision, Prepacking},
};

/// Puts the weights of a model in order, unless they are already; what stands in the way is logged.
pub(super) fn prepack(dir: &Path, precision: Precision, digest: &Digest) {
    let precision = chosen(dir, precision, digest);
    match write(dir, precision, digest) {
        Ok(Some(bytes)) => {
            tracing::info!(%precision, bytes, "the weights are prepacked: the server starts at once on this kind of machine")
        }
        Ok(None) => tracing::info!(%precision, "the weights are prepacked already"),
        Err(why) => {
            tracing::warn!(%precision, why, "the weights are not prepacked: the server reads the graphs at each start")
        }
    }
}

/// The precision that a server takes which is asked for this one; what stands in the way of measuring it is logged.
fn chosen(dir: &Path, precision: Precision, digest: &Digest) -> Precision {
    if precision != Precision::Auto {
        return precision;
    }
    match Measured::keep(dir, digest) {
        Ok(measured) => {
            let chosen = measured.precision;
            tracing::info!(cosines = %measured, "auto is {chosen} for this model on this kind of machine");
            chosen
        }
        Err(why) => {
            tracing::warn!(%why, "the precisions are not measured: auto is f32");
            Precision::F32
        }
    }
}

/// Writes them, and says how many bytes; none if they are there.
fn write(dir: &Path, precision: Precision, digest: &Digest) -> Result<Option<u64>, String> {
    let prepacking = Prepacking::of(dir, precision, digest).map_err(|error| error.to_string())?;
    let Some(prepacking) = prepacking else {
        return Ok(None);
    };
    let bytes = prepacking.bytes();
    fits(
        bytes,
        digest.size_bytes,
        free(dir).map_err(|error| error.to_string())?,
    )?;
    prepacking.write().map_err(|error| error.to_string())?;
    Ok(Some(bytes))
}

/// Whether they may be written: where there is room for another model of this size, there is afterwards.
fn fits(bytes: u64, model: u64, free: u64) -> Result<(), String> {
    let next = if free < model { 0 } else { model };
    if free >= bytes.saturating_add(next) {
        return Ok(());
    }
    let and = match next {
        0 => String::new(),
        next => format!(", and {} more for the model that comes next", human(next)),
    };
    let (bytes, free) = (human(bytes), human(free));
    Err(format!("they take {bytes}{and}, but its volume has {free} left"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    #[test]
    fn room_for_another_model_is_not_taken() {
        assert_eq!(fits(40 * MB, 200 * MB, 240 * MB), Ok(()));
        assert_eq!(
            fits(40 * MB, 200 * MB, 239 * MB).unwrap_err(),
            "they take 40 MB, and 200 MB more for the model that comes next, but its volume has 239 MB left"
        );
    }

    #[test]
    fn where_there_is_no_such_room_they_need_only_their_own() {
        assert_eq!(fits(40 * MB, 200 * MB, 199 * MB), Ok(()));
        assert_eq!(fits(40 * MB, 200 * MB, 40 * MB), Ok(()));
        assert_eq!(
            fits(40 * MB, 200 * MB, 39 * MB).unwrap_err(),
            "they take 40 MB, but its volume has 39 MB left"
        );
    }
}
