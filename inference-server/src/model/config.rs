//! `config.json`, `generation_config.json` and `preprocessor_config.json` in; the numbers and token ids of a model out.
//! Everything that differs between Whisper models is here; no stage hard-codes any of it.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use super::{ModelError, files::Files};
use crate::pipeline::Task;

/// What a Whisper that is not multilingual speaks (`is_multilingual` of transformers: false means English only).
const ONLY: &str = "en";

/// What the configuration files of a model say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How audio becomes features.
    pub features: FeatureConfig,
    /// Sizes of the network.
    pub sizes: Sizes,
    /// Special tokens and rules of decoding.
    pub tokens: TokenConfig,
}

/// `preprocessor_config.json`: how audio becomes features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureConfig {
    /// Hz; always 16000.
    pub sampling_rate: usize,
    /// Samples of a window, 480000 for 30 s.
    pub n_samples: usize,
    /// Samples of a Fourier transform, 400.
    pub n_fft: usize,
    /// Samples from one frame to the next, 160.
    pub hop_length: usize,
    /// Mel bins of a frame, 80 or 128.
    pub mel_bins: usize,
}

impl FeatureConfig {
    /// Frames of a window, 3000.
    pub fn frames(&self) -> usize {
        self.n_samples / self.hop_length
    }
}

/// `config.json`: sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Heads of an encoder layer.
    pub encoder_heads: usize,
    /// Heads of a decoder layer.
    pub decoder_heads: usize,
    /// Width of the network.
    pub width: usize,
    /// Positions that the encoder returns for a window, 1500.
    pub encoder_positions: usize,
    /// Most tokens that the decoder can hold, prompt included, 448.
    pub decoder_positions: usize,
    /// Number of logits.
    pub vocabulary: usize,
}

impl Config {
    /// The heads `(layer, head)` whose cross-attention follows the speech: what the files name, otherwise all of the upper half
    /// of the decoder, as `openai/whisper` has it.
    pub(crate) fn alignment_heads(&self) -> Vec<(usize, usize)> {
        let sizes = &self.sizes;
        let upper = sizes.decoder_layers / 2..sizes.decoder_layers;
        let all = || upper.flat_map(|layer| (0..sizes.decoder_heads).map(move |head| (layer, head)));
        match &self.tokens.alignment_heads {
            Some(heads) if !heads.is_empty() => heads.clone(),
            _ => all().collect(),
        }
    }
}

impl Sizes {
    /// Width of one decoder head.
    pub fn head_width(&self) -> usize {
        self.width / self.decoder_heads
    }
}

/// `generation_config.json`: special tokens and rules of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// `<|startoftranscript|>`
    pub start: u32,
    /// `<|endoftext|>`
    pub end: u32,
    /// `<|notimestamps|>`; the timestamps follow it. `None`: the model knows no timestamps.
    pub no_timestamps: Option<u32>,
    /// Language code to token; empty for a model of one language.
    pub languages: BTreeMap<String, u32>,
    /// Task name to token; empty for a model of one language.
    pub tasks: BTreeMap<String, u32>,
    /// Never chosen.
    pub suppress: Vec<u32>,
    /// Not chosen as the first token.
    pub begin_suppress: Vec<u32>,
    /// The first timestamp is at most this many steps of 0.02 s.
    pub max_initial_timestamp_index: Option<usize>,
    /// Most tokens of a window, prompt included.
    pub max_length: usize,
    /// `<|startofprev|>`; the text before a window follows it.
    pub previous: Option<u32>,
    /// The heads `(layer, head)` whose cross-attention follows the speech; `None`: the model does not say.
    pub alignment_heads: Option<Vec<(usize, usize)>>,
}

impl TokenConfig {
    /// The token of 0.00 s.
    pub fn timestamp_begin(&self) -> Option<u32> {
        self.no_timestamps.map(|token| token + 1)
    }

    /// The codes of the languages that the model knows, sorted.
    pub fn codes(&self) -> Vec<String> {
        if self.multilingual() {
            self.languages.keys().cloned().collect()
        } else {
            vec![ONLY.to_owned()]
        }
    }

