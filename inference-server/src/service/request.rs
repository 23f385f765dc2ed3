//! What the messages of a request ask for, in our types. Refuses what no type of ours can say; knows no state.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    audio::{Channels, StreamEncoding},
    pipeline::{self, Clip, Decoding, LiveOptions, Options},
    proto,
    status::{Failure, Field},
};

/// What the request asks for, where it says nothing the server's defaults.
pub(super) fn options(
    config: Option<proto::TranscriptionConfig>,
    defaults: &Options,
) -> Result<Options, Failure> {
    let proto::TranscriptionConfig {
        language,
        task,
        word_timestamps,
        initial_prompt,
        hotwords,
        beam_size,
        temperatures,
        long_form,
        voice_activity_detection,
        separate_channels,
        clips,
        chunk_silence,
        hallucination_silence_threshold,
        carry_initial_prompt,
        condition_on_previous_text,
        prepended_punctuation,
        appended_punctuation,
        decoding,
    } = config.unwrap_or_default();
    let mut options = defaults.clone();
    if !language.is_empty() {
        let Ok(language) = language.parse();
        options.language = language;
    }
    options.task = match proto::Task::try_from(task) {
        Ok(proto::Task::Unspecified) => defaults.task,
        Ok(proto::Task::Transcribe) => pipeline::Task::Transcribe,
        Ok(proto::Task::Translate) => pipeline::Task::Translate,
        Err(_) => {
            let message = format!("{task} is not a task that this server knows");
            return Err(Failure::InvalidArgument {
                message,
                field: Field::Task,
            });
        }
    };
    options.long_form = match proto::LongForm::try_from(long_form) {
        Ok(proto::LongForm::Unspecified) => defaults.long_form,
        Ok(proto::LongForm::Chunked) => pipeline::LongForm::Chunked,
        Ok(proto::LongForm::Sequential) => pipeline::LongForm::Sequential,
        Err(_) => {
            let message = format!("{long_form} is not a long form that this server knows");
            return Err(Failure::invalid("long_form", message));
        }
    };
    options.word_timestamps = word_timestamps.unwrap_or(defaults.word_timestamps);
    match voice_activity_detection {
        Some(true) if options.vad.is_none() => options.vad = Options::default().vad,
        Some(false) => options.vad = None,
        _ => {}
    }
    match separate_channels {
        Some(true) => options.channels = Channels::Each,
        Some(false) => options.channels = Channels::Mix,
        None => {}
    }
    if !clips.is_empty() {
        options.clips = clips.into_iter().map(clip).collect::<Result<_, _>>()?;
    }
    if chunk_silence.is_some() {
        // None at all is how a request says that it wants none, whatever the server's default.
        options.chunk_silence = time("chunk_silence", chunk_silence)?.filter(|time| !time.is_zero());
    }
    if let Some(threshold) = time("hallucination_silence_threshold", hallucination_silence_threshold)? {
        options.hallucination_silence_threshold = Some(threshold);
    }
    let context = &mut options.context;
    if !initial_prompt.is_empty() {
        context.initial_prompt = Some(initial_prompt);
    }
    if !hotwords.is_empty() {
        context.hotwords = Some(hotwords);
    }
    set(&mut context.carry_initial_prompt, carry_initial_prompt);
    set(
        &mut context.condition_on_previous_text,
        condition_on_previous_text,
    );
    set(&mut options.punctuation.prepended, prepended_punctuation);
    set(&mut options.punctuation.appended, appended_punctuation);
    if beam_size != 0 {
        options.decoding.beam_size = usize::try_from(beam_size).unwrap_or(usize::MAX);
    }
    if !temperatures.is_empty() {
        options.decoding.temperatures = temperatures;
    }
    if let Some(decoding) = decoding {
        how(decoding, &mut options.decoding)?;
    }
    Ok(options)
}

/// The same for a stream, which cannot be heard in part.
pub(super) fn stream_options(
    config: Option<proto::TranscriptionConfig>,
    defaults: &Options,
) -> Result<Options, Failure> {
    let options = options(config, defaults)?;
    if options.clips.is_empty() {
        Ok(options)
    } else {
        Err(Failure::invalid(
            "clips",
            "clips are parts of a whole recording; of a stream, send only the audio that is to be transcribed",
        ))
    }
}

