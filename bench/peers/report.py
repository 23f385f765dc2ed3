"""The figures of `compare.py` in; docs/performance.md's tables and its chart out.

    python report.py RESULTS DOCUMENT CHART

The part of DOCUMENT between the two marks is written anew; the rest stays.
"""

import json
import pathlib
import statistics
import sys
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

OPEN, CLOSE = "<!-- figures: written by make bench -->", "<!-- end of the figures -->"
OURS = ["parlance f32", "parlance bf16", "parlance int8"]
# Width, layers of either half: source openai/whisper's model card. Vocabulary, positions, mel bins.
SIZES = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12)}
VOCABULARY, POSITIONS, BINS = 51865, 1500, 80
ROWS = [
    ("encoder", "encoder, a 30 s window", "1.2x", "2x"), ("step 10 1", "decoder step after 10 tokens", "1.5x", "2.5x"), ("step 100 1", "after 100", "1.5x", "2.5x"),
    ("step 200 1", "after 200", "1.5x", "2.5x"), ("step 10 5", "5 beams, after 10", "", ""), ("step 200 5", "5 beams, after 200", "", ""),
    ("transcribe 30 60", "30 s, 60 tokens", "1.3x", "2x"), ("transcribe 5 12", "5 s, 12 tokens", "2x", "4x"),
    ("transcribe 5 12 2", "5 s, 12 tokens, ours with `encoderTail: 2s`", "2x", "4x"), ("transcribe 600 60", "10 minutes, 60 tokens a window", "1.5x", "3x"),
    ("clients 4 30 60", "4 clients, 30 s each", "", ""), ("clients 16 30 60", "16 clients, 30 s each", "1.5x", "3x"),
    ("first", "exec to ready, ours without prepacked weights", "", ""), ("ready", "exec to ready", "1x", "5x"), ("memory", "peak memory, MiB", "1x", "2x"),
]  # fmt: skip


def median(figures, thing, engine):
    values = figures.get(thing, {}).get(engine)
    return statistics.median(values) if values else None


def operations(size):
    """Multiplications and additions, each one, of the encoder over a window: convolutions, linear layers, attention."""
    width, layers = SIZES[size]
    convolutions = 2 * 3 * (2 * POSITIONS * BINS * width + POSITIONS * width * width)
    layer = 2 * POSITIONS * 12 * width * width
    attention = 2 * 2 * POSITIONS * POSITIONS * width
    memories = layers * 2 * 2 * POSITIONS * width * width
    return convolutions + layers * layer + memories, layers * attention


def step_bytes(size, of_weight, of_memory):
    """Bytes that a step must read: the decoder's weights, and keys and values of the window."""
    width, layers = SIZES[size]
    weights = layers * 14 * width * width + VOCABULARY * width
    return weights * of_weight + layers * 2 * POSITIONS * width * of_memory


def floors(size, peaks):
    """The least milliseconds of encoder and step for f32, bf16 and int8 (attention and what is listened to in bf16)."""
    linear, attention = operations(size)
    f32, bf16, int8, read = (peaks[name] or float("nan") for name in ("peak f32", "peak bf16", "peak int8", "bandwidth"))
    encoder = [(linear + attention) / f32, (linear + attention) / bf16, linear / int8 + attention / bf16]
    step = [step_bytes(size, *each) / read for each in ((4, 4), (2, 2), (1, 2))]
    return {"encoder": [ms / 1e6 for ms in encoder], "step 10 1": [ms / 1e6 for ms in step]}


def table(size, threads, figures, peaks):
    peers = [name for name in max(figures.values(), key=len) if name not in OURS]
    lines = [f"### {size}, {threads} thread{'s' if threads != '1' else ''}", ""]
    lines.append("| | " + " | ".join([*OURS, *peers]) + " | fastest peer / ours | at least | aim |")
    lines.append("|---" * (len(OURS) + len(peers) + 4) + "|")
    least = floors(size, peaks)
    for thing, title, wanted, aim in ROWS:
        if thing not in figures:
            continue
        digits = 2 if thing.startswith("step") else 0
        show = lambda x: "" if x is None else f"{x:.{digits}f}"  # noqa: E731
        ours = {name: median(figures, thing, name) for name in OURS}
        of_peers = {"transcribe 5 12 2": "transcribe 5 12", "first": "ready"}.get(thing, thing)
        theirs = {name: median(figures, of_peers, name) for name in peers}
        best = min((v, n) for n, v in theirs.items() if v)
        mine = min((v, n) for n, v in ours.items() if v)
        ratio = spread(figures[of_peers][best[1]], figures[thing][mine[1]])
        lines.append(f"| {title} | " + " | ".join(show(v) for v in [*ours.values(), *theirs.values()]) + f" | **{best[0] / mine[0]:.2f}x** ({ratio}) | {wanted} | {aim} |")
        if thing in least:
            lines.append("| floor | " + " | ".join(show(v) for v in least[thing]) + " |" + " |" * (len(peers) + 3))
    return [*lines, ""]


