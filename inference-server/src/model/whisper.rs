//! The weights of a Whisper in; its encoder and decoder as graphs of our own kernels out. The encoder also makes the keys and values
//! that the decoder listens to; the decoder takes rows of many sequences at once.
//!
//! Source: Radford et al., "Robust speech recognition via large-scale weak supervision" (2022); layers as `transformers` has
//! them (`modeling_whisper.py`).

use std::{
    iter,
    sync::{Arc, Mutex, PoisonError},
};

use tract_onnx::prelude::*;

use super::{
    Config, Sizes,
    parts::{Half, Parts},
    precision::Formats,
    weights::Map,
};
use crate::{
    features::LogMel,
    kernels::{
        attention::Heads,
        cache::Cache,
        key_values,
        layers::{Convolution, FeedForward, LayerNorm, Linear, Memorise, Projections, SelfAttention},
        matrix::Matrix,
        operators::{Kernel, Machine, Operator},
        tile::{Format, Isa},
        turn::{CachedAttention, CrossAttention, Hand, Memories, Pick, Turn},
    },
};

/// A Whisper that runs on our own kernels.
pub(crate) struct Whisper {
    machine: Machine,
    sizes: Sizes,
    /// Of the decoder's maps, and of what it listens to.
    format: Format,
    /// Of the decoder.
    heads: Heads,
    encoder: Arc<TypedRunnableModel>,
    decoder: Arc<TypedRunnableModel>,
    hand: Hand,
    /// One run of the decoder at a time: its turn is in the hand.
    running: Mutex<()>,
    output: Arc<Matrix>,
    tokens: Option<Vec<f32>>,
    positions: Vec<f32>,
}

/// One sequence's part of a run of the decoder.
pub(crate) struct Request {
    /// What it has read.
    pub(crate) cache: Cache,
    /// What it listens to.
    pub(crate) memories: Arc<Memories>,
    /// What it reads now.
    pub(crate) tokens: Vec<u32>,
    /// The tokens after which the scores are wanted, by their place in `tokens`.
    pub(crate) wanted: Vec<usize>,
    /// Whether it is wanted where the decoder looks.
    pub(crate) watch: bool,
}

/// What became of a [`Request`].
pub(crate) struct Reply {
    /// With the tokens.
    pub(crate) cache: Cache,
    /// For each token that was wanted one score a vocabulary entry.
    pub(crate) scores: Vec<Vec<f32>>,
    /// For each token the weights of the heads watched, over all positions; nothing unless it was watched.
    pub(crate) attention: Vec<Vec<Vec<f32>>>,
}

impl Whisper {
    /// Builds both graphs; the heads that follow the speech can be watched. Fails with the reason where the weights are not where
    /// they are expected.
    pub(super) fn build(
        parts: &Parts<'_>,
        config: &Config,
        machine: Machine,
        formats: Formats,
    ) -> Result<Whisper, String> {
        let (hand, watched) = (Hand::default(), config.alignment_heads());
        let sizes = config.sizes.clone();
        let build = Build {
            machine: &machine,
            format: formats.encoder,
            listened: formats.decoder,
            sizes: &sizes,
            watched: &watched,
            hand: &hand,
        };
        let of_steps = Build {
            format: formats.decoder,
            ..build
        };
        // First, while nothing else is there: it takes the most memory.
        let (output, tokens) = of_steps.output(parts.decoder())?;
        let encoder = build.encoder(parts, config.features.mel_bins)?;
        let heads = build.split(sizes.decoder_heads)?;
        let decoder = of_steps.decoder(parts.decoder(), heads, &output)?;
        let shape = [sizes.decoder_positions, sizes.width];
        let positions = parts.decoder().parameter("embed_positions.weight", &shape)?;
        Ok(Whisper {
            format: formats.decoder,
            heads,
            encoder,
            decoder,
            hand,
            running: Mutex::new(()),
            output,
            tokens,
            positions,
            machine,
            sizes,
        })
    }

