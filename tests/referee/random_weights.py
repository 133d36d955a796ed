"""What a model of random weights consists of, by its config.json."""
import numpy as np


def tensors(c):
    """(name, shape, mean, standard deviation) of every tensor."""
    h = c["hidden_size"]
    out = [("model.embed_tokens.weight", (c["vocab_size"], h), 0, 1)]

    def matrix(key, rows, cols, gain=1.0):
        out.append((key + ".weight", (rows, cols), 0, gain / np.sqrt(cols)))

    def norm(key, n):
        out.append((key + ".weight", (n,), 1, 0.1))

    def mlp(key, width):
        matrix(key + ".gate_proj", width, h)
        matrix(key + ".up_proj", width, h)
        matrix(key + ".down_proj", h, width)

    for l in range(c["num_hidden_layers"]):
        p, heads = f"model.layers.{l}.", c["num_attention_heads"]
        a, m = p + "self_attn.", p + "mlp"
        norm(p + "input_layernorm", h)
        norm(p + "post_attention_layernorm", h)
        if "kv_lora_rank" in c:
            nope, rope, v = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
            matrix(a + "q_a_proj", c["q_lora_rank"], h)
            norm(a + "q_a_layernorm", c["q_lora_rank"])
            matrix(a + "q_b_proj", heads * (nope + rope), c["q_lora_rank"])
            matrix(a + "kv_a_proj_with_mqa", c["kv_lora_rank"] + rope, h)
            norm(a + "kv_a_layernorm", c["kv_lora_rank"])
            matrix(a + "kv_b_proj", heads * (nope + v), c["kv_lora_rank"])
            matrix(a + "o_proj", h, heads * v)
        else:
            kv, d = c["num_key_value_heads"], c["head_dim"]
            for key, rows in (("q_proj", heads * d), ("k_proj", kv * d), ("v_proj", kv * d)):
                matrix(a + key, rows, h)
                if c["model_type"] == "qwen2":
                    out.append((a + key + ".bias", (rows,), 0, 0.3))
            matrix(a + "o_proj", h, heads * d)
            if c["model_type"] == "qwen3":
                norm(a + "q_norm", d)
                norm(a + "k_norm", d)
        if "n_routed_experts" in c and l >= c["first_k_dense_replace"]:
            matrix(m + ".gate", c["n_routed_experts"], h)
            out.append((m + ".gate.e_score_correction_bias", (c["n_routed_experts"],), 0, 0.1))
            for e in range(c["n_routed_experts"]):
                mlp(f"{m}.experts.{e}", c["moe_intermediate_size"])
            mlp(m + ".shared_experts", c["moe_intermediate_size"] * c["n_shared_experts"])
        else:
            mlp(m, c["intermediate_size"])
    norm("model.norm", h)
    matrix("lm_head", c["vocab_size"], h, 2.0)
    return out
