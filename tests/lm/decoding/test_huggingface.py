"""The adapter: each family reads in pieces, along trees and after going back as it does on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firsthand.errors import InputError
from firsthand.lm.decoding import PlainDecoder, SamplingParams, TokenTree, check_tree
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.decoding.sampling import Sampler
from tests.lm.decoding.models_for_tests import FAMILIES, VOCABULARY, random_ids, random_model

TOLERANCE = {
    "sdpa": 1e-10,
    "eager": 1e-4,
}  # eager attention takes its softmax in float32, whatever the weights


def own_logits(model, ids):
    """What transformers makes of the whole text at once: its own mask, its own windows, no cache."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


@pytest.fixture(params=["sdpa", "eager"], scope="module")
def attention(request):
    return request.param


@pytest.fixture(params=FAMILIES, scope="module")
def adapter(request, attention):
    return HFCausalLM(random_model(request.param, attention=attention), name=request.param)


def assert_close(found, wanted, attention):
    assert float((found - wanted).abs().max()) < TOLERANCE[attention] * float(wanted.abs().max())


def test_reading_in_pieces(adapter, attention):
    ids = random_ids(60)
    cache = adapter.new_cache()
    pieces = [adapter.forward(ids[:25], cache), adapter.forward(ids[25:31], cache)]
    pieces += [adapter.forward([token], cache) for token in ids[31:50]]
    pieces.append(adapter.forward(ids[50:], cache, last=3))
    wanted = own_logits(adapter.model, ids)
    assert_close(torch.cat(pieces), torch.cat([wanted[:50], wanted[-3:]]), attention)
    assert cache.length == 60


def test_going_back_past_a_window(adapter, attention):
    """What has left a sliding window comes back into it when the text is cut."""
    ids, other = random_ids(60), random_ids(60, seed=1)
    cache = adapter.new_cache()
    adapter.forward(ids, cache)
    cache.truncate(20)
    cache.truncate(40)  # longer than it is: nothing changes
    found = adapter.forward(other[20:30], cache)
    assert_close(found, own_logits(adapter.model, ids[:20] + other[20:30])[20:], attention)


def test_every_node_of_a_tree_sees_its_own_text(adapter, attention):
    ids = random_ids(23)
    tree = TokenTree(ids[-1])
    paths = [[5, 6, 7], [5, 6, 8], [5, 9], [10, 11, 12, 13]]
    nodes = [tree.add_path(path) for path in paths]
    cache = adapter.new_cache()
    adapter.forward(ids[:-1], cache)
    logits = adapter.forward(
        tree.tokens, cache, positions=[22 + depth for depth in tree.depths], mask=tree.mask()
    )
    for path, node in zip(paths, nodes, strict=True):
        assert_close(logits[node], own_logits(adapter.model, ids + path)[-1], attention)
    # The same rows read with a causal mask are wrong: the tree's siblings would see each other.
    cache.truncate(22)
    naive = adapter.forward(tree.tokens, cache, positions=[22 + depth for depth in tree.depths])
    last = nodes[-1]
    assert float((naive[last] - logits[last]).abs().max()) > 1e-3
    # Keep the second path; what follows reads on as if the others had never been.
    cache.truncate(22)
    adapter.forward(tree.tokens, cache, positions=[22 + depth for depth in tree.depths], mask=tree.mask())
    kept = [0, tree.children[0][5]]
    kept.append(tree.children[kept[-1]][6])
    kept.append(tree.children[kept[-1]][8])
    cache.commit(22, [22 + node for node in kept])
    assert cache.length == 26
    text = ids + paths[1] + random_ids(12, seed=2)
    assert_close(adapter.forward(text[26:], cache), own_logits(adapter.model, text)[26:], attention)


