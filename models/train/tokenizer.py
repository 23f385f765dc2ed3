"""Rebuilds the model's tokenizer from OpenAI's rank file: the first N ranks of Whisper's vocabulary, all its specials.

    python tokenizer.py multilingual.tiktoken OUT_DIR 1024

Only needed to change the size of the vocabulary: the tokenizer in models/whisper-nano-digits was made this way, and
training reads it there. With every rank (50,257) the result equals Whisper's own: "Hello world" gives 15947 1002.
"""

import base64
import json
import pathlib
import sys

from transformers import AddedToken, WhisperTokenizer, WhisperTokenizerFast

LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te fa "
    "lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn "
    "mt sa lb my bo tl mg as tt haw ln ha ba jw su"
).split()
TASKS = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]


def printable_bytes():
    """GPT-2's table from bytes to printable characters."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(moved)}


def merge_pair(token, ranks):
    """The two parts that byte-pair encoding joins last to make `token`."""
    parts = [bytes([b]) for b in token]
    limit = ranks[token]
    while len(parts) > 2:
        joined = [ranks.get(a + b, limit) for a, b in zip(parts, parts[1:])]
        best = min(joined)
        if best >= limit:
            break
        i = joined.index(best)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    if len(parts) != 2:
        raise ValueError(f"{token!r} is not the merge of two lower ranks")
    return parts


def read_ranks(source, count):
    """The vocabulary and merges of the first `count` ranks of a tiktoken file. (rank 50,256 is the empty string)."""
    lines = (line.split() for line in open(source) if line.strip())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines if int(rank) < count}
    table = printable_bytes()
    show = lambda token: "".join(table[b] for b in token)  # noqa: E731
    ordered = sorted((t for t in ranks if len(t) > 1), key=ranks.get)
    merges = [" ".join(map(show, merge_pair(token, ranks))) for token in ordered]
    return {show(token): rank for token, rank in ranks.items()}, merges


def save(vocabulary, merges, out, languages=LANGUAGES):
    """Writes the tokenizer's files: this vocabulary, whose ids must have no gap, and then all of Whisper's specials."""
    specials = [f"<|{w}|>" for w in ("endoftext", "startoftranscript", *languages, *TASKS)]
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    end = specials[0]
    vocabulary = vocabulary | {end: len(vocabulary)}
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.json").unlink(missing_ok=True)  # or the fast tokenizer would be read from an old one
    (out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    slow = WhisperTokenizer(str(out / "vocab.json"), str(out / "merges.txt"), unk_token=end, bos_token=end, eos_token=end)
    slow.add_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    slow.add_tokens([AddedToken(t, special=False, normalized=False) for t in times])
    slow.save_pretrained(out)
    fast = WhisperTokenizerFast.from_pretrained(out)
    fast.save_pretrained(out)
    return fast


if __name__ == "__main__":
    made = save(*read_ranks(sys.argv[1], int(sys.argv[3])), sys.argv[2])
    print(len(made), "tokens;", "Hello world ->", made.encode("Hello world", add_special_tokens=False))
