"""Makes a model of Whisper tiny's official sizes with random weights, and exports it as optimum does.

    python make_model.py OUT_DIR [--tiktoken multilingual.tiktoken]

Out: OUT_DIR with the files of the model layout. The weights are drawn so that greedy decoding says many different tokens
(plain random weights repeat one), from a fixed seed. Ids are Whisper's own. Given OpenAI's rank file the tokenizer is
Whisper's too; otherwise it is the bundled model's, its vocabulary filled up with words `w1024`, `w1025` and so on.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import torch
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS_MULTI

REPO = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO / "models" / "train"))
import tokenizer as whisper_tokenizer  # noqa: E402

RANKS = 50257
ALIGNMENT_HEADS = [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]


def vocabulary(tiktoken):
    if tiktoken:
        return whisper_tokenizer.read_ranks(tiktoken, RANKS)
    bundled = REPO / "models" / "whisper-nano-digits"
    known = {t: i for t, i in json.loads((bundled / "vocab.json").read_text()).items() if not t.startswith("<|")}
    merges = (bundled / "merges.txt").read_text().splitlines()[1:]
    return known | {f"Ġw{i}": i for i in range(len(known), RANKS)}, merges


def model(tokenizer, seed):
    find = tokenizer.convert_tokens_to_ids
    end, start = find("<|endoftext|>"), find("<|startoftranscript|>")
    config = WhisperConfig(
        vocab_size=51865, num_mel_bins=80, d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536, max_source_positions=1500, max_target_positions=448,
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
    languages = {f"<|{code}|>": find(f"<|{code}|>") for code in whisper_tokenizer.LANGUAGES}
    made.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=end, bos_token_id=end, decoder_start_token_id=start, prev_sot_token_id=find("<|startofprev|>"),
        no_timestamps_token_id=find("<|notimestamps|>"), max_initial_timestamp_index=50, is_multilingual=True, max_length=448,
        lang_to_id=languages, task_to_id={t: find(f"<|{t}|>") for t in ("transcribe", "translate")}, return_timestamps=False,
        begin_suppress_tokens=[220, end], suppress_tokens=list(NON_SPEECH_TOKENS_MULTI), alignment_heads=ALIGNMENT_HEADS,
    )  # fmt: skip
    return made


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--tiktoken")
    p.add_argument("--seed", type=int, default=5)
    a = p.parse_args()
    checkpoint = a.out.with_name(a.out.name + "-hf")
    tokenizer = whisper_tokenizer.save(*vocabulary(a.tiktoken), checkpoint)
    model(tokenizer, a.seed).save_pretrained(checkpoint)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(checkpoint)
    optimum = pathlib.Path(sys.executable).with_name("optimum-cli")
    task = "automatic-speech-recognition-with-past"
    subprocess.run([optimum, "export", "onnx", "--model", checkpoint, "--task", task, "--no-post-process", a.out], check=True)


if __name__ == "__main__":
    main()