def test_looking_back_leaves_no_trace(adapter, attention):
    """A token read where the text used to end sees that text, and the cache goes on as if it had not been read."""
    ids = random_ids(60)
    cache, other = adapter.new_cache(), adapter.new_cache()
    adapter.forward(ids[:50], cache)
    adapter.forward(ids[:50], other)
    with cache.looking_back(20):
        assert cache.length == 20
        assert_close(adapter.forward([7], cache), own_logits(adapter.model, [*ids[:20], 7])[-1:], attention)
    assert cache.length == 50
    assert torch.equal(adapter.forward(ids[50:], cache), adapter.forward(ids[50:], other))
    with pytest.raises(InputError, match="cannot look back to 60"), cache.looking_back(60):
        pass


def test_states_are_those_of_a_reading(adapter, attention):
    ids = random_ids(40)
    reading = adapter.read(ids, adapter.new_cache())
    assert_close(adapter.states(torch.tensor([ids, ids]))[1], reading.hidden, attention)


def test_a_tree_that_grows_over_several_passes(adapter, attention):
    ids = random_ids(20)
    cache = adapter.new_cache()
    adapter.forward(ids, cache)
    adapter.forward([1, 2], cache, positions=[20, 20], mask=np.eye(2, dtype=bool))
    mask = np.array([[1, 0, 1, 0], [0, 1, 0, 1]], dtype=bool)
    found = adapter.forward([3, 4], cache, positions=[21, 21], mask=mask)
    for row, path in zip(found, ([1, 3], [2, 4]), strict=True):
        assert_close(row, own_logits(adapter.model, ids + path)[-1], attention)


def test_a_fork_is_independent(adapter, attention):
    ids = random_ids(30)
    cache = adapter.new_cache()
    adapter.forward(ids[:15], cache)
    fork = cache.fork()
    adapter.forward(random_ids(15, seed=3), cache)
    assert_close(adapter.forward(ids[15:], fork), own_logits(adapter.model, ids)[15:], attention)


def test_hidden_states_and_head(adapter, attention):
    """Hidden states are those before the final norm; the head gives the model's own logits."""
    ids = random_ids(12)
    reading = adapter.read(ids, adapter.new_cache())
    assert reading.hidden.shape == (12, 16)
    decoder = adapter.model.get_decoder()
    norm = decoder.ln_f if hasattr(decoder, "ln_f") else decoder.norm
    with torch.no_grad():
        normed = norm(reading.hidden)
        assert_close(adapter.head(normed), own_logits(adapter.model, ids), attention)
        states = adapter.model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    # transformers' last hidden state has been through the norm already.
    assert not torch.allclose(states.hidden_states[-1][0], reading.hidden)


