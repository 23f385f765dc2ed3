//! A window and tokens in a file in; what the model says after each of the tokens out, beside it: to compare engines and precisions.

use std::{fs::File, path::Path};

use ndarray::{Array1, Array2};
use ndarray_npy::{NpzReader, write_npy};

use super::BenchError;
use crate::{decoder::Decoder, encoder, features::LogMel, model::Model, pipeline::PipelineError};

/// Reads `file` (`numpy.savez`): `features`, f32, `[mel bins, frames]`, and `tokens`, int64, from the first on. Writes
/// `file` with the extension `scores.npy`: f32, `[tokens, vocabulary]`.
pub(super) fn write(model: &Model, file: &Path) -> Result<(), BenchError> {
    let failed = |problem: String| BenchError::Scores {
        file: file.to_owned(),
        problem,
    };
    let mut arrays = NpzReader::new(File::open(file)?).map_err(|error| failed(error.to_string()))?;
    let features: Array2<f32> = arrays
        .by_name("features")
        .map_err(|error| failed(error.to_string()))?;
    let tokens: Array1<i64> = arrays
        .by_name("tokens")
        .map_err(|error| failed(error.to_string()))?;
    let known = 0..model.facts().vocabulary_size as i64;
    if let Some(token) = tokens.iter().find(|token| !known.contains(token)) {
        return Err(failed(format!(
            "token {token} is none of the model's {}",
            known.end
        )));
    }
    let (bins, frames) = features.dim();
    let config = model.config();
    let most = config.sizes.encoder_positions * 2;
    if (bins, frames) != (config.features.mel_bins, most) {
        return Err(failed(format!(
            "features of {bins} x {frames}; the model takes {} x {most}",
            config.features.mel_bins
        )));
    }
    let features = LogMel {
        bins,
        frames,
        values: features.into_iter().collect(),
    };
    let tokens: Vec<u32> = tokens.iter().map(|token| *token as u32).collect();
    let scores = scores(model, &features, &tokens)?;
    let shape = (tokens.len(), scores.len() / tokens.len().max(1));
    let scores = Array2::from_shape_vec(shape, scores).map_err(|error| failed(error.to_string()))?;
    write_npy(file.with_extension("scores.npy"), &scores).map_err(|error| failed(error.to_string()))
}

/// One row a token, one after another.
fn scores(model: &Model, features: &LogMel, tokens: &[u32]) -> Result<Vec<f32>, PipelineError> {
    let encoded = encoder::encode(model, features)?;
    let mut decoder = Decoder::new(model, &encoded)?;
    let mut scores = Vec::new();
    let Some((first, rest)) = tokens.split_first() else {
        return Ok(scores);
    };
    let mut sequence = decoder.first(*first)?;
    scores.extend_from_slice(sequence.scores());
    for token in rest {
        decoder.step(&mut sequence, *token)?;
        scores.extend_from_slice(sequence.scores());
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use ndarray_npy::{NpzWriter, read_npy};

    use super::*;
    use crate::bundled;

    #[test]
    fn a_row_a_token_is_written_beside_the_file_and_what_does_not_fit_is_said() {
        let model = Model::load(&bundled::find(bundled::DEFAULT).unwrap(), 1).unwrap();
        let (bins, frames) = (
            model.config().features.mel_bins,
            2 * model.config().sizes.encoder_positions,
        );
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, frames: usize, tokens: Vec<i64>| {
            let file = folder.path().join(name);
            let mut npz = NpzWriter::new(File::create(&file).unwrap());
            npz.add_array("features", &Array2::<f32>::zeros((bins, frames)))
                .unwrap();
            npz.add_array("tokens", &Array1::from_vec(tokens)).unwrap();
            npz.finish().unwrap();
            file
        };
        let start = i64::from(model.config().tokens.start);
        let file = put("window.npz", frames, vec![start, start, 5]);
        write(&model, &file).unwrap();
        let scores: Array2<f32> = read_npy(folder.path().join("window.scores.npy")).unwrap();
        assert_eq!(scores.dim(), (3, model.facts().vocabulary_size));
        // What comes after a token depends on those before it.
        assert_ne!(scores.row(0), scores.row(1));
        let silence = LogMel {
            bins,
            frames,
            values: vec![0.0; bins * frames],
        };
        let encoded = encoder::encode(&model, &silence).unwrap();
        let first = Decoder::new(&model, &encoded)
            .unwrap()
            .first(start as u32)
            .unwrap();
        assert_eq!(scores.row(0).as_slice(), Some(first.scores()));

        for (file, said) in [
            (
                put("short.npz", 10, vec![start]),
                format!("features of {bins} x 10; the model takes {bins} x {frames}"),
            ),
            (
                put("odd.npz", frames, vec![-1]),
                "token -1 is none of the model's".to_owned(),
            ),
        ] {
            let error = write(&model, &file).unwrap_err().to_string();
            assert!(
                error.contains(&said) && error.starts_with("the scores of "),
                "{error}"
            );
        }
    }
}
