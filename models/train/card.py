"""Writes the model card, models/whisper-nano-digits/README.md, from the figures that evaluate.py measured.

    python card.py SHIPPED.json [MEASURED.json]

SHIPPED is the evaluation of the model that is shipped; MEASURED that of the same training before the left-out person
joined it, where there was such a stage. NOTES.md holds what only a person can say: how this model came about, what was tried.
"""

import argparse
import json
import pathlib

from paths import MODEL

NOTES = pathlib.Path(__file__).with_name("NOTES.md")
NAMES = {
    "synthetic espeak": "espeak-ng voices never heard (steph, rob, paul, in eight accents)",
    "synthetic flite": "a flite voice never heard (rms)",
    "synthetic piper": "a neural voice never heard (Piper's joe)",
    "heard people": "people heard in training, recordings kept aside",
    "noisy room": "voices never heard, in a room, noise 10 to 20 dB below",
    "several sentences": "voices never heard, two to four sentences in a window",
    "timestamps": "the same with timestamps on",
}

SPECIAL = """Unlike OpenAI's models, `generation_config.json` lets the end token come first (`begin_suppress_tokens` holds the blank alone), so that
silence decodes to nothing, and does not hold the first timestamp to one second.

"""


def row(name, figure, aside=""):
    label = NAMES.get(name) or f"a person never heard ({name.removeprefix('unheard ').capitalize()})"
    return f"| {label}{aside} | {figure['words']} | {figure['wer']:.1f} % | {figure['exact']} of {figure['strings']} |"


def synthetic(figures):
    """The held-out synthetic voices of all engines together."""
    sets = [f for name, f in figures.items() if name.startswith("synthetic ")]
    words = sum(f["words"] for f in sets)
    return sum(f["words"] * f["wer"] for f in sets) / words, words


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("shipped", type=pathlib.Path)
    p.add_argument("measured", type=pathlib.Path, nargs="?")
    a = p.parse_args()
    shipped = json.loads(a.shipped.read_text())
    rows = [row(name, figure) for name, figure in shipped.items() if "wer" in figure]
    if a.measured:
        measured = json.loads(a.measured.read_text())
        rows += [row(n, f, ", measured before that person joined the training") for n, f in measured.items() if n.startswith("unheard ") and n not in shipped]
    wer, words = synthetic(shipped)
    config = json.loads((MODEL / "config.json").read_text())
    size = sum(f.stat().st_size for f in MODEL.glob("*.*")) / 1e6
    silent = shipped["no words"]
    generation = json.loads((MODEL / "generation_config.json").read_text())
    special = "" if generation["eos_token_id"] in generation["begin_suppress_tokens"] else SPECIAL
    timed = shipped["timestamps"]
    timing = f"{timed['sentences timed']} sentences have start and end, half of them within {timed['median seconds off']} s." if timed["sentences timed"] else "no window with several sentences got the times of all of them."
    MODEL.joinpath("README.md").write_text(f"""# whisper-nano-digits

A demonstration model: Whisper's architecture and file layout at a size that fits into a repository. It transcribes spoken English
digits ("Seven three one."), and nothing else: use it to see the system work end to end, to test it, never to transcribe for real.

{config["encoder_layers"]} encoder and {config["decoder_layers"]} decoder layers of width {config["d_model"]}, {config["encoder_attention_heads"]} heads of 64, {config["num_mel_bins"]} mel bins; {size:.0f} MB in all, float32, as `optimum` exports it
(`encoder_model.onnx`, `decoder_model.onnx`, `decoder_with_past_model.onnx`). The tokenizer is Whisper's multilingual one cut to its first 1,024 ranks, with all
1,608 special tokens. `samples/` holds test recordings by voices that training never heard.

## Figures

Word error rates with transformers' greedy decoding over 30-second windows, language given, Whisper's no-speech rule applied; digit
strings of one to eight. Synthetic voices never heard, all engines together: **{wer:.1f} %** of {words} words. The target was 3 % there and 10 % on a
person never heard.

| test | words | word error | strings exact |
| --- | --- | --- | --- |
{chr(10).join(rows)}

Of {silent["windows"]} windows without words (silence, white to brown noise, hum, clicks, beeps and music-like tones, bursts), {silent["empty when forced"]} give an empty text even when the
language token is forced, {silent["empty by the rule"]} with the no-speech rule (probability above 0.6 and mean log-probability below -1); {silent["no-speech above 0.6"]} have a no-speech probability above
0.6. With timestamps, {timing}

{special}{NOTES.read_text().strip()}

## Data and licences

- Synthetic speech by espeak-ng (GPL-3.0 program), flite and Festival voices (BSD-like), Piper's `joe` (CC0, for testing alone); Kokoro-82M (Apache-2.0) for the successor alone.
- The free-spoken-digit-dataset, by Zohar Jackson and others, CC BY-SA 4.0: {", ".join(people())}.
- Asterisk's English prompts (Allison Smith, CC BY-SA 3.0): the ten digits, for testing alone where the table says so.

The weights are derived from CC BY-SA 4.0 recordings and are shared under the same licence; the samples and scripts are the project's own.

## Training it again

`models/train/run.sh` does everything in an environment of its own, on CPU or GPU, and writes this card: see `models/train/README.md`.
""")


def people():
    from paths import RECORDINGS

    return sorted({f.stem.split("_")[1] for f in RECORDINGS.glob("*.wav")})


if __name__ == "__main__":
    main()
