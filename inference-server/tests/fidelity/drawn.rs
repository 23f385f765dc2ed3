//! The probabilities by which tokens are drawn, as openai/whisper's own `decode` has them.

use inference_server::decoder::drawn_from;

use super::*;

#[derive(Deserialize)]
struct Drawn {
    temperatures: Vec<f32>,
    prompt: Vec<u32>,
    forced: Vec<u32>,
}

/// What is drawn above temperature 0 depends on random numbers; what it is drawn from does not.
#[test]
#[ignore = "needs PARLANCE_FIDELITY_DIR: make fidelity"]
fn tokens_are_drawn_from_the_probabilities_of_openai_whisper() {
    for name in ["nano", "tiny"] {
        let folder = references().join(name);
        let model = Model::load(&folder.join("model"), 1).unwrap();
        let config = &model.config().tokens;
        let folder = folder.join("drawn");
        let drawn: Drawn = json(&folder.join("tokens.json"));
        let theirs = array(&folder.join("probabilities.npy"));
        let features = MelExtractor::new(&model.config().features)
            .extract(array(&folder.join("pcm.npy")).as_slice().unwrap());
        let encoded = encoder::encode(&model, &features).unwrap();
        let prompt = Prompt::new(config, Some("en"), Task::Transcribe, true).unwrap();
        assert_eq!(prompt.tokens(), drawn.prompt, "{name}");
        let rules = Rules::new(config, true);
        let mut decoder = Decoder::new(&model, &encoded).unwrap();
        let mut sequence = decoder.first(drawn.prompt[0]).unwrap();
        for &token in &drawn.prompt[1..] {
            decoder.step(&mut sequence, token).unwrap();
        }
        let mut most = 0.0f32;
        for (i, &token) in drawn.forced.iter().enumerate() {
            let mut scores = sequence.scores().to_vec();
            rules.apply(&mut scores, &drawn.forced[..i]);
            for (t, &temperature) in drawn.temperatures.iter().enumerate() {
                let ours: Vec<f32> = drawn_from(&scores, temperature)
                    .into_iter()
                    .map(|p| p as f32)
                    .collect();
                let theirs = theirs.slice(ndarray::s![t, i, ..]).to_vec();
                let off = greatest_difference(&ours, &theirs);
                assert!(off < 1e-3, "{name}: token {i} at {temperature}: off by {off}");
                // At 1 nothing is so improbable that it comes out as 0, but what is forbidden. Of the special tokens openai/whisper
                // forbids `<|nospeech|>` too, which not every generation_config names.
                let forbidden = |probabilities: &[f32]| -> Vec<usize> {
                    let special = config.end as usize + 1..config.no_timestamps.unwrap() as usize;
                    let zeros = probabilities.iter().enumerate().filter(|(_, p)| **p == 0.0);
                    zeros
                        .map(|(token, _)| token)
                        .filter(|token| !special.contains(token))
                        .collect()
                };
                assert!(
                    temperature < 1.0 || forbidden(&ours) == forbidden(&theirs),
                    "{name}: other tokens are forbidden before token {i}"
                );
                most = most.max(off);
            }
            decoder.step(&mut sequence, token).unwrap();
        }
        assert!(!drawn.forced.is_empty(), "{name}");
        eprintln!(
            "{name}: probabilities of {} tokens within {most:.1e}",
            drawn.forced.len()
        );
    }
}
