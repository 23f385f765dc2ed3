//! Opus packets in, 48 kHz samples out: ropus as a decoder of symphonia's, which has none of its own.
//! Cuts away the encoder's delay (pre-skip) itself, since not every container's reader does; applies the header's gain.

use ropus::OpusMSDecoder;
use symphonia::core::{
    audio::{AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, GenericAudioBufferRef},
    codecs::{
        CodecInfo,
        audio::{
            AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
            well_known::CODEC_ID_OPUS,
        },
        registry::{RegisterableAudioDecoder, SupportedAudioCodec},
    },
    errors::{Result, decode_error, unsupported_error},
    packet::PacketRef,
};

const RATE: u32 = 48_000;
/// Frames of the longest packet: 120 ms.
const LONGEST: usize = 5760;
const MOST_CHANNELS: usize = 8;

/// Decodes one Opus stream.
pub(super) struct OpusDecoder {
    parameters: AudioCodecParameters,
    decoder: OpusMSDecoder,
    pre_skip: usize,
    gain: f32,
    pcm: Vec<i16>,
    buffer: AudioBuffer<f32>,
}

/// The identification header, RFC 7845, section 5.1.
struct Header<'a> {
    pre_skip: u16,
    /// In 1/256 dB.
    gain: i16,
    streams: u8,
    coupled: u8,
    mapping: &'a [u8],
}

/// The streams of a file without a mapping: one, of one or two channels.
const PLAIN: [u8; 2] = [0, 1];

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let &[
            b'O',
            b'p',
            b'u',
            b's',
            b'H',
            b'e',
            b'a',
            b'd',
            _,
            channels,
            skip0,
            skip1,
            _,
            _,
            _,
            _,
            gain0,
            gain1,
            family,
            ref rest @ ..,
        ] = bytes
        else {
            return None;
        };
        let channels = usize::from(channels);
        let (streams, coupled, mapping) = match (family, rest) {
            (0, _) if channels == 1 || channels == 2 => (1, channels as u8 - 1, &PLAIN[..channels]),
            (1, &[streams, coupled, ref mapping @ ..]) if channels <= MOST_CHANNELS => {
                (streams, coupled, mapping.get(..channels)?)
            }
            _ => return None,
        };
        (usize::from(streams) + usize::from(coupled) <= 2 * MOST_CHANNELS).then_some(Header {
            pre_skip: u16::from_le_bytes([skip0, skip1]),
            gain: i16::from_le_bytes([gain0, gain1]),
            streams,
            coupled,
            mapping,
        })
    }
}

impl OpusDecoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let Some(channels) = &parameters.channels else {
            return unsupported_error("opus: an unknown number of channels");
        };
        let count = channels.count();
        let header = match &parameters.extra_data {
            Some(bytes) => Header::read(bytes),
            None => Header::read(b"OpusHead\x01\x02\0\0\0\0\0\0\0\0\0").filter(|_| count == 2),
        };
        let Some(header) = header.filter(|header| header.mapping.len() == count) else {
            return unsupported_error("opus: a mapping of channels that is not understood");
        };
        let (streams, coupled) = (i32::from(header.streams), i32::from(header.coupled));
        let Ok(decoder) = OpusMSDecoder::new(RATE as i32, count as i32, streams, coupled, header.mapping)
        else {
            return unsupported_error("opus: a mapping of channels that makes no sense");
        };
        Ok(OpusDecoder {
            decoder,
            pre_skip: usize::from(header.pre_skip),
            gain: 10f32.powf(f32::from(header.gain) / (20.0 * 256.0)),
            pcm: vec![0; LONGEST * count],
            buffer: AudioBuffer::new(AudioSpec::new(RATE, channels.clone()), LONGEST),
            parameters: parameters.clone(),
        })
    }
}

impl AudioDecoder for OpusDecoder {
    fn reset(&mut self) {
        self.decoder.reset();
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        if packet.data.is_empty() {
            return decode_error("opus: an empty packet");
        }
        let length = i32::try_from(packet.data.len()).unwrap_or(i32::MAX);
        let decoded = self
            .decoder
            .decode(Some(packet.data), length, &mut self.pcm, LONGEST as i32, false);
        let Some(frames) = decoded.ok().and_then(|n| usize::try_from(n).ok()) else {
            return decode_error("opus: a packet that makes no sense");
        };
        let channels = self.pcm.len() / LONGEST;
        let samples: Vec<f32> = self.pcm[..frames * channels]
            .iter()
            .map(|&sample| f32::from(sample) / 32_768.0 * self.gain)
            .collect();
        self.buffer.render_uninit(Some(frames));
        self.buffer.copy_from_slice_interleaved(&samples);
        let skipped = self.pre_skip.min(frames);
        self.pre_skip -= skipped;
        let end = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        self.buffer.trim(skipped, end.min(frames - skipped));
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for OpusDecoder {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(OpusDecoder::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &[SupportedAudioCodec {
            id: CODEC_ID_OPUS,
            info: CodecInfo {
                short_name: "opus",
                long_name: "Opus",
                profiles: &[],
            },
        }]
    }
}
