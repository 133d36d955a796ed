"""One turn of llama.cpp: the tests that `raison bench` times, timed in the same way, as rows of JSON. speed.py starts it."""
import argparse
import ctypes as c
import json
import pathlib
import statistics
import struct
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "referee"))
from llama_cpp import LOG, library  # noqa: E402

WARM_STEPS, WARM_PROMPT = 2, 32  # as in src/engine/speed.cc
CHUNK = 2048                     # most tokens of one llama_decode: n_batch's default


class Peer:
    def __init__(self, folder, path, threads):
        self.lib = lib = library(folder)
        lib.llama_synchronize.argtypes = [c.c_void_p]
        lib.llama_set_n_threads.argtypes = [c.c_void_p, c.c_int32, c.c_int32]
        for name in ("n_ctx_seq", "n_batch", "n_ubatch", "n_seq_max", "n_threads", "n_threads_batch"):
            getattr(lib, "llama_" + name).argtypes = [c.c_void_p]
        lib.llama_model_meta_val_str.argtypes = [c.c_void_p, c.c_char_p, c.c_char_p, c.c_size_t]
        self.said = []
        self.log = LOG(lambda level, text, _: self.said.append(text.decode(errors="replace").strip()))
        lib.llama_log_set(self.log, None)
        self.threads = threads
        self.model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp does not load it: {self.said[-3:]}")
        self.vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        text = c.create_string_buffer(64)
        lib.llama_model_meta_val_str(self.model, b"general.architecture", text, 64)
        lib.llama_model_meta_val_str(self.model, text.value + b".expert_count", text, 64)
        self.experts = text.value.isdigit() and int(text.value) > 0
        self.context = None
        self.rng = np.random.default_rng(20250120)

    def open(self, positions, sequences):
        """A context as llama-bench makes it: as large as the test needs, everything else by default."""
        lib = self.lib
        if self.context:
            lib.llama_free(self.context)
        positions = (positions + 255) // 256 * 256
        params = lib.llama_context_default_params()
        n_ctx, n_batch, n_ubatch, n_seq_max = struct.unpack_from("<IIII", bytes(params.bytes))
        if (n_batch, n_ubatch, n_seq_max) != (CHUNK, 512, 1):
            raise SystemExit("the sizes of a context are not where this script looks for them: another version of llama.cpp")
        struct.pack_into("<I", params.bytes, 0, positions * sequences)
        struct.pack_into("<I", params.bytes, 12, sequences)
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"no context: {self.said[-3:]}")
        lib.llama_set_n_threads(self.context, self.threads, self.threads)
        found = [getattr(lib, "llama_" + name)(self.context)
                 for name in ("n_ctx_seq", "n_batch", "n_ubatch", "n_seq_max", "n_threads", "n_threads_batch")]
        # llama.cpp lowers n_batch to a smaller context's size.
        if found[0] != positions or found[3:] != [sequences, self.threads, self.threads]:
            raise SystemExit(f"the context is not as asked for: {found}")

    def decode(self, rows):
        """One llama_decode of (token, position, sequence, whether logits are wanted) a row; the seconds it took."""
        lib = self.lib
        b = lib.llama_batch_init(len(rows), 0, 1)
        b.n = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq[i], b.logits[i] = token, position, 1, wanted
            b.seq[i][0] = sequence
        begin = time.perf_counter()
        failed = lib.llama_decode(self.context, b)
        lib.llama_synchronize(self.context)
        seconds = time.perf_counter() - begin
        lib.llama_batch_free(b)
        if failed:
            raise SystemExit(f"llama_decode failed: {failed}")
        return seconds

    def prompt(self, length, sequence=0):
        tokens = self.rng.integers(0, self.vocab, length).tolist()
        seconds = 0
        for at in range(0, length, CHUNK):
            end = min(length, at + CHUNK)
            seconds += self.decode([(tokens[i], i, sequence, i + 1 == length) for i in range(at, end)])
        return seconds

    def best(self, row):
        logits = self.lib.llama_get_logits_ith(self.context, row)
        return int(np.argmax(np.ctypeslib.as_array(logits, (self.vocab,))))

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def time_prefill(self, length, repetitions):
        self.open(length + 1, 1)
        # Experts are warm after a whole prompt only.
        self.prompt(length if self.experts else min(length, WARM_PROMPT))
        out = []
        for _ in range(repetitions):
            self.clear()
            out.append(self.prompt(length))
        return self.row("prefill", 0, 1, length, out)

    def time_decode(self, depth, sequences, steps, repetitions):
        length = max(depth, 1)
        self.open(length + 1 + WARM_STEPS + repetitions * steps, sequences)
        if length == 1:
            first = self.rng.integers(0, self.vocab, sequences).tolist()
            self.decode([(first[s], 0, s, 1) for s in range(sequences)])
            tokens = [self.best(s) for s in range(sequences)]
        else:
            tokens = []
            for s in range(sequences):
                self.prompt(length, s)
                tokens.append(self.best(-1))
        position, out = length, []
        for i in range(-1, repetitions):  # -1: warming up
            seconds = 0
            for _ in range(WARM_STEPS if i < 0 else steps):
                seconds += self.decode([(tokens[s], position, s, 1) for s in range(sequences)])
                tokens = [self.best(s) for s in range(sequences)]  # not timed: a caller's work here, raison's own there
                position += 1
            if i >= 0:
                out.append(seconds)
        return self.row("decode", depth, sequences, steps * sequences, out)

    @staticmethod
    def row(test, depth, sequences, tokens, seconds):
        return {"test": test, "depth": depth, "sequences": sequences, "tokens": tokens, "seconds": seconds,
                "tokens_per_second": tokens / statistics.median(seconds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="that of llama.cpp's libraries")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prefill", type=int, required=True)
    parser.add_argument("--decode", type=int, required=True, help="tokens of a sequence in one repetition")
    parser.add_argument("--cases", required=True, help="DEPTHxSEQUENCES,... to decode")
    parser.add_argument("--repetitions", type=int, required=True)
    parser.add_argument("--json", required=True)
    o = parser.parse_args()
    peer = Peer(o.folder, o.model, o.threads)
    rows = [peer.time_prefill(o.prefill, o.repetitions)] if o.prefill > 0 else []
    for case in o.cases.split(","):
        depth, sequences = map(int, case.split("x"))
        rows.append(peer.time_decode(depth, sequences, o.decode, o.repetitions))
    flash = sorted({s.split()[-1] for s in peer.said if "Flash Attention" in s})
    pathlib.Path(o.json).write_text(json.dumps({"rows": rows, "flash_attention": ", ".join(flash) or "not told"}))


if __name__ == "__main__":
    main()
