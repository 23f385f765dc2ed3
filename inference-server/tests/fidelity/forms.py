"""Runs a model in each form that exports have through ONNX Runtime, on that form's own files.

    python forms.py MODEL_DIR AUDIO_FILE OUT_DIR

In: what variants.py made of a model, and the model's float32 graphs in its `onnx/`. Out: OUT_DIR/{mel.npy,forms.json},
OUT_DIR/FORM.{encoder,logits}.npy, and OUT_DIR/models/FORM: a model of that form alone, of links. README.md has the layout.
"""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime
import soundfile
from transformers import WhisperFeatureExtractor

# The ending of each form's files, and whether its decoders are one file.
FORMS = {
    "fp32": ("", False), "fp16": ("_fp16", False), "int8": ("_int8", False), "uint8": ("_uint8", False),
    "merged": ("", True), "merged_int8": ("_int8", True), "external": ("", False),
}  # fmt: skip
STEPS = 6


def place(model, form):
    """The folder of a form's graphs, and what `greedy` needs to know of them."""
    folder = model / "external" / "onnx" if form == "external" else model / "onnx"
    return folder, *FORMS[form]


def link(model, out):
    """A model directory for each form, in which the server finds that form and no other."""
    for form in FORMS:
        graphs, ending, merged = place(model, form)
        folder = out / "models" / form
        (folder / "onnx").mkdir(parents=True)
        decoders = ("decoder_model_merged",) if merged else ("decoder_model", "decoder_with_past_model")
        names = [f"{stem}{ending}.onnx" for stem in ("encoder_model", *decoders)]
        if form == "external":  # the weights must be within the directory, links resolved
            (folder / "onnx").rmdir()
            (folder / "onnx").symlink_to(graphs.resolve(), target_is_directory=True)
            names = []
        for path in [*model.glob("*.json"), *(graphs / name for name in names)]:
            (folder / path.relative_to(model)).symlink_to(path.resolve())


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(model, inputs):
    wanted = {i.name for i in model.get_inputs()}
    return dict(zip([o.name for o in model.get_outputs()], model.run(None, {k: v for k, v in inputs.items() if k in wanted})))


def greedy(graphs, ending, merged, mel, prompt, steps):
    """The encoder's output, the logits after the prompt and after each token, and the tokens that they choose. The prompt is
    read token by token, as the server reads it: what int8 rounds to depends on what it sees at once."""
    encoded = run(session(graphs / f"encoder_model{ending}.onnx"), {"input_features": mel[None]})["last_hidden_state"]
    stems = ("decoder_model_merged",) if merged else ("decoder_model", "decoder_with_past_model")
    sessions = [session(graphs / f"{stem}{ending}.onnx") for stem in stems]
    shapes = {i.name: i.shape for i in sessions[-1].get_inputs() if i.name.startswith("past_key_values")}
    state = {name: np.zeros((1, s[1], 0, s[3]), np.float32) for name, s in shapes.items()}
    state |= {"encoder_hidden_states": encoded}
    rows, read, tokens = [], 0, list(prompt)
    while len(rows) < steps:
        state |= {"input_ids": np.array([[tokens[read]]]), "use_cache_branch": np.array([read > 0])}
        out = run(sessions[-1] if read else sessions[0], state)
        # The branch with past gives the encoder's keys and values as empty arrays: they stay as they are.
        state |= {k.replace("present", "past_key_values"): v for k, v in out.items() if k != "logits" and v.size}
        read += 1
        if read == len(tokens):
            rows.append(out["logits"][0, -1])
            tokens.append(int(rows[-1].argmax()))
    return encoded[0], np.stack(rows), tokens[len(prompt) :]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("audio", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    a = p.parse_args()
    generation = json.loads((a.model / "generation_config.json").read_text())
    prompt = [generation["decoder_start_token_id"], generation["lang_to_id"]["<|en|>"], generation["task_to_id"]["transcribe"], generation["no_timestamps_token_id"]]
    pcm, rate = soundfile.read(a.audio, dtype="float32")
    extractor = WhisperFeatureExtractor.from_pretrained(a.model)
    mel = extractor(pcm, sampling_rate=rate, return_tensors="np").input_features[0].astype(np.float32)
    a.out.mkdir(parents=True, exist_ok=True)
    np.save(a.out / "mel.npy", mel)
    link(a.model, a.out)
    said = {}
    for form in FORMS:
        encoded, rows, tokens = greedy(*place(a.model, form), mel, prompt, STEPS)
        for name, array in (("encoder", encoded), ("logits", rows)):
            np.save(a.out / f"{form}.{name}.npy", np.ascontiguousarray(array, np.float32))
        said[form] = {"prompt": prompt, "tokens": tokens}
        print(f"{form}: {tokens}", flush=True)
    (a.out / "forms.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