/// What a request says of how tokens are searched for.
fn how(config: proto::DecodingConfig, decoding: &mut Decoding) -> Result<(), Failure> {
    let proto::DecodingConfig {
        patience,
        length_penalty,
        best_of,
        compression_ratio_threshold,
        logprob_threshold,
        no_speech_threshold,
        seed,
        suppress_tokens,
        suppress_blank,
        max_initial_timestamp,
        max_new_tokens,
    } = config;
    let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    set(&mut decoding.patience, patience);
    set(&mut decoding.best_of, best_of.map(number));
    set(&mut decoding.seed, seed);
    set(&mut decoding.suppress_blank, suppress_blank);
    set(&mut decoding.length_penalty, length_penalty.map(Some));
    set(
        &mut decoding.compression_ratio_threshold,
        compression_ratio_threshold.map(Some),
    );
    set(&mut decoding.logprob_threshold, logprob_threshold.map(Some));
    set(&mut decoding.no_speech_threshold, no_speech_threshold.map(Some));
    set(
        &mut decoding.max_new_tokens,
        max_new_tokens.map(|n| Some(number(n))),
    );
    if let Some(latest) = time("max_initial_timestamp", max_initial_timestamp)? {
        decoding.max_initial_timestamp = Some(latest);
    }
    if !suppress_tokens.is_empty() {
        decoding.suppress_tokens = suppress_tokens.into_iter().map(i64::from).collect();
    }
    Ok(())
}

fn set<T>(option: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *option = said;
    }
}

fn clip(clip: proto::Clip) -> Result<Clip, Failure> {
    Ok(Clip {
        start: time("clips", clip.start)?.unwrap_or_default(),
        end: time("clips", clip.end)?,
    })
}

fn time(field: &str, time: Option<prost_types::Duration>) -> Result<Option<Duration>, Failure> {
    let valid = time.map(Duration::try_from).transpose();
    valid.map_err(|_| Failure::invalid(field, format!("{field} must be a time of 0 or more")))
}

/// What a stream wants to hear of early.
pub(super) fn live(config: &proto::StreamingConfig) -> Result<LiveOptions, Failure> {
    let silence = time("utterance_silence", config.utterance_silence)?;
    if let Some(silence) = silence.filter(|silence| !UTTERANCE_SILENCE.contains(silence)) {
        return Err(Failure::invalid(
            "utterance_silence",
            format!("utterance_silence is {silence:?}: it goes from 0.1 s to 10 s"),
        ));
    }
    let by_default = config.interim_results.then_some(LiveOptions::UTTERANCE_SILENCE);
    Ok(LiveOptions {
        utterance_silence: silence.or(by_default),
        interim_results: config.interim_results,
        voice_activity: config.voice_activity_events,
        start_offset: time("start_offset", config.start_offset)?.unwrap_or_default(),
    })
}

/// Silences that make sense as the end of an utterance.
const UTTERANCE_SILENCE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

/// What the bytes of a stream are.
pub(super) fn encoding(config: &proto::StreamingConfig) -> Result<StreamEncoding, Failure> {
    use proto::AudioEncoding as Encoding;
    let sample_rate = config.sample_rate_hertz;
    let Ok(encoding) = Encoding::try_from(config.encoding) else {
        let message = format!("{} is not an encoding that this server knows", config.encoding);
        return Err(Failure::invalid("encoding", message));
    };
    let raw = encoding != Encoding::Unspecified;
    for (field, value) in [("sample_rate_hertz", sample_rate), ("channels", config.channels)] {
        if !raw && value != 0 {
            let message = format!("{field} is only for raw audio; a file says it itself");
            return Err(Failure::invalid(field, message));
        }
    }
    if raw && sample_rate == 0 {
        return Err(Failure::invalid(
            "sample_rate_hertz",
            "raw audio needs sample_rate_hertz",
        ));
    }
    let channels = u16::try_from(config.channels.max(1))
        .map_err(|_| Failure::invalid("channels", format!("{} channels are too many", config.channels)))?;
    #[rustfmt::skip]
    let encoding = match encoding {
        Encoding::Unspecified => StreamEncoding::File,
        Encoding::Linear16 => StreamEncoding::Linear16 { sample_rate, channels },
        Encoding::Mulaw => StreamEncoding::MuLaw { sample_rate, channels },
        Encoding::Alaw => StreamEncoding::ALaw { sample_rate, channels },
        Encoding::Linear24 => StreamEncoding::Linear24 { sample_rate, channels },
        Encoding::Linear32 => StreamEncoding::Linear32 { sample_rate, channels },
        Encoding::Float32 => StreamEncoding::Float32 { sample_rate, channels },
        Encoding::Unsigned8 => StreamEncoding::Unsigned8 { sample_rate, channels },
    };
    Ok(encoding)
}

#[cfg(test)]
mod tests;