    /// Encodes one window, or as many frames of its beginning as there are: its states, `[positions, width]`, and what the decoder listens to.
    pub(crate) fn encode(&self, features: &LogMel) -> TractResult<(Arc<Tensor>, Memories)> {
        let (bins, frames) = (features.bins, features.frames);
        let rows =
            (0..frames).flat_map(|frame| (0..bins).map(move |bin| features.values[bin * frames + frame]));
        let input = Tensor::from_shape(&[frames, bins], &rows.collect::<Vec<f32>>())?;
        self.machine.pool.within(|| {
            let mut outputs = self.encoder.spawn()?.run(tvec![input.into_tvalue()])?.into_iter();
            let states = outputs.next().ok_or_else(|| TractError::msg("no states"))?;
            let states = states.into_arc_tensor();
            let mut layers = Vec::new();
            while let (Some(keys), Some(values)) = (outputs.next(), outputs.next()) {
                layers.push([keys.into_arc_tensor(), values.into_arc_tensor()]);
            }
            let positions = states.shape()[0];
            Ok((states, Memories { positions, layers }))
        })
    }

    /// Bytes of what the decoder listens to, for one window.
    pub(crate) fn memories_size(&self) -> usize {
        let (isa, sizes) = (self.machine.isa, &self.sizes);
        let (keys, values) = key_values::sizes(isa, self.format, self.heads, sizes.encoder_positions);
        sizes.decoder_layers * (keys + values) * size_of::<u32>()
    }

    /// An empty cache.
    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.sizes.decoder_layers, self.heads, self.format)
    }

    /// Runs the decoder once over all requests together, each of which passed [`Whisper::check`]; replies come in their order.
    pub(crate) fn read(&self, mut requests: Vec<Request>) -> TractResult<Vec<Reply>> {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|&i| Arc::as_ptr(&requests[i].memories));
        let mut turn = Turn::default();
        let (mut rows, mut replies) = (Vec::new(), Vec::new());
        for &i in &order {
            let request = &mut requests[i];
            let first = request.cache.length();
            request.cache.grow(request.tokens.len());
            turn.wanted
                .extend(request.wanted.iter().map(|wanted| turn.rows.len() + wanted));
            for (place, &token) in request.tokens.iter().enumerate() {
                self.embed(token, first + place, &mut rows);
                turn.rows.push((turn.caches.len(), first + place));
                turn.watched.push(request.watch);
            }
            turn.caches
                .push(std::mem::replace(&mut request.cache, self.cache()));
            match turn.groups.last_mut() {
                Some((count, memories)) if Arc::ptr_eq(memories, &request.memories) => {
                    *count += request.tokens.len()
                }
                _ => turn.groups.push((request.tokens.len(), request.memories.clone())),
            }
        }
        let input = Tensor::from_shape(&[turn.rows.len(), self.sizes.width], &rows)?;
        let (scores, turn) = self.run(turn, input)?;
        let mut scores = scores.chunks(self.output.columns()).map(<[f32]>::to_vec);
        let mut attention = vec![Vec::new(); turn.rows.len()];
        let mut seen = turn.seen;
        seen.sort_by_key(|(place, _)| *place);
        for ((row, ..), weights) in seen {
            attention[row].push(weights);
        }
        let mut attention = attention.into_iter();
        for (&i, cache) in order.iter().zip(turn.caches) {
            let request = &requests[i];
            let attention = attention.by_ref().take(request.tokens.len());
            replies.push((
                i,
                Reply {
                    cache,
                    scores: scores.by_ref().take(request.wanted.len()).collect(),
                    attention: attention.filter(|_| request.watch).collect(),
                },
            ));
        }
        replies.sort_by_key(|(i, _)| *i);
        Ok(replies.into_iter().map(|(_, reply)| reply).collect())
    }

    fn run(&self, turn: Turn, input: Tensor) -> TractResult<(Vec<f32>, Turn)> {
        let _one = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *self.hand.turn() = turn;
        let scores = self.machine.pool.within(|| {
            let outputs = self.decoder.spawn()?.run(tvec![input.into_tvalue()])?;
            Ok::<_, TractError>(outputs[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        });
        let turn = std::mem::take(&mut *self.hand.turn());
        Ok((scores?, turn))
    }

    /// Whether a request can be read at all; one that cannot must not be read with others.
    pub(super) fn check(&self, request: &Request) -> Result<(), String> {
        let (places, known) = (self.sizes.decoder_positions, self.output.columns());
        for (place, &token) in (request.cache.length()..).zip(&request.tokens) {
            if place >= places || token as usize >= known {
                return Err(format!(
                    "token {token} at place {place}: it holds {places} places and {known} tokens"
                ));
            }
        }
        Ok(())
    }

    /// The row of a token at its place.
    fn embed(&self, token: u32, place: usize, rows: &mut Vec<f32>) {
        let (width, token) = (self.sizes.width, token as usize);
        let begin = rows.len();
        rows.resize(begin + width, 0.0);
        match &self.tokens {
            Some(tokens) => rows[begin..].copy_from_slice(&tokens[token * width..(token + 1) * width]),
            None => self.output.column(token, &mut rows[begin..]),
        }
        let place = &self.positions[place * width..(place + 1) * width];
        iter::zip(&mut rows[begin..], place).for_each(|(x, y)| *x += y);
    }
}

/// What both graphs are built with.
#[derive(Clone, Copy)]
struct Build<'a> {
    machine: &'a Machine,
    /// Of the maps.
    format: Format,
    /// Of what the decoder listens to.
    listened: Format,
    sizes: &'a Sizes,
    /// Heads whose weights may be kept, by layer.
    watched: &'a [(usize, usize)],
    hand: &'a Hand,
}

