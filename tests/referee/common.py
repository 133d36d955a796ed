"""What the referees share: safetensors, raison's logits, models of random weights."""
import json
import os
import pathlib
import subprocess

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "referee"
RAISON = os.environ.get("RAISON", str(ROOT / "build" / "release" / "raison"))
NUMPY = {"F32": np.float32, "I32": np.int32, "I64": np.int64}


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        out[name] = np.frombuffer(raw[8 + size + begin:8 + size + end], NUMPY[t["dtype"]]).reshape(t["shape"])
    return out


def write_safetensors(path, tensors):
    """fp32 arrays, stored as bf16 (cut off: the values are random)."""
    header, at, parts = {}, 0, []
    for name, values in tensors.items():
        data = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def raison_logits(model, tokens, *options):
    out = BUILD / "logits.safetensors"
    subprocess.run([RAISON, "logits", str(model), "--tokens", ",".join(map(str, tokens)), "--out", str(out), *options],
                   check=True, stdout=subprocess.DEVNULL)
    return read_safetensors(out)["logits"].copy()
