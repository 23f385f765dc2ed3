"""How near the scores of each of our precisions, and of ONNX Runtime's eight bits, are to ONNX Runtime's in f32, on one model; into
RESULTS, under `agreement`.

    python agree.py SERVER MODELS RESULTS --size tiny

All read the same log-mel features and the same tokens. Twice: noise, a prompt, and numbers that mean nothing; and the speech by which the
server measures precisions, a prompt, and what ONNX Runtime then writes in f32. Told are, over all tokens, the greatest difference of a
score, the least cosine of two rows of scores, and how many greatest scores are of the same token.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
from faster_whisper.audio import decode_audio
from worker import PROMPT, WINDOW, OnnxRuntime, likeliest, noise

PRECISIONS = ["f32", "bf16", "int8-bf16", "int8"]
TOKENS, WRITTEN = 60, 32
SPEECH = pathlib.Path(__file__).parents[2] / "inference-server/src/model/measured/speech.opus"


def ours(server, model, precision, file):
    command = [server, "bench", "--model", model, "--threads", "2", "--precision", precision, "--turns"]
    subprocess.run(command, input=f"scores {file}\n", text=True, check=True, stdout=subprocess.DEVNULL)
    return np.load(file.with_suffix(".scores.npy")).astype(np.float64)


def scores_of(peer, features, tokens):
    states = peer.encode.run(None, {"input_features": features})[0]
    return peer.first.run(["logits"], {"input_ids": tokens[None], "encoder_hidden_states": states})[0][0].astype(np.float64)


def written(peer, features):
    """A prompt, and the likeliest tokens after it."""
    logits, past = peer.read(peer.encode.run(None, {"input_features": features})[0], PROMPT)
    tokens = [*PROMPT]
    for _ in range(WRITTEN):
        tokens.append(likeliest(logits))
        logits = peer.advance(np.array([tokens[-1:]]), past)[0]
    return np.array(tokens)


def beside(scores, theirs):
    cosines = (scores * theirs).sum(1) / np.linalg.norm(scores, axis=1) / np.linalg.norm(theirs, axis=1)
    return {
        "difference": float(abs(scores - theirs).max()),
        "greatest": float(abs(theirs).max()),
        "cosine": float(cosines.min()),
        "same": float((scores.argmax(1) == theirs.argmax(1)).mean()),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("server", type=pathlib.Path)
    p.add_argument("models", type=pathlib.Path)
    p.add_argument("results", type=pathlib.Path)
    p.add_argument("--size", default="tiny")
    a = p.parse_args()
    model = a.models / a.size / "onnx"
    peer = OnnxRuntime(model, 2, 1)
    rough = OnnxRuntime(a.models / a.size / "onnx-int8", 2, 1)
    speech = peer.mel(decode_audio(str(SPEECH)))
    heard = {
        "noise": (peer.mel(noise(WINDOW)), np.array([*PROMPT, *np.random.default_rng(2).integers(0, 50000, TOKENS)])),
        "speech": (speech, written(peer, speech)),
    }
    found = {}
    for name, (features, tokens) in heard.items():
        theirs, of = scores_of(peer, features, tokens), found.setdefault(name, {})
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "window.npz"
            np.savez(file, features=features[0], tokens=tokens.astype(np.int64))
            for precision in PRECISIONS:
                of[precision] = beside(ours(a.server, model, precision, file), theirs)
        of["ONNX Runtime int8"] = beside(scores_of(rough, features, tokens), theirs)
    print(a.size, found)
    results = json.loads(a.results.read_text()) if a.results.exists() else {}
    results.setdefault("agreement", {})[a.size] = found
    a.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
