#!/usr/bin/env bash
# Makes the files of this folder from a sample of the bundled model, with the encoders that people use, and writes
# expected.tsv: what ffmpeg makes of every file. Needs Debian's ffmpeg, flac, lame, opus-tools, vorbis-tools and python3.
set -euo pipefail
cd "$(dirname "$0")"
sample=../../../models/whisper-nano-digits/samples/three-digits-16k.wav
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ff() { ffmpeg -nostdin -v error -y -bitexact "$@"; }

# 1.2 s from the middle of the sample, and what the encoders are given of it.
ff -ss 0.25 -t 1.2 -i "$sample" "$work/16k.wav"
ff -i "$work/16k.wav" -ar 44100 -ac 2 "$work/44k.wav"
ff -i "$work/16k.wav" -ar 48000 -ac 2 "$work/48k.wav"
ff -i "$work/16k.wav" -t 0.2 -ar 8000 "$work/8k.wav"
ff -i "$work/16k.wav" -t 0.15 -ar 48000 "$work/short.wav"
ff -f lavfi -i color=red:size=160x120 -frames:v 1 "$work/cover.png"

for codec in u8 s24le s32le f32le f64le alaw mulaw; do ff -i "$work/8k.wav" -c:a pcm_$codec $codec.wav; done
ff -i "$work/8k.wav" -t 0.1 -ac 6 -c:a pcm_s16le extensible.wav

flac --silent --force -8 -o plain.flac "$work/16k.wav"
ff -i "$work/16k.wav" -t 0.6 -f flac - | cat >no-total.flac # a pipe: the number of samples is never filled in
ff -i "$work/16k.wav" -t 0.6 -c:a flac -f ogg flac.oga

lame --quiet -b 64 "$work/16k.wav" cbr.mp3 # less has no room for the tag with the padding
lame --quiet -V 8 "$work/44k.wav" vbr.mp3
lame --quiet -t -b 32 "$work/16k.wav" no-tag.mp3
lame --quiet -b 64 --add-id3v2 --tt Digits --ta Parlance --ti "$work/cover.png" "$work/16k.wav" picture.mp3
cat vbr.mp3 vbr.mp3 >twice.mp3

ff -i "$work/16k.wav" -c:a aac -b:a 32k adts.aac
ff -i "$work/44k.wav" -c:a aac -b:a 48k index-last.m4a
ff -i "$work/44k.wav" -c:a aac -b:a 48k -movflags +faststart index-first.m4a
ff -i "$work/16k.wav" -c:a aac -b:a 32k -movflags +frag_keyframe+empty_moov -frag_duration 400000 fragmented.mp4
ff -i "$work/16k.wav" -c:a alac -movflags +faststart alac.m4a
ff -i "$work/16k.wav" -c:a libopus -b:a 16k -movflags +faststart opus.mp4
ff -f lavfi -i color=red:size=32x32:rate=5:duration=1.2 -i "$work/16k.wav" -c:v mpeg4 -c:a aac -b:a 32k \
  -movflags +faststart video.mp4

oggenc --quiet -q 0 -o vorbis.ogg "$work/44k.wav"
oggenc --quiet -q 0 -o "$work/16k.ogg" "$work/16k.wav"
cat "$work/16k.ogg" vorbis.ogg >chained.ogg
opusenc --quiet --bitrate 16 "$work/16k.wav" silk.opus
opusenc --quiet --bitrate 48 "$work/48k.wav" celt.opus
opusenc --quiet --bitrate 24 "$work/short.wav" one-page.opus
ff -i "$work/48k.wav" -ac 6 -c:a libopus -b:a 96k surround.opus
ff -i "$work/16k.wav" -c:a libopus -b:a 16k opus.webm
ff -i "$work/16k.wav" -c:a libopus -b:a 16k -f webm -live 1 - | cat >live.webm # sizes are never filled in
ff -i "$work/44k.wav" -c:a libvorbis -q 1 vorbis.webm
ff -i "$work/16k.wav" -c:a aac -b:a 32k aac.mkv

python3 - "$work/16k.wav" >expected.tsv <<'PYTHON'
"""As ffmpeg decodes each file: rate, and frames at that rate; at 16 kHz, lag behind the original and SNR in dB."""
import array, glob, json, math, subprocess, sys


def decoded(name, *options):
    # ffmpeg's own decoder of Opus is a few samples off.
    decoder = ["-c:a", "libopus"] if "opus" in name or name == "live.webm" else []
    out = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", *decoder, "-i", name, *options, "-f", "f32le", "-"], check=True, stdout=subprocess.PIPE
    )
    return array.array("f", out.stdout)


original = decoded(sys.argv[1])


def snr(mono, lag, step):
    """How well mono is the original, that much later and at any level."""
    pairs = [(mono[i], original[i - lag]) for i in range(lag, min(len(mono), len(original) + lag), step)]
    signal = sum(a * b for a, b in pairs) ** 2 / sum(b * b for _, b in pairs)
    noise = sum(a * a for a, _ in pairs) - signal
    return min(99.0, 10 * math.log10(signal / noise)) if noise > 0 else 99.0


def best(mono):
    lag = max(range(0, min(2200, len(mono) // 2)), key=lambda lag: snr(mono, lag, 11))
    return lag, snr(mono, lag, 1)


print("# file\trate\tframes\tlag\tsnr")
for name in sorted(name for kind in "wav flac oga mp3 aac m4a mp4 ogg opus webm mkv".split() for name in glob.glob("*." + kind)):
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=sample_rate,channels", "-of", "json", name],
        check=True, stdout=subprocess.PIPE,
    )
    stream = json.loads(probe.stdout)["streams"][0]
    rate, channels = int(stream["sample_rate"]), stream["channels"]
    frames = len(decoded(name)) // channels
    mono = decoded(name, "-ac", "1", "-ar", "16000")
    lag, ratio = best(mono)
    print(name, rate, frames, lag, f"{ratio:.1f}", sep="\t")
PYTHON
