"""Where training keeps what it makes: under the user's cache, never in the repository."""

import os
import pathlib

REPO = pathlib.Path(__file__).resolve().parents[2]
MODEL = REPO / "models" / "whisper-nano-digits"
FSDD = pathlib.Path(os.environ.get("FSDD", REPO.parent / "shared" / "data" / "fsdd-train.tar.xz"))

_home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
CACHE = pathlib.Path(os.environ.get("PARLANCE_CACHE") or pathlib.Path(_home, "parlance")) / "train"
SPEECH = CACHE / "speech"
RECORDINGS = CACHE / "recordings"
