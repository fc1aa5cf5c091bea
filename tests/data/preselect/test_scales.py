"""Every scale: the accelerator's path on a processor at a miniature size, and what a scale would cost."""

import dataclasses
import json
import resource
import shlex

import pytest
import typer
from typer.testing import CliRunner

from firsthand.catalogue.rooms import find_room
from firsthand.claims.run import dry_run, require_device, run_check
from firsthand.cli import app as whole_app
from firsthand.data.preselect import check, command
from firsthand.data.preselect import dry_run as account
from firsthand.data.preselect.scales import DEVICE, FRACTION, SEEDS, SIZES, Shape
from firsthand.data.preselect.world import World, repeatable
from firsthand.errors import InputError
from firsthand.launch import single_thread

torch = pytest.importorskip("torch")

# The gpu scale with everything small: the same code, on a processor.
MINIATURE = dataclasses.replace(
    SIZES["gpu"], chars=200, pool=100, seed_sample=60, references=3, reference_documents=24,
    reference_shapes=(Shape(16, 1, 2), Shape(24, 1, 2)), reference_passes=1, nested=(6, 12, 24),
    nested_shape=Shape(16, 1, 2), student_shape=Shape(16, 1, 2), student_passes=1, benchmark=24,
    ability_items=12, report_items=12,
    vocabulary=300, context=48, batch=4, packages=("stdlib",), limit=1_500, bucket=2_000, min_per_class=5,
    least_ability=0.0,
)  # fmt: skip


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def in_bfloat16():
    with single_thread():
        return check._measure_at(5, MINIATURE, "cpu", "bfloat16")


# --- gpu --------------------------------------------------------------------------------------------------


def test_the_gpus_path_runs_on_a_processor(in_bfloat16):
    with single_thread():
        exact = check._measure_at(5, MINIATURE, "cpu", "float32")
    for rough, fine in zip(in_bfloat16.observations, exact.observations, strict=True):
        assert (rough.clause, rough.arm) == (fine.clause, fine.arm)
        if "bits" in rough.clause:
            assert rough.value != fine.value  # it did compute in bfloat16
            assert rough.value == pytest.approx(fine.value, rel=0.05)


def test_the_gpus_null_puts_the_control_in_both_arms_and_repeats(in_bfloat16):
    with single_thread():
        null = check._measure_at(5, MINIATURE, "cpu", "bfloat16", null=True)
    controls = {(o.clause, o.arm): o.value for o in in_bfloat16.observations if o.arm != "preselect"}
    assert {(o.clause, o.arm): o.value for o in null.observations if o.arm != "preselect"} == controls
    assert null.details["selection"] == in_bfloat16.details["selection"]


def test_weights_stay_float32_and_the_forward_pass_does_not():
    seen = []
    with single_thread():
        world = World(5, MINIATURE, "cpu", "bfloat16")
        model = world._train(world.to_pool["prose"][:20], MINIATURE.student_shape, 4_000, 0)
        model.model.layers[0].mlp.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
        losses = world.nats(model, world.for_report[:4])
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert set(seen) == {torch.bfloat16}
    assert losses.dtype == "float64"
    assert (losses > 0).all()


def test_reference_models_take_the_shapes_in_turns():
    with single_thread():
        world = World(5, MINIATURE)
        widths = [reference.model.config.hidden_size for reference in world.diverse_references()]
    assert widths == [16, 24, 16]


def test_sizes_of_the_gpu_scale_are_those_of_the_sheet():
    size = SIZES["gpu"]
    weights = [account._tiny_weights(size, shape) for shape in size.reference_shapes]
    assert weights == sorted(weights)
    assert 5e6 <= weights[0] < weights[-1] <= 60e6
    assert account._tiny_weights(size, size.student_shape) == pytest.approx(30e6, rel=0.05)
    assert SEEDS["gpu"] >= 3
    assert DEVICE["gpu"] == ("cuda", "bfloat16")


@pytest.mark.usefixtures("no_cuda")
def test_without_cuda_the_gpu_scale_is_an_error_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "World", lambda *_: pytest.fail("work was begun"))
    subject = find_room("preselect").subject()
    with pytest.raises(InputError, match="no CUDA device"):
        require_device(subject, "gpu")
    require_device(subject, "laptop")
    with pytest.raises(InputError, match="no CUDA device"):
        run_check(subject, "gpu", engine="inline", out=tmp_path / "api")
    assert not (tmp_path / "api").exists()
    result = CliRunner().invoke(
        whole_app, ["check", "preselect", "--scale", "gpu", "--out", str(tmp_path / "runs")]
    )
    assert result.exit_code != 0
    assert isinstance(result.exception, InputError) or "no CUDA device" in result.output
    assert not (tmp_path / "runs").exists()


