"""Log-mel features as Whisper computes them, in torch, with the speaker changes that are cheap on a spectrogram."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from transformers import WhisperFeatureExtractor

WARPS = np.linspace(0.8, 1.25, 37)


@functools.cache
def filters():
    """The mel filter bank [80, 201], the one inside the feature extractor of transformers."""
    return torch.tensor(WhisperFeatureExtractor(feature_size=80).mel_filters.T, dtype=torch.float32)


@functools.cache
def warped_filters():
    """One filter bank for each vocal-tract length: a speaker whose formants are `warp` times higher."""
    bins = torch.arange(201, dtype=torch.float64)
    edge = 160.0  # above 6.4 kHz the warp bends back to keep the Nyquist frequency in place
    banks = []
    for warp in WARPS:
        knee = min(edge, edge / warp)
        source = torch.where(bins <= knee, bins * warp, 200 - (200 - knee * warp) * (200 - bins) / (200 - knee))
        low = source.floor().long().clamp(0, 199)
        share = (source - low).float()
        move = torch.zeros(201, 201)  # warped power spectrum = move @ spectrum
        move[torch.arange(201), low] = 1 - share
        move[torch.arange(201), low + 1] += share
        banks.append(filters() @ move)
    return torch.stack(banks)


def power(sound):
    window = torch.hann_window(400, device=sound.device)
    return torch.stft(sound, 400, 160, window=window, return_complex=True)[..., :-1].abs() ** 2


def log_mel(sound, banks=None):
    """[B, samples] -> [B, 80, frames]; `banks` [B, 80, 201] warps each example's voice."""
    mel = (filters().to(sound.device) if banks is None else banks) @ power(sound)
    mel = mel.clamp(min=1e-10).log10()
    mel = torch.maximum(mel, mel.amax(dim=(-2, -1), keepdim=True) - 8.0)
    return (mel + 4) / 4


def stretch(mel, factors):
    """Plays each example `factor` times slower without moving its pitch; keeps the number of frames."""
    frames = mel.shape[-1]
    out = []
    for m, factor in zip(mel, factors):
        moved = F.interpolate(m[None], scale_factor=float(factor), mode="linear", align_corners=False)[0][:, :frames]
        out.append(F.pad(moved, (0, frames - moved.shape[-1]), value=float(m[:, -1].mean())) if moved.shape[-1] < frames else moved)
    return torch.stack(out)


def mask(mel, rng):
    """SpecAugment: up to two bands and a few short stretches are flattened."""
    mel = mel.clone()
    for m in mel:
        if rng.random() < 0.3:
            continue
        for _ in range(rng.integers(0, 3)):
            width = rng.integers(1, 14)
            low = rng.integers(0, 80 - width)
            m[low : low + width] = m.mean()
        for _ in range(rng.integers(0, 2 + m.shape[-1] // 300)):
            width = rng.integers(1, 18)
            low = rng.integers(0, max(1, m.shape[-1] - width))
            m[:, low : low + width] = m.mean()
    return mel
