"""How near the scores of each of our precisions, and of ONNX Runtime's eight bits, are to ONNX Runtime's in f32, on one model; into
RESULTS, under `agreement`.

    python agree.py SERVER MODELS RESULTS --size tiny

All read the same log-mel features of noise and the same tokens: a prompt, and numbers that mean nothing. Told are, over all tokens,
the greatest difference of a score, the least cosine of two rows of scores, and how many greatest scores are of the same token.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
from worker import PROMPT, WINDOW, OnnxRuntime, noise

PRECISIONS = ["f32", "bf16", "int8"]
TOKENS = 60


def ours(server, model, precision, file):
    command = [server, "bench", "--model", model, "--threads", "2", "--precision", precision, "--turns"]
    subprocess.run(command, input=f"scores {file}\n", text=True, check=True, stdout=subprocess.DEVNULL)
    return np.load(file.with_suffix(".scores.npy")).astype(np.float64)


def scores_of(peer, features, tokens):
    states = peer.encode.run(None, {"input_features": features})[0]
    return peer.first.run(["logits"], {"input_ids": tokens[None], "encoder_hidden_states": states})[0][0].astype(np.float64)


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
    features = peer.mel(noise(WINDOW))
    tokens = np.array([*PROMPT, *np.random.default_rng(2).integers(0, 50000, TOKENS)])
    theirs, found = scores_of(peer, features, tokens), {}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "window.npz"
        np.savez(file, features=features[0], tokens=tokens.astype(np.int64))
        for precision in PRECISIONS:
            found[precision] = beside(ours(a.server, model, precision, file), theirs)
    found["ONNX Runtime int8"] = beside(scores_of(OnnxRuntime(a.models / a.size / "onnx-int8", 2, 1), features, tokens), theirs)
    print(a.size, found)
    results = json.loads(a.results.read_text()) if a.results.exists() else {}
    results.setdefault("agreement", {})[a.size] = found
    a.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