def test_kernels_that_repeat_are_asked_for_on_cuda_only(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable("cpu"):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable("cuda"):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.long
@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_the_corpus_is_large_enough(scale):
    """Texts for both pools, any mix, the tokenizer and the cloze; nothing is trained."""
    with single_thread():
        world = World(1000, SIZES[scale])
    size = world.size
    for shares in (check.POOL, check.BOILERPLATE_POOL):
        assert len(world.pool(shares)) == size.pool
    fewest = min(map(len, world.to_read.values()))
    assert fewest >= max(size.reference_documents, *size.nested)  # a mix may be all of one kind
    assert len(world.ability_items) == size.ability_items
    assert len(world.report_items) == size.report_items


# --- what it would cost -------------------------------------------------------------------------------------


def published():
    # Hugging Face's counts of the released checkpoints.
    return {
        "LLaMA-1 7B": 6_738_415_616, "LLaMA-1 13B": 13_015_864_320, "LLaMA-1 30B": 32_528_943_616,
        "LLaMA-1 65B": 65_285_660_672, "Llama-2 7B": 6_738_415_616, "Llama-2 13B": 13_015_864_320,
    }  # fmt: skip


def by_formula(model):
    head = model.width // model.heads
    attention = 2 * model.width**2 + 2 * model.width * head * model.key_value_heads
    layer = attention + 3 * model.width * model.feed_forward + 2 * model.width
    tables = 1 if model.tied else 2
    return tables * model.vocabulary * model.width + model.layers * layer + model.width


@pytest.mark.parametrize("model", [*account.REFERENCES, account.STUDENT], ids=lambda model: model.name)
def test_models_have_the_published_number_of_weights_and_no_memory(model):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    built = model.on_meta()
    assert {weight.device.type for weight in built.parameters()} == {"meta"}
    counted = account._weights(built)
    assert counted == by_formula(model) == published().get(model.name, 939_824_640)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 0.02 * 2 * counted


@pytest.fixture(scope="module")
def paper():
    return dry_run(find_room("preselect").subject(), "paper", engine="ray", jobs=8)


def test_the_papers_tokens_flops_and_memory(paper):
    work = {row["model"]: row for row in paper["work"]}
    assert paper["student"]["tokens"] == 256 * 4_096 * 29_000 == 30_408_704_000
    assert paper["seed sample"]["tokens"] == 900_000_000
    student, largest = work["student 1B, random tenth"], work["LLaMA-1 65B"]
    assert student["FLOPs"] == pytest.approx(6 * 939_824_640 * 30_408_704_000)
    assert largest["FLOPs"] == pytest.approx(2 * 65_285_660_672 * 9e8)
    assert largest["GB"] == pytest.approx(130.571)
    assert student["GB"] == pytest.approx(15.037)
    assert paper["scorer"]["GB"] == pytest.approx(0.8)
    assert paper["total"]["FLOPs"] == pytest.approx(sum(row["FLOPs"] for row in paper["work"]))
    hours = paper["total"]["FLOPs"] / (account.PEAK * account.UTILISATION) / 3600
    assert paper["total"]["accelerator hours"] == pytest.approx(hours, rel=1e-3)
    assert any("assumed" in line for line in paper["assumptions"])
    assert (paper["engine"], paper["jobs"]) == ("ray", 8)


def test_the_papers_commands_are_commands(paper):
    """Each is parsed by the real command line; what stands before it only says where it runs."""
    verbs = typer.main.get_command(command.app)
    run = []
    for line in paper["commands"]:
        words = shlex.split(line)
        at = words.index("preselect")
        assert words[at - 1] == "firsthand"
        verb, *arguments = words[at + 1 :]
        verbs.commands[verb].make_context(verb, arguments)
        run.append(verb)
    assert run == ["losses", "strength", "train", "score", "select"]
    assert paper["commands"][0].startswith("torchrun --nproc-per-node 8 -m firsthand preselect losses ")


@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu"])
def test_our_scales_are_counted_from_their_sizes(scale):
    plan = dry_run(find_room("preselect").subject(), scale)
    size, seeds = SIZES[scale], SEEDS[scale]
    runs = {}
    for row in plan["work"]:
        name = row["model"].split()[0].rstrip(",")
        runs[name, row["work"]] = runs.get((name, row["work"]), 0) + row["runs"]
        per_token = 6 if row["work"] == "training" else 2
        assert row["FLOPs"] == pytest.approx(
            per_token * row["weights"] * row["tokens a run"] * row["runs"], rel=1e-6
        )
    assert runs["reference", "training"] == runs["reference", "scoring"] == seeds * size.references
    assert runs["nested", "training"] == runs["nested", "scoring"] == seeds * len(size.nested)
    assert runs["student", "training"] == seeds * 6
    assert ("hours" in plan["work"][0]) == (scale == "gpu")
    student = next(row for row in plan["work"] if row["model"].startswith("student"))
    wanted = size.student_passes * FRACTION * size.pool * size.chars / 2.5
    assert student["tokens a run"] == pytest.approx(wanted, abs=4 * size.batch * size.context)  # whole steps


def test_the_count_is_that_of_the_models_that_a_run_makes():
    with single_thread():
        world = World(5, MINIATURE)
        made = world._train(world.to_pool["prose"][:20], MINIATURE.student_shape, 100, 0)
    assert len(world.tokenizer) == MINIATURE.vocabulary
    assert account._weights(made) == account._tiny_weights(MINIATURE, MINIATURE.student_shape)


def test_the_command_prints_it_and_prints_json():
    runner = CliRunner()
    said = runner.invoke(whole_app, ["check", "preselect", "--scale", "paper", "--dry-run"])
    assert said.exit_code == 0, said.output
    for part in ("65 285 660 672", "30 408 704 000", "torchrun --nproc-per-node 8", "assumed", "1.18e+20"):
        assert part in said.output
    assert "{" not in said.output
    raw = runner.invoke(whole_app, ["check", "preselect", "--scale", "paper", "--dry-run", "--json"])
    assert json.loads(raw.stdout)[0]["work"][3]["weights"] == 65_285_660_672


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": "slurm"}, "unknown engine 'slurm'"), ({"jobs": 0}, "jobs must be at least 1")],
)
@pytest.mark.parametrize("scale", ["paper", "laptop"])
def test_a_dry_run_looks_at_the_engine_as_a_run_does(scale, options, message):
    with pytest.raises(InputError, match=message):
        dry_run(find_room("preselect").subject(), scale, **options)


def test_the_papers_scale_is_counted_and_not_run():
    with pytest.raises(InputError, match="--dry-run"):
        run_check(find_room("preselect").subject(), "paper", engine="inline")
