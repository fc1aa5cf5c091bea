"""Losses: each document on its own, to its last token, the same for all models; resumed by shard."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsthand.corpora.documents import Document
from firsthand.data.preselect import measure_losses, predictive_strength, read_losses, sliding_nll
from firsthand.errors import InputError, ModelNotFoundError, NotFoundError

from .conftest import Ladder, documents

BLOCK, STRIDE = 1900, 512


def official_stream(n, block=BLOCK, stride=STRIDE):
    """Windows over one concatenated stream, as released: (windows, targets scored, targets never scored)."""
    scored, count, start = 0, 0, 0
    while start + block < n:
        scored += block if start == 0 else stride
        count += 1
        start += stride
    return count, scored, n - 1 - scored


@pytest.mark.parametrize(
    ("n", "theirs"),
    [(1901, (1, 1900, 0)), (2413, (2, 2412, 0)), (5000, (7, 4972, 27)), (10000, (16, 9580, 419))],
)
def test_every_token_is_scored_where_the_released_stream_drops_the_tail(n, theirs):
    from firsthand.lm.losses import windows

    assert official_stream(n) == theirs
    scored = [t for w in windows(n - 1, block=BLOCK, stride=STRIDE) for t in range(w.first, w.end)]
    assert scored == list(range(n - 1))


@pytest.fixture(scope="module")
def tiny():
    from firsthand import lm

    texts = [d.text for d in documents(40)]
    tokenizer = lm.train_tokenizer(texts, 300)
    return lm.LanguageModel(
        "tiny", lm.tiny_llama(len(tokenizer), width=32, layers=1, context=64), tokenizer, "tiny", "ours"
    )


def test_a_document_alone_and_among_others(tiny, tmp_path):
    """Neither neighbours nor their order leak into a loss, as they do in the released stream."""
    docs = documents(6)
    first = read_losses(measure_losses({"tiny": tiny}, docs, tmp_path / "a", block=64, stride=16))
    back = read_losses(measure_losses({"tiny": tiny}, docs[::-1], tmp_path / "b", block=64, stride=16))
    place = {name: i for i, name in enumerate(back.ids)}
    for i, document in enumerate(docs):
        alone = sliding_nll(tiny, document.text, block=64, stride=16)
        assert first.nats[i, 0] == pytest.approx(alone, rel=1e-5)
        assert back.nats[place[document.id], 0] == pytest.approx(alone, rel=1e-5)


def test_every_token_of_a_long_document_counts(tiny, tmp_path):
    text = " ".join(d.text for d in documents(8))
    n = len(tiny.tokenizer(text, add_special_tokens=False)["input_ids"])
    assert n > 3 * 64
    matrix = read_losses(
        measure_losses({"tiny": tiny}, [Document("long", text)], tmp_path, block=64, stride=16)
    )
    assert matrix.n_tokens[0, 0] == n  # with a start token all n are targets
    without = sliding_nll(tiny, text, block=64, stride=16, bos=False)
    assert without < matrix.nats[0, 0]


def test_a_tokenizer_without_start_token_scores_its_first_token_too(tiny, tmp_path):
    """Else that model would get the first token for nothing, and close pairs would flip."""
    kept = tiny.tokenizer.bos_token
    with_start = sliding_nll(tiny, "the river carries water", block=64, stride=16)
    tiny.tokenizer.bos_token = None
    try:
        assert sliding_nll(tiny, "the river carries water", block=64, stride=16) == pytest.approx(with_start)
        assert tiny.tokenizer.bos_token is None
        eos, tiny.tokenizer.eos_token = tiny.tokenizer.eos_token, None
        with pytest.raises(InputError, match="neither BOS nor EOS"):
            sliding_nll(tiny, "the river")
        tiny.tokenizer.eos_token = eos
    finally:
        tiny.tokenizer.bos_token = kept


def test_all_models_see_the_same_characters(ladder, tmp_path):
    docs = documents(10)
    matrix = read_losses(measure_losses(ladder, docs, tmp_path))
    assert len({tuple(model.seen) for model in ladder.values()}) == 1
    assert matrix.models == ("large", "middle", "small")
    assert matrix.n_chars.tolist() == [len(d.text) for d in docs]
    assert matrix.n_bytes.tolist() == [len(d.text.encode()) for d in docs]
    assert matrix.bits_per_char()[0, 0] == pytest.approx(matrix.nats[0, 0] / len(docs[0].text) / math.log(2))
    assert sliding_nll(ladder["small"], docs[1].text) == pytest.approx(40 * 2.9)


def test_shards_are_resumed(tmp_path):
    docs = documents(10)

    class Dies(Ladder):
        def __call__(self, texts):
            if self.calls == 2:
                raise RuntimeError("power cut")
            return super().__call__(texts)

    dying = Dies(0.1)
    with pytest.raises(RuntimeError, match="power cut"):
        measure_losses({"m": dying}, docs, tmp_path, shard_size=3)
    (folder,) = tmp_path.iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["00000.parquet", "00001.parquet"]
    again, seen = Dies(0.1), []
    measure_losses({"m": again}, docs, tmp_path, shard_size=3, on_progress=lambda *a: seen.append(a))
    assert again.calls == 2
    assert seen == [("m", 2, 4), ("m", 3, 4), ("m", 4, 4)]
    whole = read_losses(tmp_path)
    measure_losses({"m": again}, docs, tmp_path, shard_size=3)
    assert again.calls == 2
    fresh = read_losses(measure_losses({"m": Ladder(0.1)}, docs, tmp_path / "fresh", shard_size=100))
    np.testing.assert_array_equal(whole.nats, fresh.nats)


def test_another_text_window_or_damage_is_measured_again(tmp_path):
    docs = documents(4)
    model = Ladder(0.1)

    def calls(documents_=docs, **options):
        before = model.calls
        measure_losses({"m": model}, documents_, tmp_path, shard_size=2, **options)
        return model.calls - before

    assert calls() == 2
    assert calls() == 0
    assert calls(stride=100) == 2
    changed = [*docs[:3], Document(docs[3].id, "other words")]
    assert calls(changed, stride=100) == 1
    assert calls(docs[:2], stride=100) == 0
    assert read_losses(tmp_path).ids == ("doc-0", "doc-1")  # the shard of the larger sample is gone
    (shard,) = tmp_path.rglob("*.parquet")
    shard.write_bytes(b"damaged")
    assert calls(docs[:2], stride=100) == 1


def test_local_models_are_known_by_their_files(tmp_path):
    from firsthand.data.preselect.loss_shards import _model_stamp

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    before = _model_stamp(str(folder))
    (folder / "weights").write_bytes(b"12")
    assert _model_stamp(str(folder)) != before
    assert _model_stamp("gpt2") == "gpt2"
    assert _model_stamp(lambda texts: texts).endswith("<lambda>")


def table(path, rows):
    names = ("id", "model", "nats", "n_tokens", "n_chars", "n_bytes")
    pq.write_table(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows]), path)
    return path


def test_missing_and_non_finite_losses_are_set_aside(tmp_path):
    path = table(
        tmp_path / "l.parquet",
        [
            *[("a", "x", 3.0, 2, 4, 4), ("a", "y", 2.0, 2, 4, 4), ("a", "z", 1.0, 2, 4, 4)],
            *[("b", "x", 3.0, 2, 4, 4), ("b", "z", math.inf, 2, 4, 4), ("b", "y", 1.0, 2, 4, 4)],
            ("c", "y", 3.0, 2, 4, 4),
        ],
    )
    matrix = read_losses(path, ["x", "y", "z"])
    assert matrix.incomplete == 2
    np.testing.assert_array_equal(np.isnan(predictive_strength(matrix.nats, [1, 2, 3])), [False, True, True])
    assert read_losses(path, ["z", "x"]).nats[0].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "x", 3.0, 2, 500, 500), ("a", "y", 2.0, 2, 400, 400)], r"y read 400 of document 'a' .*500"),
        ([("a", "x", 3.0, 2, 4, 4), ("a", "x", 2.0, 2, 4, 4)], "more than one loss of x"),
        ([("a", "x", 0.0, 2, 4, 4)], "not above 0"),
    ],
)
def test_losses_that_do_not_compare(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_losses(table(tmp_path / "l.parquet", rows))


def test_losses_that_are_not_there(tmp_path):
    with pytest.raises(NotFoundError):
        read_losses(tmp_path)
    with pytest.raises(NotFoundError):
        read_losses(tmp_path / "x.parquet")
    path = table(tmp_path / "l.parquet", [("a", "x", 3.0, 2, 4, 4)])
    with pytest.raises(InputError, match="no losses of q; there are losses of x"):
        read_losses(path, ["q"])
    pq.write_table(pa.table({"id": ["a"], "loss": [1.0]}), path)
    with pytest.raises(InputError, match="lacks the columns model, nats"):
        read_losses(path)
    path.write_bytes(b"no")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_losses(path)


def test_bad_calls(tmp_path):
    with pytest.raises(InputError, match="no model"):
        measure_losses({}, documents(2), tmp_path)
    with pytest.raises(InputError, match="no document"):
        measure_losses({"m": Ladder(0.1)}, [], tmp_path)
    with pytest.raises(InputError, match="ids repeat"):
        measure_losses({"m": Ladder(0.1)}, [Document("a", "x"), Document("a", "y")], tmp_path)
    with pytest.raises((ModelNotFoundError, InputError)):
        measure_losses({"m": str(tmp_path)}, documents(2), tmp_path / "out")
    assert not list(tmp_path.rglob("*.parquet"))
