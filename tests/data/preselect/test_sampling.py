"""The seed sample: seeded by ids, the same from each group, without near-duplicates, whatever the order."""

from __future__ import annotations

import json
import random
import warnings
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.corpora.documents import Document
from firsthand.corpora.files import Layout, find_inputs
from firsthand.corpora.ids import seeded_order
from firsthand.corpora.near_duplicates import NearDuplicateWarning
from firsthand.data.preselect import SeedSample, sample_seed
from firsthand.data.preselect.sampling import read_seed, web_host
from firsthand.errors import InputError

BY_URL = Layout(source_field="url")


def records(n, sources=("",), seed=0, words=40):
    rng = random.Random(seed)
    texts = [" ".join(f"w{rng.randrange(5000)}" for _ in range(words)) for _ in range(n)]
    return [{"id": f"d{at}", "text": t, "url": sources[at % len(sources)]} for at, t in enumerate(texts)]


@pytest.fixture
def corpus(tmp_path):
    number = iter(range(1000))

    def write(*parts):
        folder = tmp_path / f"corpus-{next(number)}"
        folder.mkdir()
        for at, part in enumerate(parts):
            lines = "".join(json.dumps(record) + "\n" for record in part)
            (folder / f"{at}.jsonl").write_text(lines)
        return find_inputs([folder])

    return write


def draw(files, tmp_path, **options):
    options = {"min_chars": 10, "layout": BY_URL, **options}
    return sample_seed(files, tmp_path / "seed.jsonl", **options)


def obvious(all_records, *, group_of, per_group, max_groups, seed_docs, seed, min_chars=10):
    """The sample as one would write it down first, with everything in memory."""
    key = dict(zip(ids := [r["id"] for r in all_records], seeded_order(ids, seed).tolist(), strict=True))
    groups = defaultdict(list)
    for record in all_records:
        if len(record["text"]) >= min_chars:
            groups[group_of(record)].append(record["id"])
    order = dict(zip(groups, seeded_order(list(groups), seed).tolist(), strict=True))
    chosen = sorted(groups, key=lambda name: (-len(groups[name]), order[name]))[:max_groups]
    drawn = [name for group in chosen for name in sorted(groups[group], key=key.__getitem__)[:per_group]]
    return sorted(drawn, key=key.__getitem__)[:seed_docs]


def ids(sample):
    return [document.id for document in sample.documents]


def test_a_plain_sample_is_the_first_in_the_seeded_order(tmp_path, corpus):
    """The default: a seeded hash of the id decides, as it always has."""
    given = records(200)
    sample = draw(corpus(given[:90], given[90:]), tmp_path, seed_docs=30, seed=4)
    names = [record["id"] for record in given]
    order = seeded_order(names, 4).tolist()
    assert ids(sample) == [name for _, name in sorted(zip(order, names, strict=True))][:30]
    assert isinstance(sample, SeedSample)
    assert (sample.corpus_documents, sample.long_enough, sample.groups) == (200, 200, None)
    assert (sample.near_duplicates, sample.dropped) == (0, 0)
    assert read_seed(tmp_path / "seed.jsonl") == list(sample.documents)


def test_the_sample_does_not_depend_on_the_order_of_files(tmp_path, corpus):
    given = records(240, ["a", "b", "c"])
    files = corpus(given[:120], given[120:])
    for options in ({}, {"stratify_by": "source", "per_group": 7, "max_groups": 2}):
        one = draw(files, tmp_path, seed_docs=30, seed=2, **options)
        written = (tmp_path / "seed.jsonl").read_bytes()
        two = draw(files[::-1], tmp_path, seed_docs=30, seed=2, **options)
        assert one == two
        assert (tmp_path / "seed.jsonl").read_bytes() == written
        assert set(ids(draw(files, tmp_path, seed_docs=30, seed=3, **options))) != set(ids(one))
    first_half = sum(int(d.id.removeprefix("d")) < 120 for d in draw(files, tmp_path, seed_docs=30).documents)
    assert 4 < first_half < 26


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", ""]), min_size=8, max_size=60),
    st.integers(0, 3),
    st.integers(1, 6),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(2, 20)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=30, deadline=None)
