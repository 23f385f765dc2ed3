"""The model: Whisper's architecture at a width of 128, and the encoder run on windows of any length."""

import copy

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration


def new(tokens, width=128, encoder_layers=4, decoder_layers=2):
    return WhisperForConditionalGeneration(config(tokens, width, encoder_layers, decoder_layers))


def config(tokens, width=128, encoder_layers=4, decoder_layers=2):
    return WhisperConfig(
        vocab_size=len(tokens.tokenizer), num_mel_bins=80, d_model=width,
        encoder_layers=encoder_layers, encoder_attention_heads=width // 64, encoder_ffn_dim=4 * width,
        decoder_layers=decoder_layers, decoder_attention_heads=width // 64, decoder_ffn_dim=4 * width,
        max_source_positions=1500, max_target_positions=448, dropout=0.0,
        pad_token_id=tokens.end, bos_token_id=tokens.end, eos_token_id=tokens.end, decoder_start_token_id=tokens.start,
        begin_suppress_tokens=[tokens.tokenizer.convert_tokens_to_ids("Ġ")], suppress_tokens=None,
    )  # fmt: skip


def load(folder, grow=0):
    """A saved model, with `grow` more encoder layers that do nothing yet."""
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    for _ in range(grow):
        layer = copy.deepcopy(model.model.encoder.layers[-1])
        for last in (layer.self_attn.out_proj, layer.fc2):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
        model.model.encoder.layers.append(layer)
    model.config.encoder_layers = model.config.num_hidden_layers = len(model.model.encoder.layers)
    return model


def encode(model, mel, offsets=None):
    """The encoder on a mel of any even length. `offsets` say where in the 30-second window each example starts."""
    encoder = model.model.encoder
    x = torch.nn.functional.gelu(encoder.conv1(mel))
    x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
    positions = torch.arange(x.shape[1], device=x.device)
    if offsets is not None:
        positions = positions + offsets[:, None]
    x = x + encoder.embed_positions.weight[positions]
    for layer in encoder.layers:
        x = layer(x, attention_mask=None, layer_head_mask=None)[0]
    return encoder.layer_norm(x)


def logits(model, encoded, inputs):
    decoded = model.model.decoder(input_ids=inputs, encoder_hidden_states=encoded, use_cache=False)
    return model.proj_out(decoded.last_hidden_state)


@torch.no_grad()
def greedy(model, tokens, sound, log_mel, limit=60):
    """Greedy text of a batch of equally long windows, language given, without timestamps. For quick looks only."""
    encoded = encode(model, log_mel(sound))
    prompt = [tokens.start, tokens.english, tokens.transcribe, tokens.no_timestamps]
    ids = torch.tensor([prompt] * len(sound), device=sound.device)
    done = torch.zeros(len(sound), dtype=torch.bool, device=sound.device)
    for _ in range(limit):
        following = logits(model, encoded, ids)[:, -1].argmax(-1)
        following[done] = tokens.end
        ids = torch.cat([ids, following[:, None]], 1)
        done |= following == tokens.end
        if done.all():
            break
    return [tokens.tokenizer.decode(row[4:], skip_special_tokens=True).strip() for row in ids]