    /// Whether the model can do a task; one of a single language can only transcribe.
    pub fn can(&self, task: Task) -> bool {
        if self.multilingual() {
            self.tasks.contains_key(task.name())
        } else {
            task == Task::Transcribe
        }
    }

    /// Whether the prompt names a language and a task.
    pub fn multilingual(&self) -> bool {
        !self.languages.is_empty()
    }
}

impl Config {
    /// Reads and checks the three files.
    pub fn read(files: &Files) -> Result<Config, ModelError> {
        let config: ConfigJson = read_json(&files.config)?;
        let generation: GenerationJson = read_json(&files.generation)?;
        let preprocessor: PreprocessorJson = read_json(&files.preprocessor)?;
        let sizes = sizes(&config)?;
        let features = features(&preprocessor, &config)?;
        let tokens = tokens(generation, &config, &sizes)?;
        Ok(Config {
            features,
            sizes,
            tokens,
        })
    }
}

#[derive(Deserialize)]
struct ConfigJson {
    model_type: String,
    d_model: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    encoder_attention_heads: Option<usize>,
    decoder_attention_heads: usize,
    max_source_positions: usize,
    max_target_positions: usize,
    num_mel_bins: usize,
    vocab_size: usize,
    decoder_start_token_id: Option<u32>,
    eos_token_id: Option<OneOrMore>,
}

#[derive(Deserialize)]
struct GenerationJson {
    decoder_start_token_id: Option<u32>,
    eos_token_id: Option<OneOrMore>,
    no_timestamps_token_id: Option<u32>,
    is_multilingual: Option<bool>,
    #[serde(default)]
    lang_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    task_to_id: BTreeMap<String, u32>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
    max_initial_timestamp_index: Option<usize>,
    max_length: Option<usize>,
    prev_sot_token_id: Option<u32>,
    alignment_heads: Option<Vec<(usize, usize)>>,
}