def test_a_stratified_sample_is_the_obvious_one_in_any_order(
    tmp_path_factory, sources, seed, per_group, max_groups, seed_docs, shuffler
):
    options = {"per_group": per_group, "max_groups": max_groups, "seed_docs": seed_docs, "seed": seed}
    given = [{**record, "url": source} for record, source in zip(records(len(sources)), sources, strict=True)]
    expected = obvious(given, group_of=lambda r: r["url"], **options)
    shuffler.shuffle(given)
    folder = tmp_path_factory.mktemp("corpus")
    for at, part in enumerate((given[::2], given[1::2])):
        (folder / f"{at}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in part))
    options |= {"stratify_by": "source", "near_duplicates": "ignore"}
    if len(expected) < 2:
        with pytest.raises(InputError, match="could be drawn"):
            draw(find_inputs([folder]), folder, **options)
        return
    assert ids(draw(find_inputs([folder]), folder, **options)) == expected


def test_each_group_gives_as_many(tmp_path, corpus):
    """A large site does not fill the sample, and groups of one stay out where others are more frequent."""
    given = records(300, ["large"] * 8 + ["middle", "small"]) + [
        {**record, "id": f"single-{at}", "url": f"tiny-{at}"} for at, record in enumerate(records(20, seed=9))
    ]
    files = corpus(given)
    plain = Counter(d.source for d in draw(files, tmp_path, seed_docs=60).documents)
    assert plain["large"] > 35
    sample = draw(files, tmp_path, stratify_by="source", per_group=20, max_groups=3, seed_docs=None)
    assert Counter(d.source for d in sample.documents) == {"large": 20, "middle": 20, "small": 20}
    assert vars(sample.groups) == {"found": 23, "used": 3, "short": 0, "with_host": None}
    wider = draw(files, tmp_path, stratify_by="source", per_group=40, max_groups=10, seed_docs=None)
    assert vars(wider.groups) == {"found": 23, "used": 10, "short": 9, "with_host": None}
    assert Counter(d.source for d in wider.documents)["large"] == 40
    capped = draw(files, tmp_path, stratify_by="source", per_group=20, max_groups=3, seed_docs=30)
    assert ids(capped) == ids(sample)[:30]


def test_equally_frequent_groups_come_in_a_seeded_order(tmp_path, corpus):
    files = corpus(records(60, [f"site-{n}" for n in range(20)]))
    chosen = {
        seed: {
            d.source for d in draw(files, tmp_path, stratify_by="source", max_groups=5, seed=seed).documents
        }
        for seed in range(4)
    }
    assert all(len(names) == 5 for names in chosen.values())
    assert len({frozenset(names) for names in chosen.values()}) > 1


def test_short_documents_do_not_make_a_group_frequent(tmp_path, corpus):
    long, short = records(20, ["rare"], seed=1), records(80, ["stubs"], seed=2, words=1)
    for record in long:
        record["id"] += "-long"
    files = corpus(long + short)
    sample = draw(files, tmp_path, stratify_by="source", max_groups=1, min_chars=100)
    assert {d.source for d in sample.documents} == {"rare"}
    assert (sample.corpus_documents, sample.long_enough, sample.groups.found) == (100, 20, 1)


def test_by_domain(tmp_path, corpus):
    urls = [
        "https://www.Example.org/a", "http://example.org:8080/b?x=1", "https://EXAMPLE.org./c",  # one host
        "https://blog.example.org/", "ftp://other.net/file", "plain-source", "",
    ]  # fmt: skip
    sample = draw(corpus(records(70, urls)), tmp_path, stratify_by="domain", per_group=4)
    assert Counter(d.source for d in sample.documents) == {
        "example.org": 4, "blog.example.org": 4, "other.net": 4, "plain-source": 4, "": 4,
    }  # fmt: skip
    assert vars(sample.groups) == {"found": 5, "used": 5, "short": 0, "with_host": 3}
    by_source = draw(corpus(records(70, urls)), tmp_path, stratify_by="source", per_group=4)
    assert len({d.source for d in by_source.documents}) == 7  # the source is kept as it is


@pytest.mark.parametrize(
    ("source", "host"),
    [
        ("https://www.Example.org:8080/page", "example.org"),
        ("HTTP://user:secret@News.example.org", "news.example.org"),
        ("//cdn.example.org/x", "cdn.example.org"),
        ("https://:80/", None),
        ("https://[::1]:80/", "::1"),
        ("https://[broken", None),
        ("https://münchen.example/", "münchen.example"),
        ("https://www2.example.org/", "www2.example.org"),
        ("example.org/page", None),
        ("corpus/part-3.jsonl", None),
        ("c:/texts/a.txt", None),
        ("", None),
    ],
)
def test_the_host_of_a_source(source, host):
    assert web_host(source) == host


def copies(given, n):
    """The first n again, each with one word of forty replaced."""
    return [
        {**record, "id": record["id"] + "-copy", "text": record["text"].rsplit(" ", 1)[0] + " changed"}
        for record in given[:n]
    ]


def test_near_duplicates_are_dropped_with_a_warning(tmp_path, corpus):
    given = records(60)
    files = corpus(given, copies(given, 10))
    with pytest.warns(NearDuplicateWarning, match=r"10 of 70 documents \(14.3%\)") as told:
        sample = draw(files, tmp_path)
    assert told[0].filename == __file__
    assert len(sample.documents) == 60
    assert (sample.near_duplicates, sample.dropped, sample.many_near_duplicates) == (10, 10, True)
    assert sample.near_duplicate_share == pytest.approx(10 / 70)
    assert len({name.removesuffix("-copy") for name in ids(sample)}) == 60
    assert [d.id for d in read_seed(tmp_path / "seed.jsonl")] == ids(sample)
    # which of two stays is decided by their ids, and those that stay keep the seeded order
    with pytest.warns(NearDuplicateWarning):
        again = draw(files[::-1], tmp_path)
    assert again == sample
    with pytest.warns(NearDuplicateWarning):
        whole = draw(files, tmp_path, near_duplicates="warn")
    assert [name for name in ids(whole) if name in set(ids(sample))] == ids(sample)
    assert (len(whole.documents), whole.near_duplicates, whole.dropped) == (70, 10, 0)


def test_few_near_duplicates_are_dropped_without_a_word(tmp_path, corpus):
    given = records(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = draw(corpus(given, copies(given, 2)), tmp_path)
        ignored = draw(corpus(given, copies(given, 20)), tmp_path, near_duplicates="ignore")
    assert (sample.dropped, sample.many_near_duplicates) == (2, False)
    assert (ignored.near_duplicates, ignored.near_duplicate_share, len(ignored.documents)) == (None, None, 80)
    assert not ignored.many_near_duplicates


def test_without_near_duplicates_the_sample_is_that_of_ignore(tmp_path, corpus):
    files = corpus(records(100))
    for seed in (0, 3, -1, 1 << 40):
        kept = draw(files, tmp_path, seed_docs=40, seed=seed)
        assert ids(kept) == ids(draw(files, tmp_path, seed_docs=40, seed=seed, near_duplicates="ignore"))


def test_a_sample_of_copies_is_refused(tmp_path, corpus):
    text = "the same words in every document of this corpus " * 5
    files = corpus([{"id": str(n), "text": text, "url": ""} for n in range(20)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NearDuplicateWarning)
        with pytest.raises(InputError, match=r"near-duplicates of one.*'warn' keeps them"):
            draw(files, tmp_path)
        assert len(draw(files, tmp_path, near_duplicates="warn").documents) == 20
    assert not list(tmp_path.glob("*.part"))


def test_texts_are_cut_and_encodable(tmp_path, corpus):
    given = records(10)
    given[3]["text"] = "\ud800 a lone surrogate " + given[3]["text"]
    sample = draw(corpus(given), tmp_path, max_chars=50)
    assert {len(d.text) for d in sample.documents} == {50}
    assert [d.text[0] for d in sample.documents if d.id == "d3"] == ["?"]


def test_the_report(tmp_path, corpus):
    sample = draw(corpus(records(20, ["a", "b"])), tmp_path, stratify_by="source", per_group=5)
    report = sample.as_dict()
    assert json.loads(json.dumps(report)) == report
    assert report == {
        "documents": 10,
        "chars": sum(len(d.text) for d in sample.documents),
        "corpus_documents": 20,
        "long_enough": 20,
        "groups": {"found": 2, "used": 2, "short": 0, "with_host": None},
        "near_duplicates": 0,
        "near_duplicate_share": 0.0,
        "many_near_duplicates": False,
        "dropped": 0,
    }


def test_progress_is_told(tmp_path, corpus):
    told = []
    draw(corpus(records(20)), tmp_path, on_progress=lambda *what: told.append(what))
    assert ("signatures", 20, 20) in told


def test_memory_holds_the_sample_and_not_the_corpus(tmp_path, corpus):
    import tracemalloc

    peaks = []
    for parts in (1, 4):
        given = records(1100 * parts, [f"s{n}" for n in range(30)], words=100)
        files = corpus(*(given[at * 1100 : at * 1100 + 1100] for at in range(parts)))
        del given
        tracemalloc.start()
        draw(files, tmp_path, stratify_by="source", per_group=3, near_duplicates="ignore", max_chars=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stratify_by": "length"}, "stratify_by must be None, 'source' or 'domain', not 'length'"),
        ({"near_duplicates": "keep"}, "near_duplicates must be 'drop', 'warn' or 'ignore', not 'keep'"),
        ({"seed_docs": None}, "seed_docs=None is for a stratified sample"),
        ({"seed_docs": 1}, "seed_docs must be at least 2, got 1"),
        ({"per_group": 0}, "per_group must be at least 1, got 0"),
        ({"max_groups": 0}, "max_groups"),
        ({"min_chars": 0}, "min_chars"),
        ({"max_chars": 0}, "max_chars"),
        ({"stratify_by": "domain", "layout": Layout()}, "name it \\(source-field\\)"),
        ({"min_chars": 10_000}, "of 20 documents 0 have at least 10000 characters"),
        ({"stratify_by": "source", "per_group": 1}, "and 1 could be drawn"),
    ],
)
def test_bad_options(tmp_path, corpus, options, message):
    with pytest.raises(InputError, match=message):
        draw(corpus(records(20)), tmp_path, **options)
    assert not (tmp_path / "seed.jsonl").exists()


def test_bad_corpora(tmp_path, corpus):
    given = records(20)
    with pytest.raises(InputError, match="'d3' occurs twice"):
        draw(corpus(given, given[3:4]), tmp_path)
    with pytest.raises(InputError, match="'d3' occurs twice"):  # also where both are in the sample's heap
        draw(corpus(given, given[3:4]), tmp_path, seed_docs=2000, stratify_by="source")
    with pytest.raises(InputError, match="one document"):
        draw(corpus(given[:1]), tmp_path)


def test_documents_are_what_the_models_take(tmp_path, corpus):
    sample = draw(corpus(records(5, ["a"])), tmp_path)
    assert all(isinstance(d, Document) and d.source == "a" for d in sample.documents)