def test_queries_are_those_that_attention_used(adapter):
    """softmax(q·k / √D) of the recorded query over the cached keys is the attention that transformers reports."""
    config = adapter.model.config.get_text_config()
    ids = random_ids(7)  # inside every window
    cache = adapter.new_cache()
    reading = adapter.read(ids, cache, queries=True)
    assert adapter._attention in ("sdpa", "eager")  # recording has ended
    before = adapter._attention
    adapter.model.set_attn_implementation("eager")
    with torch.no_grad():
        shown = adapter.model(
            input_ids=torch.tensor([ids]), output_attentions=True, use_cache=False
        ).attentions
    adapter.model.set_attn_implementation(before)
    for layer, queries in enumerate(reading.queries):
        assert queries.shape[1] == 7
        query = queries[:, -1]
        keys = cache.keys(layer)
        groups = query.shape[0] // keys.shape[0]
        scale = getattr(config, "query_pre_attn_scalar", None) or query.shape[1]
        scores = torch.einsum("hd,hmd->hm", query, keys.repeat_interleave(groups, 0)) * scale**-0.5
        assert torch.allclose(torch.softmax(scores, -1), shown[layer][0, :, -1].double(), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_decoding_equals_generate(family):
    model = random_model(family)
    ids = random_ids(9)
    found = PlainDecoder(HFCausalLM(model)).generate(ids, 30)
    wanted = model.generate(
        torch.tensor([ids]), max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert list(found.tokens) == wanted[0, 9:].tolist()


def test_checking_a_tree_gives_plain_decodings_tokens(adapter):
    ids = random_ids(9)
    sampling = SamplingParams(temperature=1, repetition_penalty=1.3, penalty_window=4, seed=11)
    wanted = PlainDecoder(adapter).generate(ids, 4, sampling).tokens
    text, cache = list(ids), adapter.new_cache()
    adapter.forward(ids[:-1], cache)
    tree = TokenTree(ids[-1])
    tree.add_path([(token + 1) % VOCABULARY for token in wanted])
    tree.add_path(wanted[:2])
    checked = check_tree(adapter, cache, tree, text, Sampler(sampling))
    assert checked.tokens == wanted[:3]
    assert text == ids + list(wanted[:3])
    assert cache.length == len(text) - 1


def test_a_long_prompt_is_read_in_pieces():
    model = random_model("gemma3", positions=2048)
    ids = random_ids(1300)
    adapter = HFCausalLM(model)
    cache = adapter.new_cache()
    found = adapter.forward(ids, cache, last=1)
    assert cache.length == 1300
    assert_close(found, own_logits(model, ids)[-1:], "sdpa")


def test_a_model_that_ignores_masks_is_refused():
    import transformers

    bloom = transformers.BloomForCausalLM(
        transformers.BloomConfig(vocab_size=64, hidden_size=16, n_layer=2, n_head=2)
    )
    with pytest.raises(InputError, match=r"Bloom.* cannot be driven with positions, a tree mask"):
        HFCausalLM(bloom)
    mamba = transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2)
    )
    with pytest.raises(InputError, match="linear_attention"):
        HFCausalLM(mamba)

    class Deaf(transformers.LlamaForCausalLM):
        def forward(self, *args, attention_mask=None, **kwargs):
            return super().forward(*args, **kwargs)

    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        attn_implementation="eager",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"Deaf.*"):
        HFCausalLM(Deaf(config), name="Deaf")


def test_a_head_that_is_not_understood_is_not_used():
    import transformers

    class Odd(transformers.LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 3
            return output

    odd = HFCausalLM(
        Odd(
            transformers.LlamaConfig(
                vocab_size=64,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
            )
        ),
        name="Odd",
    )
    with pytest.raises(InputError, match="changes its logits after the output layer"):
        odd.head(torch.zeros(1, 16))


def test_wrong_shapes_are_named():
    adapter = HFCausalLM(random_model("llama"))
    cache = adapter.new_cache()
    with pytest.raises(InputError, match="at least one token"):
        adapter.forward([], cache)
    with pytest.raises(InputError, match="2 tokens need positions"):
        adapter.forward([1, 2], cache, positions=[0])
    with pytest.raises(InputError, match="2 tokens need positions"):
        adapter.forward([1, 2], cache, mask=np.ones((2, 1), dtype=bool))
    with pytest.raises(InputError, match="nothing has been read"):
        cache.keys(0)
    adapter.forward([1, 2, 3], cache)
    with pytest.raises(InputError, match="cannot keep"):
        cache.commit(1, [2, 1])
    with pytest.raises(InputError, match="cannot keep"):
        cache.commit(1, [3])
    with pytest.raises(InputError, match="cannot be cut"):
        cache.truncate(-1)


def test_fingerprints_tell_models_apart():
    one, other = HFCausalLM(random_model("llama")), HFCausalLM(random_model("llama", seed=1))
    assert one.fingerprint() == HFCausalLM(random_model("llama")).fingerprint()
    assert one.fingerprint() != other.fingerprint()


def test_a_folder_loads(tmp_path):
    from firsthand.lm import train_tokenizer

    tokenizer = train_tokenizer(["a text to learn from " * 20], 300)
    model = random_model("llama").float()
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    adapter = HFCausalLM.from_pretrained(tmp_path, device="cpu")
    assert adapter.vocab_size == len(tokenizer)
    assert adapter.dtype == torch.float32
