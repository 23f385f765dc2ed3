"""Makes a model of one of Whisper's official sizes with random weights, and exports it as optimum does.

    python make_model.py OUT_DIR [--size tiny] [--tiktoken multilingual.tiktoken] [--max-length 448]

`large-v3-narrow` has large-v3's front end (128 mel bins) and vocabulary (51,866, with Cantonese) at a width of 128.

Out: OUT_DIR with the files of the model layout. The weights are drawn so that greedy decoding says many different tokens
(plain random weights repeat one), from a fixed seed. Ids are Whisper's own. Given OpenAI's rank file the tokenizer is
Whisper's too; otherwise it is the bundled model's, its vocabulary filled up with words `w1024`, `w1025` and so on.
"""

import argparse
import json
import pathlib
import sys

import torch
from optimum.exporters.onnx import main_export
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS, NON_SPEECH_TOKENS_MULTI

REPO = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO / "models" / "train"))
import tokenizer as whisper_tokenizer  # noqa: E402

# Width, layers of the encoder and of the decoder, heads, mel bins. Sources: openai/whisper's `model-card.md`, and its checkpoints' `dims`.
SIZES = {
    "tiny": (384, (4, 4), 6, 80), "tiny.en": (384, (4, 4), 6, 80), "base": (512, (6, 6), 8, 80), "small": (768, (12, 12), 12, 80),
    "medium": (1024, (24, 24), 16, 80), "large-v3": (1280, (32, 32), 20, 128), "large-v3-turbo": (1280, (32, 4), 20, 128),
    "large-v3-narrow": (128, (2, 2), 2, 128),
}  # fmt: skip
SHORT = 12  # tokens of a window, prompt included: what a beam search of the other sizes may take
RANKS = {"multilingual": 50257, "gpt2": 50256}
ALIGNMENT_HEADS = [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]


def vocabulary(tiktoken):
    if tiktoken:
        return whisper_tokenizer.read_ranks(tiktoken, RANKS[pathlib.Path(tiktoken).stem])
    bundled = REPO / "models" / "whisper-nano-digits"
    known = {t: i for t, i in json.loads((bundled / "vocab.json").read_text()).items() if not t.startswith("<|")}
    merges = (bundled / "merges.txt").read_text().splitlines()[1:]
    return known | {f"Ġw{i}": i for i in range(len(known), RANKS["multilingual"])}, merges


def languages(size):
    """Cantonese came with large-v3."""
    return whisper_tokenizer.LANGUAGES + (["yue"] if size.startswith("large-v3") else [])


def model(tokenizer, size, seed, max_length):
    find = tokenizer.convert_tokens_to_ids
    end, start = find("<|endoftext|>"), find("<|startoftranscript|>")
    width, (encoder_layers, layers), heads, bins = SIZES[size]
    config = WhisperConfig(
        vocab_size=len(tokenizer), num_mel_bins=bins, d_model=width, encoder_layers=encoder_layers, decoder_layers=layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, max_source_positions=1500, max_target_positions=448,
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start, dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(seed)
    made = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if "decoder" in name and "layers" in name and weights.dim() == 2:
                weights.mul_(6.0)  # the layers, not the last token's embedding, decide the next token
            elif "encoder.conv" in name and weights.dim() == 3:
                weights.mul_(4.0)
            elif "encoder.layers" in name and weights.dim() == 2:
                weights.mul_(3.0)
        made.model.decoder.embed_positions.weight.mul_(10.0)
        made.model.decoder.layer_norm.weight.mul_(4.0)  # logits far enough apart for one clear choice
    multilingual = not size.endswith(".en")
    only = {
        "lang_to_id": {f"<|{code}|>": find(f"<|{code}|>") for code in languages(size)},
        "task_to_id": {t: find(f"<|{t}|>") for t in ("transcribe", "translate")},
    }
    marks = ["startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech"]
    non_speech = NON_SPEECH_TOKENS_MULTI if multilingual else NON_SPEECH_TOKENS
    suppressed = [token for token in non_speech if token < end] + sorted(find(f"<|{name}|>") for name in marks)
    made.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=end, bos_token_id=end, decoder_start_token_id=start, prev_sot_token_id=find("<|startofprev|>"),
        no_timestamps_token_id=find("<|notimestamps|>"), max_initial_timestamp_index=50, is_multilingual=multilingual, max_length=max_length,
        return_timestamps=False, begin_suppress_tokens=[220, end], suppress_tokens=suppressed, **(only if multilingual else {}),
        **({"alignment_heads": ALIGNMENT_HEADS} if layers == 4 else {}),
    )  # fmt: skip
    return made


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--tiktoken")
    p.add_argument("--size", choices=SIZES, default="tiny")
    p.add_argument("--seed", type=int, default=5)
    p.add_argument("--max-length", type=int, help=f"tokens of a window, prompt included; tiny's are 448, others' {SHORT}, unless it is said")
    a = p.parse_args()
    checkpoint = a.out.with_name(a.out.name + "-hf")
    tokenizer = whisper_tokenizer.save(*vocabulary(a.tiktoken), checkpoint, languages(a.size))
    model(tokenizer, a.size, a.seed, a.max_length or (448 if a.size == "tiny" else SHORT)).save_pretrained(checkpoint)
    WhisperFeatureExtractor(feature_size=SIZES[a.size][3]).save_pretrained(checkpoint)
    # Its own comparison with the checkpoint would take as long again; reference.py makes a stricter one.
    main_export(str(checkpoint), a.out, task="automatic-speech-recognition-with-past", no_post_process=True, do_validation=False)


if __name__ == "__main__":
    main()