def agreement(results):
    """How near each precision is to ONNX Runtime in f32."""
    about = "Scores of the same features and tokens (`bench/peers/agree.py`): noise and 64 tokens that mean nothing; speech and 36 that ONNX Runtime wrote."
    lines = ["### Beside ONNX Runtime in f32", "", about, ""]
    lines += ["| | heard | precision | greatest difference of a score | least cosine of a token's scores | likeliest token is the same |", "|---|---|---|---|---|---|"]
    for size in SIZES:
        for heard, precisions in results.get(size, {}).items():
            for precision, found in precisions.items():
                difference = f"{found['difference']:.1e} (scores up to {found['greatest']:.0f})"
                lines.append(f"| {size} | {heard} | {precision} | {difference} | {found['cosine']:.7f} | {found['same'] * 100:.0f} % |")
    return [*lines, ""]


def spread(peer, mine):
    """The ratios of single rounds: the least and the greatest."""
    ratios = [p / m for p, m in zip(peer, mine)]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def chart(results, path):
    """For each kind of work the time of every engine, as a multiple of ours at its fastest."""
    size = "tiny"
    threads = [t for t in ("1", "2") if t in results.get(size, {})]
    figure, axes = plt.subplots(len(threads), 1, figsize=(11, 3.6 * len(threads)), squeeze=False)
    for axis, count in zip(axes[:, 0], threads):
        figures = results[size][count]
        things = [(thing, title) for thing, title, *_ in ROWS if thing in figures and thing in ("encoder", "step 10 1", "step 200 5", "transcribe 30 60", "transcribe 600 60", "clients 16 30 60", "ready", "memory")]  # fmt: skip
        engines = list(max(figures.values(), key=len))
        for i, engine in enumerate(engines):
            heights = []
            for thing, _ in things:
                ours = min(v for v in (median(figures, thing, name) for name in OURS) if v)
                value = median(figures, thing, engine)
                heights.append(value / ours if value else 0)
            shade = plt.cm.Greys(0.95 - 0.2 * i) if engine in OURS else plt.cm.tab20c((i - len(OURS)) * 2 / 20)
            axis.bar([x + i * 0.08 for x in range(len(things))], heights, 0.08, label=engine, color=shade)
        axis.axhline(1, color="black", linewidth=0.6)
        axis.set_xticks([x + 0.04 * (len(engines) - 1) for x in range(len(things))], ["\n".join(textwrap.wrap(title, 16)) for _, title in things], fontsize=8)
        axis.set_ylim(0, 6)
        axis.set_ylabel("time or memory; ours = 1")
        axis.set_title(f"Whisper {size}, {count} thread{'s' if count != '1' else ''} (lower is better; bars over 6 are cut)", fontsize=10)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, ncols=5, loc="lower center")
    figure.savefig(path, metadata={"Date": None})


def main(results, document, picture):
    results, document = json.loads(pathlib.Path(results).read_text()), pathlib.Path(document)
    machine = results["machine"]
    any_ = next(iter(machine.values()))
    lines = [f"{any_['processor']}, {any_['processors']} processors. At most, by our own loop out of the nearest cache:", ""]
    for threads, facts in sorted(machine.items()):
        peaks = facts["peaks"]
        rates = ", ".join(f"{peaks[f'peak {name}']:.0f} in {name}" for name in ("f32", "bf16", "int8") if peaks.get(f"peak {name}"))
        lines.append(f"- {threads} thread(s): thousand million operations a second: {rates}; memory is read at {peaks['bandwidth']:.0f} GB a second")
    lines += ["", "Milliseconds, medians; the ratio has the least and the greatest of single rounds behind it.", ""]
    for size in ("tiny", "base", "small"):
        for threads, figures in sorted(results.get(size, {}).items()):
            lines += table(size, threads, figures, machine[threads]["peaks"])
    if "agreement" in results:
        lines += agreement(results["agreement"])
    text = document.read_text()
    before, after = text.split(OPEN)[0], text.split(CLOSE)[1]
    document.write_text(before + OPEN + "\n\n" + "\n".join(lines) + "\n" + CLOSE + after)
    chart(results, picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
