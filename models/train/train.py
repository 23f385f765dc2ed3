"""Trains the model for a given time, on CPU or GPU, and keeps CACHE/NAME.pt (weights, their moving average, CTC head).

    python train.py NAME --mode short --minutes 40                  from nothing
    python train.py NAME --mode mix --minutes 40 --weights DIR      from a Hugging Face checkpoint, maybe with --grow 1
    python train.py NAME --mode full --minutes 20 --from OTHER      the last stretch, on 30-second windows

The CTC loss on the encoder (over the ten digits and a blank) makes the attention align early; the last stretch runs without
it. A fresh CTC head on trained weights first learns alone (--ctc-after), or its gradients would wreck the encoder. The learning rate follows the clock, not the steps, so that a busy machine only shortens the training.
"""

import argparse
import copy
import random
import time

import jiwer
import numpy as np
import torch
import torch.nn.functional as F

import features
import model as whisper
from data import Batches, People, Synthetic, Tokens
from paths import CACHE
from text import normal, random_digits, sentence


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name")
    p.add_argument("--mode", choices=["short", "mix", "full"], default="short")
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--from", dest="origin")
    p.add_argument("--weights", help="folder with config.json and model.safetensors to start from")
    p.add_argument("--grow", type=int, default=0, help="encoder layers to add to those weights, each an identity at first")
    p.add_argument("--ctc-after", type=int, default=0, help="steps before the CTC loss reaches the encoder")
    p.add_argument("--decoder-only", action="store_true", help="leave the encoder as it is, which costs a third of the time")
    p.add_argument("--rate", type=float, default=1.5e-3)
    p.add_argument("--floor", type=float, default=0.02, help="the last learning rate as a share of the first")
    p.add_argument("--warmup", type=int, default=200, help="steps to the full learning rate, kept for 60 % of the time")
    p.add_argument("--look", type=float, default=10, help="minutes between two looks at held-out speech")
    p.add_argument("--size", type=int, default=16, help="utterances (short) or windows (full) a step")
    p.add_argument("--ctc", type=float, default=0.5, help="weight of the CTC loss")
    p.add_argument("--encoder-layers", type=int, default=4)
    p.add_argument("--leave-out", nargs="*", default=[], help="people whose recordings are not to be heard")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args()


def loss_of(model, ctc_head, batch, ctc_weight, detach, frozen, rng, device):
    sound = batch["sound"].to(device)
    with torch.no_grad():
        banks = features.warped_filters().to(device)[batch["warps"].to(device)]
        mel = features.log_mel(sound, banks)
        if any(t != 1.0 for t in batch["tempi"]):
            mel = features.stretch(mel, [t for t in batch["tempi"]])
        mel = features.mask(mel, rng)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        with torch.set_grad_enabled(not frozen):
            encoded = whisper.encode(model, mel, batch["offsets"].to(device))
        out = whisper.logits(model, encoded, batch["inputs"].to(device))
    loss = F.cross_entropy(out.float().flatten(0, 1), batch["labels"].to(device).flatten(), ignore_index=-100, label_smoothing=0.02)
    aligned = torch.zeros(())
    if ctc_weight:
        scores = F.log_softmax(ctc_head((encoded.detach() if detach else encoded).float()), -1).transpose(0, 1)
        lengths = torch.tensor([len(t) for t in batch["ctc"]])
        flat = torch.tensor([int(d) for row in batch["ctc"] for d in row], device=device)
        aligned = F.ctc_loss(scores, flat, torch.full((len(lengths),), scores.shape[0]), lengths, blank=10, zero_infinity=True)
    return loss, aligned


class Probe:
    """A few fixed utterances, to watch the training by; the figures that count come from evaluate.py."""

    def __init__(self, leave_out, count=24):
        rng = random.Random(5)
        held = {}
        for voice, u in Synthetic(held=True).all():
            held.setdefault(voice.split(":")[0], []).append(u)
        self.sets = {f"held {engine}": rng.sample(utterances, count) for engine, utterances in held.items()}
        groups = {f"unheard {person}": People(only={person}, aside=None) for person in leave_out} | {"heard people": People(leave_out, aside=True)}
        for name, people in groups.items():
            if people.people:
                self.sets[name] = [people.string(random_digits(rng), rng) for _ in range(count)]

    def __call__(self, model, tokens, device, full):
        figures = {}
        for name, utterances in self.sets.items():
            said = []
            for i in range(0, len(utterances), 12):
                part = utterances[i : i + 12]
                length = 480000 if full else (max(len(u.sound) for u in part) // 640 + 12) * 640
                sound = torch.zeros(len(part), length)
                for row, u in zip(sound, part):
                    row[: len(u.sound)] = torch.from_numpy(np.ascontiguousarray(u.sound))
                said += whisper.greedy(model, tokens, sound.to(device), features.log_mel)
            figures[name] = round(100 * jiwer.wer([normal(sentence(u.digits)) for u in utterances], [normal(s) or "-" for s in said]), 1)
        return figures


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokens = Tokens()
    model = whisper.new(tokens, encoder_layers=a.encoder_layers).to(device)
    if a.weights:
        model = whisper.load(a.weights, a.grow).to(device)
    head = torch.nn.Linear(model.config.d_model, 11).to(device)
    if a.origin:
        saved = torch.load(CACHE / f"{a.origin}.pt", map_location=device)
        model.load_state_dict(saved["average"])
        head.load_state_dict(saved["ctc"])
    average = copy.deepcopy(model).eval()
    if a.decoder_only:
        model.model.encoder.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters on {device}", flush=True)
    probe = Probe(a.leave_out)
    optimizer = torch.optim.AdamW([*parameters, *head.parameters()], lr=a.rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    batches = torch.utils.data.DataLoader(Batches(a.mode, a.size, a.seed, a.leave_out), batch_size=None, num_workers=1, prefetch_factor=4)
    rng = np.random.default_rng(a.seed)
    begin, shown, recent = time.time(), time.time(), []

    def save():
        torch.save({"model": model.state_dict(), "average": average.state_dict(), "ctc": head.state_dict()}, CACHE / f"{a.name}.new")
        (CACHE / f"{a.name}.new").rename(CACHE / f"{a.name}.pt")

    for step, batch in enumerate(batches):
        done = (time.time() - begin) / (60 * a.minutes)
        if done >= 1:
            break
        rate = a.rate * min(1, (step + 1) / a.warmup) * max(a.floor, min(1, (1 - done) / 0.4))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, aligned = loss_of(model, head, batch, a.ctc, step < a.ctc_after, a.decoder_only, rng, device)
        optimizer.zero_grad()
        (loss + a.ctc * aligned).backward()
        torch.nn.utils.clip_grad_norm_([*parameters, *head.parameters()], 1.0)
        optimizer.step()
        recent.append((loss.item(), aligned.item()))
        keep = min(0.998, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
        if (step + 1) % 50 == 0:
            ce, ctc = np.mean(recent[-50:], axis=0)
            print(f"{step + 1:6d} {(time.time() - begin) / 60:6.1f} min  loss {ce:.3f}  ctc {ctc:.3f}  rate {rate:.1e}", flush=True)
        if time.time() - shown > 60 * a.look:
            save()
            print("      ", probe(average, tokens, device, a.mode == "full"), flush=True)
            shown = time.time()
    save()
    print("final ", probe(average, tokens, device, a.mode == "full"), flush=True)


if __name__ == "__main__":
    main()
