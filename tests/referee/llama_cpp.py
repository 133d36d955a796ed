"""llama.cpp's library, as the pinned package @node-llama-cpp/linux-x64 brings it, by its C interface."""
import ctypes as c
import glob
import pathlib
import struct

import numpy as np


class Params(c.Structure):  # of models and contexts alike: larger than both
    _fields_ = [("bytes", c.c_uint8 * 512)]


class Batch(c.Structure):
    _fields_ = [("n", c.c_int32), ("token", c.POINTER(c.c_int32)), ("embd", c.c_void_p), ("pos", c.POINTER(c.c_int32)),
                ("n_seq", c.POINTER(c.c_int32)), ("seq", c.POINTER(c.POINTER(c.c_int32))), ("logits", c.POINTER(c.c_int8))]


LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
_library = None


def library(folder):
    global _library
    if _library is None:
        folder = pathlib.Path(folder)
        find = lambda pattern: sorted(glob.glob(str(folder / pattern)))[0]
        c.CDLL(find("libggml-base*.so*"), c.RTLD_GLOBAL)
        ggml = c.CDLL(find("libggml.*so*"), c.RTLD_GLOBAL)
        ggml.ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        _library = c.CDLL(find("libllama.*so*"), c.RTLD_GLOBAL)
        lib = _library
        lib.llama_model_default_params.restype = lib.llama_context_default_params.restype = Params
        lib.llama_model_load_from_file.restype = c.c_void_p
        lib.llama_model_load_from_file.argtypes = [c.c_char_p, Params]
        lib.llama_init_from_model.restype = c.c_void_p
        lib.llama_init_from_model.argtypes = [c.c_void_p, Params]
        lib.llama_batch_init.restype = Batch
        lib.llama_decode.argtypes = [c.c_void_p, Batch]
        lib.llama_get_logits_ith.restype = c.POINTER(c.c_float)
        lib.llama_get_logits_ith.argtypes = [c.c_void_p, c.c_int32]
        lib.llama_get_memory.restype = c.c_void_p
        lib.llama_get_memory.argtypes = [c.c_void_p]
        lib.llama_memory_clear.argtypes = [c.c_void_p, c.c_bool]
        lib.llama_free.argtypes = lib.llama_model_free.argtypes = [c.c_void_p]
        lib.llama_model_get_vocab.restype = c.c_void_p
        lib.llama_model_get_vocab.argtypes = [c.c_void_p]
        lib.llama_vocab_n_tokens.argtypes = [c.c_void_p]
    return _library


class LlamaCpp:
    def __init__(self, folder, path, length):
        lib = self.lib = library(folder)
        self.warnings = []
        self.log = LOG(lambda level, text, _: self.warnings.append(text.decode(errors="replace")) if level in (3, 4) else None)
        lib.llama_log_set(self.log, None)
        self.model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp does not load it: {self.warnings[-3:]}")
        loading = list(self.warnings)
        params = lib.llama_context_default_params()
        c.memmove(c.addressof(params), struct.pack("<IIII", length, length, length, 1), 16)  # n_ctx, n_batch, n_ubatch, n_seq_max
        # type_k and type_v stand beside each other as F16 (1, 1): F32 (0, 0) instead.
        at = bytes(params.bytes).find(struct.pack("<ii", 1, 1), 32)
        if at < 0:
            raise SystemExit("the types of the cache are not where this script looks for them: another version of llama.cpp")
        c.memmove(c.addressof(params) + at, struct.pack("<ii", 0, 0), 8)
        # flash_attn_type stands behind three other enums at their -1: 0 is off. On, it rounds an F32 cache to F16 (README.md).
        at = bytes(params.bytes).find(struct.pack("<iiii", -1, -1, -1, -1))
        if at < 0:
            raise SystemExit("flash_attn_type is not where this script looks for it: another version of llama.cpp")
        c.memmove(c.addressof(params) + at + 12, struct.pack("<i", 0), 4)
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"{path}: no context: {self.warnings[-3:]}")
        self.warnings = loading
        self.vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))

    def logits(self, tokens):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        n = len(tokens)
        b = self.lib.llama_batch_init(n, 0, 1)
        b.n = n
        for i, token in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq[i], b.logits[i] = token, i, 1, 1
            b.seq[i][0] = 0
        if self.lib.llama_decode(self.context, b) != 0:
            raise SystemExit("llama_decode failed")
        rows = [np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, i), (self.vocab,)).copy() for i in range(n)]
        return np.array(rows)

    def close(self):
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)