#[derive(Deserialize)]
struct PreprocessorJson {
    feature_size: usize,
    hop_length: usize,
    n_fft: usize,
    n_samples: Option<usize>,
    chunk_length: Option<usize>,
    sampling_rate: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

impl OneOrMore {
    fn first(&self) -> Option<u32> {
        match self {
            OneOrMore::One(id) => Some(*id),
            OneOrMore::More(ids) => ids.first().copied(),
        }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = std::fs::read(path).map_err(|e| ModelError::read(path, e))?;
    serde_json::from_slice(&text).map_err(|e| ModelError::invalid(&file_name(path), e.to_string()))
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn sizes(config: &ConfigJson) -> Result<Sizes, ModelError> {
    let invalid = |problem: String| Err(ModelError::invalid("config.json", problem));
    if config.model_type != "whisper" {
        return invalid(format!(
            "model_type is \"{}\", not \"whisper\"",
            config.model_type
        ));
    }
    let positive = [
        ("d_model", config.d_model),
        ("decoder_layers", config.decoder_layers),
        ("decoder_attention_heads", config.decoder_attention_heads),
        ("max_source_positions", config.max_source_positions),
        ("max_target_positions", config.max_target_positions),
        ("vocab_size", config.vocab_size),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return invalid(format!("{name} is 0"));
    }
    if !config.d_model.is_multiple_of(config.decoder_attention_heads) {
        let (width, heads) = (config.d_model, config.decoder_attention_heads);
        return invalid(format!(
            "d_model {width} is not a multiple of decoder_attention_heads {heads}"
        ));
    }
    Ok(Sizes {
        encoder_layers: config.encoder_layers,
        decoder_layers: config.decoder_layers,
        encoder_heads: config
            .encoder_attention_heads
            .unwrap_or(config.decoder_attention_heads),
        decoder_heads: config.decoder_attention_heads,
        width: config.d_model,
        encoder_positions: config.max_source_positions,
        decoder_positions: config.max_target_positions,
        vocabulary: config.vocab_size,
    })
}

fn features(json: &PreprocessorJson, config: &ConfigJson) -> Result<FeatureConfig, ModelError> {
    let invalid = |problem: String| Err(ModelError::invalid("preprocessor_config.json", problem));
    if json.sampling_rate != crate::audio::SAMPLE_RATE as usize {
        return invalid(format!("sampling_rate is {}, not 16000", json.sampling_rate));
    }
    let n_samples = json
        .n_samples
        .or(json.chunk_length.map(|seconds| seconds * json.sampling_rate));
    let Some(n_samples) = n_samples else {
        return invalid("neither n_samples nor chunk_length is there".to_owned());
    };
    if json.hop_length == 0 || json.n_fft < 2 || json.n_fft > n_samples || n_samples > 100_000_000 {
        return invalid(format!(
            "n_fft {}, hop_length {}, n_samples {n_samples}",
            json.n_fft, json.hop_length
        ));
    }
    if json.feature_size != config.num_mel_bins {
        let (these, those) = (json.feature_size, config.num_mel_bins);
        return invalid(format!(
            "feature_size is {these}, num_mel_bins of config.json {those}"
        ));
    }
    Ok(FeatureConfig {
        sampling_rate: json.sampling_rate,
        n_samples,
        n_fft: json.n_fft,
        hop_length: json.hop_length,
        mel_bins: json.feature_size,
    })
}

/// Codes and names without the `<|…|>` around them.
fn bare(map: BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    map.into_iter()
        .map(|(key, id)| (key.trim_start_matches("<|").trim_end_matches("|>").to_owned(), id))
        .collect()
}

fn tokens(json: GenerationJson, config: &ConfigJson, sizes: &Sizes) -> Result<TokenConfig, ModelError> {
    let invalid = |problem: &str| ModelError::invalid("generation_config.json", problem);
    let end = json
        .eos_token_id
        .as_ref()
        .or(config.eos_token_id.as_ref())
        .and_then(OneOrMore::first);
    let multilingual = json.is_multilingual.unwrap_or(!json.lang_to_id.is_empty());
    if multilingual && (json.lang_to_id.is_empty() || json.task_to_id.is_empty()) {
        return Err(invalid("is_multilingual without lang_to_id and task_to_id"));
    }
    let (languages, tasks) = if multilingual {
        (bare(json.lang_to_id), bare(json.task_to_id))
    } else {
        Default::default()
    };
    // transformers writes -1 for "none of them".
    let ids = |ids: Option<Vec<i64>>| {
        ids.unwrap_or_default()
            .into_iter()
            .filter_map(|id| u32::try_from(id).ok())
    };
    let tokens = TokenConfig {
        start: json
            .decoder_start_token_id
            .or(config.decoder_start_token_id)
            .ok_or_else(|| invalid("decoder_start_token_id is not there"))?,
        end: end.ok_or_else(|| invalid("eos_token_id is not there"))?,
        no_timestamps: json.no_timestamps_token_id,
        languages,
        tasks,
        suppress: ids(json.suppress_tokens).collect(),
        begin_suppress: ids(json.begin_suppress_tokens).collect(),
        max_initial_timestamp_index: json.max_initial_timestamp_index,
        max_length: json
            .max_length
            .unwrap_or(sizes.decoder_positions)
            .min(sizes.decoder_positions),
        previous: json.prev_sot_token_id,
        alignment_heads: json.alignment_heads,
    };
    if let Some((layer, head)) = tokens
        .alignment_heads
        .iter()
        .flatten()
        .find(|(layer, head)| *layer >= sizes.decoder_layers || *head >= sizes.decoder_heads)
    {
        return Err(invalid(&format!(
            "alignment_heads names head {head} of layer {layer}; there are {} heads in {} layers",
            sizes.decoder_heads, sizes.decoder_layers
        )));
    }
    let used = [tokens.start, tokens.end]
        .into_iter()
        .chain(tokens.no_timestamps)
        .chain(tokens.previous);
    let used = used
        .chain(tokens.languages.values().copied())
        .chain(tokens.tasks.values().copied());
    match used.max() {
        Some(most) if most as usize >= sizes.vocabulary => Err(invalid(&format!(
            "token {most} is beyond the vocabulary of {}",
            sizes.vocabulary
        ))),
        _ => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> serde_json::Value {
        json!({"model_type": "whisper", "d_model": 128, "encoder_layers": 3, "decoder_layers": 2,
            "decoder_attention_heads": 2, "max_source_positions": 1500, "max_target_positions": 448,
            "num_mel_bins": 80, "vocab_size": 100, "eos_token_id": 50, "decoder_start_token_id": 51})
    }

    fn preprocessor() -> serde_json::Value {
        json!({"feature_size": 80, "hop_length": 160, "n_fft": 400, "chunk_length": 30, "sampling_rate": 16000})
    }

    fn read(
        config: serde_json::Value,
        generation: serde_json::Value,
        preprocessor: serde_json::Value,
    ) -> Result<Config, ModelError> {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, value: serde_json::Value| {
            let path = dir.path().join(name);
            std::fs::write(&path, value.to_string()).unwrap();
            path
        };
        let files = Files {
            config: write("config.json", config),
            generation: write("generation_config.json", generation),
            preprocessor: write("preprocessor_config.json", preprocessor),
            tokenizer: Default::default(),
            graphs: crate::model::Graphs {
                dtype: crate::model::Dtype::Fp32,
                encoder: Default::default(),
                decoders: crate::model::Decoders::Merged(Default::default()),
            },
        };
        Config::read(&files)
    }

    #[test]
    fn a_model_of_one_language_has_no_language_and_task_tokens() {
        let config = read(
            config(),
            json!({"is_multilingual": false, "suppress_tokens": [1, -1]}),
            preprocessor(),
        )
        .unwrap();
        assert!(!config.tokens.multilingual());
        assert_eq!(
            (config.tokens.start, config.tokens.end, config.tokens.max_length),
            (51, 50, 448)
        );
        assert_eq!(config.tokens.suppress, [1]);
        assert_eq!(config.features.frames(), 3000);
    }

    #[test]
    fn language_codes_lose_their_brackets() {
        let generation = json!({"lang_to_id": {"<|en|>": 52, "<|haw|>": 53}, "task_to_id": {"transcribe": 60},
            "no_timestamps_token_id": 70, "eos_token_id": [50]});
        let tokens = read(config(), generation, preprocessor()).unwrap().tokens;
        assert_eq!(
            tokens.languages.into_iter().collect::<Vec<_>>(),
            [("en".to_owned(), 52), ("haw".to_owned(), 53)]
        );
        assert_eq!(tokens.no_timestamps, Some(70));
    }

    #[test]
    fn each_wrong_file_is_named() {
        let with = |mut value: serde_json::Value, key: &str, new: serde_json::Value| {
            value[key] = new;
            value
        };
        let cases = [
            (
                read(
                    with(config(), "model_type", json!("bert")),
                    json!({}),
                    preprocessor(),
                ),
                "config.json: model_type is \"bert\"",
            ),
            (
                read(with(config(), "d_model", json!(127)), json!({}), preprocessor()),
                "config.json: d_model 127",
            ),
            (
                read(with(config(), "vocab_size", json!(0)), json!({}), preprocessor()),
                "config.json: vocab_size is 0",
            ),
            (
                read(config(), json!({"no_timestamps_token_id": 100}), preprocessor()),
                "generation_config.json: token 100",
            ),
            (
                read(
                    config(),
                    json!({"alignment_heads": [[0, 0], [2, 1]]}),
                    preprocessor(),
                ),
                "generation_config.json: alignment_heads names head 1 of layer 2; there are 2 heads in 2 layers",
            ),
            (
                read(config(), json!({"is_multilingual": true}), preprocessor()),
                "generation_config.json: is_multilingual",
            ),
            (
                read(
                    config(),
                    json!({}),
                    with(preprocessor(), "feature_size", json!(128)),
                ),
                "preprocessor_config.json: feature_size is 128",
            ),
            (
                read(
                    config(),
                    json!({}),
                    with(preprocessor(), "sampling_rate", json!(8000)),
                ),
                "preprocessor_config.json: sampling_rate",
            ),
            (
                read(config(), json!({}), json!({})),
                "preprocessor_config.json: missing field",
            ),
        ];
        for (result, expected) in cases {
            let said = result.unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
