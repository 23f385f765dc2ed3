"""Changes to a waveform that leave its words alone: rooms, telephones, loudness, noise; and sounds without words.

Every function takes float32 samples at 16 kHz and a numpy Generator, and returns new samples. Speaker changes
(vocal-tract length, tempo) are cheaper on the spectrogram: see features.py.
"""

import numpy as np

RATE = 16000


def speed(x, rng, low=0.85, high=1.18):
    """Plays faster or slower: tempo, pitch and formants move together. Returns the samples and the factor."""
    r = rng.uniform(low, high)
    n = max(1, int(len(x) / r))
    return np.interp(np.arange(n) * r, np.arange(len(x)), x).astype(np.float32), r


def room(x, rng):
    """Reverberation: a decaying noise behind a direct sound."""
    k = int(rng.uniform(400, 6000))
    tail = rng.standard_normal(k).astype(np.float32) * np.exp(-np.arange(k, dtype=np.float32) / (k / rng.uniform(4, 7)))
    tail *= rng.uniform(0.05, 0.6) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    n = len(x) + k - 1
    size = 1 << (n - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[:n].astype(np.float32)


def colour(x, rng):
    """A microphone or telephone: band limits and a smooth random equaliser."""
    spectrum = np.fft.rfft(x)
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    knots = np.array([0, 150, 300, 600, 1200, 2400, 4000, 8001])
    gain = 10 ** (np.interp(f, knots, rng.uniform(-9, 9, len(knots))) / 20)
    if rng.random() < 0.5:
        gain *= 1 / (1 + (f / rng.uniform(2800, 4000)) ** 16)
    if rng.random() < 0.5:
        gain *= 1 - 1 / (1 + (f / rng.uniform(60, 350)) ** 6)
    return np.fft.irfft(spectrum * gain, len(x)).astype(np.float32)


def distort(x, rng):
    """A cheap line: clipping or the eight bits of mu-law."""
    x = x / (np.abs(x).max() + 1e-6)
    if rng.random() < 0.5:
        return np.clip(x, -(c := rng.uniform(0.2, 0.8)), c).astype(np.float32)
    y = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    y = np.round(y * 127) / 127
    return (np.sign(y) * (256 ** np.abs(y) - 1) / 255).astype(np.float32)


def utterance(x, rng):
    """Everything above in random combination, then a random loudness."""
    if rng.random() < 0.35:
        x = room(x, rng)
    if rng.random() < 0.55:
        x = colour(x, rng)
    if rng.random() < 0.12:
        x = distort(x, rng)
    return x / (np.abs(x).max() + 1e-6) * 10 ** rng.uniform(-1.3, -0.02)


def coloured_noise(n, rng):
    """White to brown noise, sometimes in bands, of unit power."""
    noise = rng.standard_normal(n).astype(np.float32)
    if rng.random() < 0.7:
        spectrum = np.fft.rfft(noise)
        k = np.arange(len(spectrum))
        spectrum /= np.maximum(1, k) ** rng.uniform(0.1, 1.1)
        if rng.random() < 0.3:
            f = k * RATE / n
            spectrum *= 1 / (1 + ((f - rng.uniform(100, 6000)) / rng.uniform(100, 3000)) ** 2)
        noise = np.fft.irfft(spectrum, n).astype(np.float32)
    return noise / (noise.std() + 1e-9)


def hum(n, rng):
    t = np.arange(n, dtype=np.float32) / RATE
    base = rng.choice([50, 60, 100, 120, rng.uniform(40, 400)])
    return sum(rng.uniform(0, 1) / h * np.sin(2 * np.pi * base * h * t + rng.uniform(0, 6.28)) for h in range(1, rng.integers(2, 12))).astype(np.float32)


def clicks(n, rng):
    x = np.zeros(n, np.float32)
    for at in rng.integers(0, n, rng.integers(1, max(2, n // 8000))):
        k = min(n - at, int(rng.integers(5, 800)))
        x[at : at + k] += rng.uniform(0.2, 1) * rng.standard_normal(k) * np.exp(-np.arange(k) / (k / 5))
    return x


def tones(n, rng):
    """Something like music or beeps: notes with harmonics, alone or as chords, and sweeps."""
    x = np.zeros(n, np.float32)
    at = 0
    while at < n:
        k = min(n - at, int(RATE * rng.uniform(0.08, 1.5)))
        t = np.arange(k, dtype=np.float32) / RATE
        if rng.random() < 0.8:
            for _ in range(rng.integers(1, 4)):
                f = 55 * 2 ** (rng.integers(0, 60) / 12)
                sweep = rng.choice([0, 0, 0, rng.uniform(-400, 400)])
                for h in range(1, rng.integers(2, 7)):
                    x[at : at + k] += rng.uniform(0, 1) / h * np.sin(2 * np.pi * (f * h * t + sweep * t * t)) * np.exp(-t * rng.uniform(0, 6)) * np.minimum(1, t * 200)
        at += k
    return x


def bursts(n, rng):
    """Noise that comes and goes: breath, knocks, rustling."""
    envelope = np.interp(np.arange(n), np.sort(rng.uniform(0, n, 2 + n // 3000)), rng.uniform(0, 1, 2 + n // 3000) ** 3)
    return (coloured_noise(n, rng) * envelope).astype(np.float32)


def wordless(n, rng):
    """A window with nothing to transcribe."""
    kind = rng.integers(0, 8)
    if kind == 0:
        return np.zeros(n, np.float32) if rng.random() < 0.5 else (rng.standard_normal(n) * 10 ** rng.uniform(-5, -3)).astype(np.float32)
    if kind <= 2:
        x = coloured_noise(n, rng)
    else:
        x = [hum, clicks, tones, tones, bursts][kind - 3](n, rng)
    if rng.random() < 0.4:
        x = x + coloured_noise(n, rng) * 10 ** rng.uniform(-3, -0.5) * (np.abs(x).max() + 1e-3)
    x = x / (np.abs(x).max() + 1e-6) * 10 ** rng.uniform(-3, -0.05)
    if rng.random() < 0.3:  # only part of the window is noisy
        x[int(rng.uniform(0.1, 1) * n) :] = 0
    return x.astype(np.float32)


def background(x, speech_power, rng):
    """Adds steady noise (and now and then a hum, clicks or music) at 3 to 50 dB below the speech."""
    level = np.sqrt(speech_power) * 10 ** (-rng.uniform(3, 50) / 20)
    kind = rng.random()
    noise = coloured_noise(len(x), rng) if kind < 0.75 else hum(len(x), rng) if kind < 0.85 else clicks(len(x), rng) if kind < 0.92 else tones(len(x), rng)
    return x + noise / (noise.std() + 1e-6) * level
