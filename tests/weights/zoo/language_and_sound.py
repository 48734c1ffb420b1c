"""Small networks of Hugging Face's transformers, with random numbers for parameters."""

from functools import partial

from .architecture import Architecture

TOKENS = {"input_ids": [6]}
VOCABULARY = 31
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT = SIZES | SPECIAL | {"vocab_size": VOCABULARY, "max_position_embeddings": 20, "use_cache": False}
KEPT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BOTH = {"d_model": 16, "vocab_size": VOCABULARY, "use_cache": False}
LAYERS = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
WIDTHS = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "dropout": 0.0}

NORMS = "its norms are computed in float32"
SOFTMAX = "its softmax is computed in float32"


def model(name, config, own):
    """Makes a maker of the model `name` with a config of the class `config`."""
    return lambda library: getattr(library, name)(getattr(library, config)(**own))


def wav2vec2():
    convolutions = {"conv_dim": (8, 8), "conv_stride": (4, 2), "conv_kernel": (8, 4), "feat_extract_norm": "layer"}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    dropped = {
        "activation_dropout": 0.0,
        "attention_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "hidden_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
        "mask_time_prob": 0.0,
        "apply_spec_augment": False,
    }
    own = SIZES | convolutions | positions | dropped
    return model("Wav2Vec2Model", "Wav2Vec2Config", own | {"num_feat_extract_layers": 2})


def whisper():
    own = BOTH | LAYERS | WIDTHS | {"num_mel_bins": 4, "max_source_positions": 6, "max_target_positions": 10}
    tokens = {"decoder_start_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None} | SPECIAL
    return model("WhisperForConditionalGeneration", "WhisperConfig", own | tokens)


GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20, "vocab_size": VOCABULARY, "use_cache": False}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": VOCABULARY}
IMAGE = SIZES | {"image_size": 32, "patch_size": 8, "num_channels": 3}

text = partial(Architecture, library="transformers", inputs=TOKENS, vocabulary=VOCABULARY, mask="attention_mask")
pair = partial(text, inputs=TOKENS | {"decoder_input_ids": [4]})

ARCHITECTURES = [
    text("BERT", make=model("BertForSequenceClassification", "BertConfig", TEXT | KEPT)),
    text("RoBERTa", make=model("RobertaForTokenClassification", "RobertaConfig", TEXT | KEPT)),
    text("ALBERT, layers shared", make=model("AlbertModel", "AlbertConfig", TEXT | KEPT | {"embedding_size": 8})),
    text(
        "DistilBERT",
        make=model(
            "DistilBertForMaskedLM",
            "DistilBertConfig",
            {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2, "vocab_size": VOCABULARY}
            | {"dropout": 0.0, "attention_dropout": 0.0, "max_position_embeddings": 20, "pad_token_id": 0},
        ),
    ),
    text(
        "GPT-2",
        make=model(
            "GPT2LMHeadModel", "GPT2Config", GPT2 | {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0} | SPECIAL
        ),
    ),
    text(
        "OPT",
        make=model("OPTForCausalLM", "OPTConfig", TEXT | {"ffn_dim": 24, "dropout": 0.0, "word_embed_proj_dim": 16}),
    ),
    text("Llama", make=model("LlamaForCausalLM", "LlamaConfig", TEXT | {"num_key_value_heads": 1}), loose=NORMS),
    text("Mistral", make=model("MistralForCausalLM", "MistralConfig", TEXT | {"num_key_value_heads": 1}), loose=NORMS),
    text("Qwen2", make=model("Qwen2ForCausalLM", "Qwen2Config", TEXT | {"num_key_value_heads": 1}), loose=NORMS),
    text(
        "Gemma",
        make=model("GemmaForCausalLM", "GemmaConfig", TEXT | {"num_key_value_heads": 1, "head_dim": 8}),
        loose=NORMS,
    ),
    pair(
        "T5",
        make=model("T5ForConditionalGeneration", "T5Config", T5 | SPECIAL | {"dropout_rate": 0.0, "use_cache": False}),
        # looked up at distances, with the heads behind them: with this table it would have to run under vmap, but masks do not
        alone=("*relative_attention_bias*",),
        loose=NORMS,
    ),
    pair(
        "BART",
        make=model(
            "BartForConditionalGeneration",
            "BartConfig",
            BOTH | LAYERS | WIDTHS | SPECIAL | {"max_position_embeddings": 20, "decoder_start_token_id": 1},
        ),
    ),
    text(
        "Mamba",
        make=model(
            "MambaForCausalLM",
            "MambaConfig",
            {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 2, "vocab_size": VOCABULARY, "use_cache": False}
            | SPECIAL,
        ),
        mask="",
        loose=NORMS,
    ),
    text(
        "CLIP, text",
        make=model("CLIPTextModelWithProjection", "CLIPTextConfig", TEXT | {"projection_dim": 8}),
    ),
    Architecture(
        "CLIP, images",
        "transformers",
        model("CLIPVisionModelWithProjection", "CLIPVisionConfig", IMAGE | {"projection_dim": 8}),
        {"pixel_values": (3, 32, 32)},
    ),
    Architecture(
        "Whisper",
        "transformers",
        whisper(),
        {"input_features": (4, 12), "decoder_input_ids": [4]},
        vocabulary=VOCABULARY,
    ),
    # in training it sets requires_grad of what it computes from its input
    Architecture("Wav2Vec2", "transformers", wav2vec2(), {"input_values": (120,)}, differentiable=False),
    Architecture(
        "SegFormer",
        "transformers",
        model(
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16]}
            | {"patch_sizes": [3, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2]}
            | {"decoder_hidden_size": 8, "drop_path_rate": 0.0, "classifier_dropout_prob": 0.0}
            | KEPT,
        ),
        {"pixel_values": (3, 32, 32)},
    ),
]