impl Build<'_> {
    /// The map to the scores of tokens, and the tokens' own rows where they are not the same.
    fn output(&self, half: Half<'_>) -> Result<(Arc<Matrix>, Option<Vec<f32>>), String> {
        let (width, vocabulary) = (self.sizes.width, self.sizes.vocabulary);
        let (name, shape) = ("embed_tokens.weight", [vocabulary, width]);
        half.matrix("proj_out", |weights| {
            if !weights.is_transposed("proj_out", name, shape)? {
                let output = self.ordered(&weights.map("proj_out")?);
                return Ok((output, Some(weights.parameter(name, &shape)?)));
            }
            let (isa, format) = (self.machine.isa, self.format);
            let mut row = weights.each_row(name, shape)?;
            let matrix = Matrix::by_columns(isa, format, width, vocabulary, |_, column| row(column))?;
            Ok((matrix, None))
        })
    }

    fn encoder(&self, parts: &Parts<'_>, bins: usize) -> Result<Arc<TypedRunnableModel>, String> {
        let (half, sizes, width) = (parts.encoder(), self.sizes, self.sizes.width);
        let mut graph = TypedModel::default();
        let frames = graph.symbols.sym("F");
        let input = graph
            .add_source("input_features", f32::fact([frames.to_dim(), bins.to_dim()]))
            .map_err(said)?;
        let mut x = self.convolution(&mut graph, half, "conv1", (bins, 1), None, input)?;
        let shape = [sizes.encoder_positions, width];
        let positions = half.numbers("embed_positions", |weights| weights.given("Add", &shape))?;
        x = self.convolution(&mut graph, half, "conv2", (width, 2), Some(positions), x)?;
        let heads = self.split(sizes.encoder_heads)?;
        for layer in 0..sizes.encoder_layers {
            let mixed = self.wire(&mut graph, self.mixed(half, layer, heads)?, &[x])?;
            let seen = self.wire(
                &mut graph,
                SelfAttention {
                    heads,
                    format: beside(self.machine.isa, self.format),
                },
                &[mixed],
            )?;
            let out = self.map(half, &format!("layers.{layer}/self_attn/out_proj"))?;
            x = self.wire(&mut graph, out, &[seen, x])?;
            x = self.feed_forward(&mut graph, half, layer, x)?;
        }
        let states = self.wire(&mut graph, self.norm(half, "layer_norm")?, &[x])?;
        let mut outputs = vec![states];
        let heads = self.split(sizes.decoder_heads)?;
        for layer in 0..sizes.decoder_layers {
            let map = |name| {
                let module = format!("layers.{layer}/encoder_attn/{name}_proj");
                self.map(parts.decoder(), &module)
            };
            let memorise = Memorise {
                keys: map("k")?,
                values: map("v")?,
                heads,
                positions: sizes.encoder_positions,
                isa: self.machine.isa,
                format: self.listened,
            };
            let operator = Operator::boxed(self.machine, memorise);
            let made = graph.wire_node(format!("memorise.{layer}"), operator, &[states]);
            outputs.extend(made.map_err(said)?);
        }
        finish(graph, &outputs)
    }

    fn decoder(
        &self,
        half: Half<'_>,
        heads: Heads,
        output: &Arc<Matrix>,
    ) -> Result<Arc<TypedRunnableModel>, String> {
        let (sizes, width) = (self.sizes, self.sizes.width);
        let mut graph = TypedModel::default();
        let (rows, wanted) = (graph.symbols.sym("R"), graph.symbols.sym("W"));
        let input = graph.add_source("rows", f32::fact([rows.to_dim(), width.to_dim()]));
        let mut x = input.map_err(said)?;
        for layer in 0..sizes.decoder_layers {
            let mixed = self.wire(&mut graph, self.mixed(half, layer, heads)?, &[x])?;
            let attention = CachedAttention {
                layer,
                heads,
                hand: self.hand.clone(),
            };
            let seen = self.wire(&mut graph, attention, &[mixed])?;
            let module = |name: &str| format!("layers.{layer}/{name}_proj");
            let out = self.map(half, &module("self_attn/out"))?;
            x = self.wire(&mut graph, out, &[seen, x])?;
            let query = Projections {
                norm: self.norm(half, &format!("layers.{layer}/encoder_attn_layer_norm"))?,
                maps: vec![self.changed(half, &module("encoder_attn/q"), |map| scaled(map, heads))?],
            };
            let query = self.wire(&mut graph, query, &[x])?;
            let of_layer = self.watched.iter().filter(|(at, _)| *at == layer);
            let attention = CrossAttention {
                layer,
                heads,
                format: self.listened,
                watched: of_layer.map(|(_, head)| *head).collect(),
                hand: self.hand.clone(),
            };
            let seen = self.wire(&mut graph, attention, &[query])?;
            let out = self.map(half, &module("encoder_attn/out"))?;
            x = self.wire(&mut graph, out, &[seen, x])?;
            x = self.feed_forward(&mut graph, half, layer, x)?;
        }
        let pick = Pick {
            width,
            count: wanted.to_dim(),
            hand: self.hand.clone(),
        };
        x = self.wire(&mut graph, pick, &[x])?;
        let output = Projections {
            norm: self.norm(half, "decoder/layer_norm")?,
            maps: vec![Linear {
                matrix: output.clone(),
                bias: None,
            }],
        };
        let scores = self.wire(&mut graph, output, &[x])?;
        finish(graph, &[scores])
    }

    fn split(&self, count: usize) -> Result<Heads, String> {
        let width = self.sizes.width / count.max(1);
        if width * count != self.sizes.width {
            return Err(format!(
                "{} values cannot be split into {count} heads",
                self.sizes.width
            ));
        }
        Ok(Heads { count, width })
    }

    fn wire(
        &self,
        graph: &mut TypedModel,
        kernel: impl Kernel,
        inputs: &[OutletId],
    ) -> Result<OutletId, String> {
        let name = format!("{}.{}", kernel.name(), graph.nodes().len());
        let wired = graph.wire_node(name, Operator::boxed(self.machine, kernel), inputs);
        Ok(wired.map_err(said)?[0])
    }

    fn norm(&self, half: Half<'_>, module: &str) -> Result<LayerNorm, String> {
        let (width, name) = (self.sizes.width, module.replace('/', "."));
        let epsilon = half.numbers(&format!("{name}.epsilon"), |weights| {
            Ok(vec![weights.epsilon(module)])
        })?;
        Ok(LayerNorm {
            weight: half.parameter(&format!("{name}.weight"), &[width])?,
            bias: half.parameter(&format!("{name}.bias"), &[width])?,
            epsilon: epsilon[0],
        })
    }

    fn convolution(
        &self,
        graph: &mut TypedModel,
        half: Half<'_>,
        name: &str,
        (channels, stride): (usize, usize),
        plus: Option<Vec<f32>>,
        x: OutletId,
    ) -> Result<OutletId, String> {
        let (isa, width) = (self.machine.isa, self.sizes.width);
        let (matrix, bias) = half.matrix(name, |weights| {
            let kernel = weights.parameter(&format!("{name}.weight"), &[width, channels, 3])?;
            let value =
                |row: usize, out: usize| kernel[(out * channels + row % channels) * 3 + row / channels];
            let matrix = Matrix::new(
                isa,
                beside(self.machine.isa, self.format),
                3 * channels,
                width,
                value,
            );
            Ok((
                matrix,
                Some(weights.parameter(&format!("{name}.bias"), &[width])?),
            ))
        })?;
        let convolution = Convolution {
            matrix,
            bias,
            stride,
            plus,
        };
        self.wire(graph, convolution, &[x])
    }

    fn feed_forward(
        &self,
        graph: &mut TypedModel,
        half: Half<'_>,
        layer: usize,
        x: OutletId,
    ) -> Result<OutletId, String> {
        let feed_forward = FeedForward {
            norm: self.norm(half, &format!("layers.{layer}/final_layer_norm"))?,
            wide: self.map(half, &format!("layers.{layer}/fc1"))?,
            narrow: self.map(half, &format!("layers.{layer}/fc2"))?,
        };
        self.wire(graph, feed_forward, &[x])
    }

    /// Queries, keys and values of a layer's attention to itself beside each other, of the rows, normalised. In the decoder queries and keys
    /// are more exact than other maps in eight bits: soft-max makes much of a small difference of theirs.
    fn mixed(&self, half: Half<'_>, layer: usize, heads: Heads) -> Result<Projections, String> {
        let (isa, width) = (self.machine.isa, self.sizes.width);
        let some = |name: &str, format: Format, which: &[&str]| {
            let (matrix, bias) = half.matrix(&format!("layers.{layer}.self_attn{name}"), |weights| {
                let mut maps = Vec::new();
                for name in which {
                    let map = weights.map(&format!("layers.{layer}/self_attn/{name}_proj"))?;
                    if map.weight.shape != [width, width] {
                        return Err(format!("attention of shape {:?}", map.weight.shape));
                    }
                    maps.push(if *name == "q" { scaled(map, heads) } else { map });
                }
                let value = |row: usize, column: usize| {
                    maps[column / width].weight.values[row * width + column % width]
                };
                let matrix = Matrix::new(isa, format, width, maps.len() * width, value);
                let bias = maps
                    .iter()
                    .flat_map(|map| map.bias.clone().unwrap_or_else(|| vec![0.0; width]));
                Ok((matrix, Some(bias.collect())))
            })?;
            Ok::<_, String>(Linear { matrix, bias })
        };
        let maps = match self.format {
            Format::W8A16 => vec![
                some(".qk", beside(isa, self.format), &["q", "k"])?,
                some(".v", self.format, &["v"])?,
            ],
            format => vec![some("", format, &["q", "k", "v"])?],
        };
        let norm = self.norm(half, &format!("layers.{layer}/self_attn_layer_norm"))?;
        Ok(Projections { norm, maps })
    }

    /// The linear map of a module.
    fn map(&self, half: Half<'_>, module: &str) -> Result<Linear, String> {
        self.changed(half, module, |map| map)
    }

    /// The same after a change.
    fn changed(
        &self,
        half: Half<'_>,
        module: &str,
        change: impl FnOnce(Map) -> Map,
    ) -> Result<Linear, String> {
        let (matrix, bias) = half.matrix(&module.replace('/', "."), |weights| {
            let map = change(weights.map(module)?);
            Ok((self.ordered(&map), map.bias))
        })?;
        Ok(Linear { matrix, bias })
    }

    fn ordered(&self, map: &Map) -> Matrix {
        let (depth, columns) = (map.weight.shape[0], map.weight.shape[1]);
        Matrix::new(self.machine.isa, self.format, depth, columns, |row, column| {
            map.weight.values[row * columns + column]
        })
    }
}

/// The format of attention and convolutions beside that of linear maps: what they multiply has more range than eight bits.
pub(super) fn beside(isa: Isa, format: Format) -> Format {
    match format {
        Format::Int8 | Format::W8A16 if isa.takes(Format::Bf16) => Format::Bf16,
        Format::Int8 | Format::W8A16 => Format::F32,
        other => other,
    }
}

/// Queries as attention wants them: divided by the root of the heads' width.
fn scaled(mut map: Map, heads: Heads) -> Map {
    let scale = 1.0 / (heads.width as f32).sqrt();
    let bias = map.bias.iter_mut().flatten();
    map.weight.values.iter_mut().chain(bias).for_each(|x| *x *= scale);
    map
}

fn finish(mut graph: TypedModel, outputs: &[OutletId]) -> Result<Arc<TypedRunnableModel>, String> {
    graph.select_output_outlets(outputs).map_err(said)?;
    graph.into_runnable().map_err(said)
}

fn said(error: TractError) -> String {
    super::graph::one_line(&error)
}
