"""The solutions of notebook 04's exercises against libraries, enumeration, and other right ways."""

import json
import math
from collections import Counter
from itertools import pairwise, product
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import course_utils as cu
from course_utils.exercises import your_own_stable_diffusion as ex
from course_utils.exercises.judge.judging import NOT_YET, RIGHT, judge
from course_utils.exercises.judge.trials import draws
from course_utils.exercises.your_own_stable_diffusion import holding_out
from course_utils.exercises.your_own_stable_diffusion.prompts import Listener, WordNetwork


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# --- words


@pytest.mark.parametrize("seed", range(5))
def test_the_next_pair_is_the_first_merge_that_tokenizers_learns(seed):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    *_, (words,) = ex.next_pair.cases(next(draws(seed)))
    texts = ("".join(word).removesuffix("</w>") for word in words)
    text = " ".join(" ".join([t] * n) for t, n in zip(texts, words.values(), strict=True))
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    options = {"end_of_word_suffix": "</w>", "show_progress": False, "vocab_size": 100}
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(**options))
    first = json.loads(tokenizer.to_str())["model"]["merges"][0]
    assert ex.next_pair.answer(words) == tuple(first)


def test_hangul_takes_three_bytes_a_syllable():
    assert ex.bytes_of.answer() == len(b"\xed\x95\x98\xed\x8a\xb8")


def test_the_loss_is_that_of_all_choices_one_by_one():
    texts, pictures, scale = normal(5, 3), normal(5, 3, seed=1), 4.0
    cosines = [[F.cosine_similarity(a, b, dim=0).item() for b in pictures] for a in texts]
    shares = [[math.exp(scale * cosine) for cosine in row] for row in cosines]
    by_text = [-math.log(row[i] / sum(row)) for i, row in enumerate(shares)]
    by_picture = [-math.log(row[i] / sum(row)) for i, row in enumerate(zip(*shares, strict=True))]
    loss = ex.contrast.answer(texts, pictures, scale).item()
    assert loss == pytest.approx((sum(by_text) + sum(by_picture)) / 10)


def test_the_loss_is_log_b_where_nothing_can_be_told_apart():
    alike = torch.ones(7, 3, dtype=torch.float64)
    assert ex.contrast.answer(alike, alike, 9.0).item() == pytest.approx(math.log(7))


# --- latents


def test_the_sizes_are_an_autoencoders():
    from diffusers import AutoencoderKL

    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    sizes = {"block_out_channels": (4,) * 4, "latent_channels": 8, "norm_num_groups": 2}
    model = AutoencoderKL(down_block_types=down, up_block_types=up, **sizes)
    with torch.no_grad():
        latents = model.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean
    assert latents.shape == (1, 8, 8, 8)
    assert ex.compression.answer() * latents.numel() == 3 * 64 * 64


def test_scaled_latents_are_as_wide_as_noise():
    latents = 3 * normal(5, 4, 2, 2) + 1
    assert (latents * ex.scaling.answer(latents)).std().item() == pytest.approx(1)


def test_where_there_is_an_edge_of_a_pixel_the_place_is_drawn_anew():
    *_, (mask,) = ex.latent_mask.cases(next(draws(0)))
    small = ex.latent_mask.answer(mask)
    assert small.shape == (len(mask), 1, 8, 8)
    for n, row, column in product(range(len(mask)), range(8), range(8)):
        square = mask[n, 0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert small[n, 0, row, column] == (1 in square)


# --- prompts


def test_attention_is_torchs():
    queries, keys, values = normal(2, 6, 4), normal(2, 3, 4, seed=1), normal(2, 3, 5, seed=2)
    torchs = F.scaled_dot_product_attention(queries, keys, values)
    torch.testing.assert_close(ex.attend.answer(queries, keys, values), torchs)


def test_a_negative_prompt_takes_the_place_of_nothing():
    from diffusers import StableDiffusionPipeline

    ear = Listener(texts=[])
    parts = SimpleNamespace(tokenizer=ear, text_encoder=ear, unet=None)
    options = {"negative_prompt": "a circle"}
    StableDiffusionPipeline.encode_prompt(parts, "a heart", "cpu", 1, True, **options)
    assert (ear.texts[0], ear.texts[-1]) == ("a heart", ["a circle"])
    assert ex.nothing.answer() in ex.nothing.choices


class Reader(nn.Module):
    """The exercises' stand-in, called as the package calls networks."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x_t, timesteps, encoder_hidden_states):
        return self.network(x_t, timesteps, encoder_hidden_states)


@pytest.mark.parametrize("scale", [0.0, 1.0, 7.5])
def test_a_step_is_guidance_and_the_schedulers_step(scale):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(clip_sample=True)
    scheduler.set_timesteps(10)
    network, x_t, t = WordNetwork(normal(3)), normal(2, 4, 3, 3), scheduler.timesteps[3]
    without, words = normal(2, 5, 3, seed=1), normal(2, 5, 3, seed=2)

    def step(noise_pred, t, x_t):
        return scheduler.step(noise_pred, t, x_t).prev_sample

    told, untold = ({"encoder_hidden_states": w} for w in (words, without))
    guided = cu.Guidance(Reader(network), told, untold, scale)(x_t, t.repeat(2))
    mine = ex.one_step.answer(network, step, x_t, t, without, words, scale)
    torch.testing.assert_close(mine, step(guided, t, x_t))


@pytest.mark.parametrize("strength", [0.04, 0.3, 0.5, 0.57, 0.999, 1.0])
@pytest.mark.parametrize("num_steps", [15, 50])
def test_as_many_steps_are_left_as_diffusers_walks(strength, num_steps):
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    scheduler = DDIMScheduler()
    scheduler.set_timesteps(num_steps)
    pipeline = SimpleNamespace(scheduler=scheduler)
    get_timesteps = StableDiffusionImg2ImgPipeline.get_timesteps
    timesteps, _count = get_timesteps(pipeline, num_steps, strength, "cpu")
    assert ex.first_step.answer(strength, num_steps) == len(timesteps)


# --- holding out


def combinations_of(people, rows):
    return {tuple(person) for person in people[rows].tolist()}


@pytest.mark.parametrize("seed", range(5))
def test_a_fair_split_asks_for_new_combinations_of_known_parts(seed):
    for people, generator in ex.fair_split.cases(next(draws(seed))):
        held = ex.fair_split.answer(people, generator)
        new, known = combinations_of(people, held), combinations_of(people, ~held)
        assert not new & known
        for factor in range(3):
            assert {person[factor] for person in new} <= {person[factor] for person in known}
        assert 0.1 < len(new) / len(new | known) <= 1 / 7


def test_some_pictures_have_siblings_and_some_kinds_one_combination_only():
    people, _generator = next(ex.fair_split.cases(next(draws(0))))
    counts = Counter(map(tuple, people.tolist()))
    assert set(counts.values()) == {1, 2}
    assert 1 in Counter(kind for kind, _gender, _tone in counts).values()


def test_people_with_one_sibling_on_the_other_side_leak():
    people, generator = next(ex.fair_split.cases(next(draws(0))))
    held = ex.fair_split.answer(people, generator)
    twice = [p for p, n in Counter(map(tuple, people[~held].tolist())).items() if n == 2]
    one = (people == torch.tensor(twice[0])).all(dim=1).nonzero()[0]
    held[one] = True
    assert holding_out.broken_rule(people, held) == holding_out.LEAK


def of_combinations(choose):
    """A split that holds out the combinations (M, 3) that `choose` chooses."""

    def split(people, generator):
        combinations, which = people.unique(dim=0, return_inverse=True)
        return choose(combinations)[which]

    return split


def all_but_the_first_of_each(combinations):
    """One combination stays for each kind, gender and tone; of the others every sixth goes."""
    stays = torch.zeros(len(combinations), dtype=torch.bool)
    for column in combinations.T:
        stays[[column.tolist().index(value) for value in set(column.tolist())]] = True
    return ~stays & (torch.arange(len(stays)) % 6 == 0)


UNFAIR = {
    "pictures by their own chance": (lambda people, _g: torch.rand(len(people)) < 0.2, "LEAK"),
    "every seventh picture": (lambda people, _g: torch.arange(len(people)) % 7 == 0, "LEAK"),
    "a tone": (lambda people, _g: people[:, 2] == 3, "MISSING"),
    "a gender": (lambda people, _g: people[:, 1] == 1, "MISSING"),
    "a whole kind, of many": (lambda people, _g: people[:, 0] % 9 == 0, "MISSING"),
    "a kind of one combination": (
        of_combinations(lambda c: c[:, 0] >= c[:, 0].max() - 3),
        "MISSING",
    ),
    "too many": (of_combinations(lambda c: (c.sum(dim=1) % 2 == 0) & (c[:, 0] < 20)), "TOO_MANY"),
    "too few": (of_combinations(lambda c: (c == c.new_tensor([3, 1, 4])).all(dim=1)), "TOO_FEW"),
}


@pytest.mark.parametrize("name", UNFAIR)
def test_a_split_that_breaks_a_rule_is_told_which(name):
    split, rule = UNFAIR[name]
    exercise, said = ex.fair_split, set()
    for seed in range(5):
        for arguments in exercise.cases(next(draws(seed))):
            said.add(holding_out.broken_rule(arguments[0], split(*arguments)))
    assert said == {getattr(holding_out, rule)}
    assert exercise.difference(arguments[0], split(*arguments)) == getattr(holding_out, rule)


# --- other ways to write it


def counted_with_pairwise(words):
    counts = Counter()
    for word, count in words.items():
        counts.update({pair: count * n for pair, n in Counter(pairwise(word)).items()})
    return [*counts.most_common(1)[0][0]]


def contrasted_by_hand(texts, pictures, scale):
    texts = texts / texts.norm(dim=1, keepdim=True)
    pictures = pictures / pictures.norm(dim=1, keepdim=True)
    logits = scale * torch.einsum("id,jd->ij", texts, pictures)
    losses = (logits.log_softmax(dim).diag().mean() for dim in (0, 1))
    return -sum(losses) / 2


def both_in_one_call(unet, step, x_t, t, without, words, scale):
    both = unet(torch.cat([x_t, x_t]), t, torch.cat([without, words]))
    untold, told = both.chunk(2)
    return step(untold + scale * (told - untold), t, x_t)


def a_time_for_each_picture(unet, step, x_t, t, without, words, scale):
    both = unet(x_t.repeat(2, 1, 1, 1), t.expand(2 * len(x_t)), torch.cat([words, without]))
    return step((1 - scale) * both[len(x_t) :] + scale * both[: len(x_t)], t.item(), x_t)


ALSO_RIGHT = [
    (ex.next_pair, counted_with_pairwise),
    (ex.bytes_of, torch.tensor(6)),
    (ex.contrast, contrasted_by_hand),
    (ex.contrast, lambda *arguments: contrasted_by_hand(*arguments).item()),
    (ex.compression, 24),
    (ex.scaling, lambda latents: 1 / latents.std().item()),
    (ex.scaling, lambda latents: latents.var(correction=0) ** -0.5),
    (ex.attend, F.scaled_dot_product_attention),
    (
        ex.attend,
        lambda q, k, v: torch.einsum("bnd,bld->bnl", q / q.shape[2] ** 0.5, k).softmax(2) @ v,
    ),
    (ex.nothing, " The empty text"),
    (ex.one_step, both_in_one_call),
    (ex.one_step, a_time_for_each_picture),
    (ex.first_step, lambda strength, num_steps: math.floor(strength * num_steps)),
    (ex.first_step, lambda strength, num_steps: strength * num_steps // 1),
    (ex.latent_mask, lambda mask: F.adaptive_max_pool2d(mask, (8, 8))),
    (ex.latent_mask, lambda mask: mask.reshape(-1, 1, 8, 8, 8, 8).amax(dim=(3, 5))),
    (ex.latent_mask, lambda mask: (F.interpolate(mask, size=8, mode="area") > 0).float()),
    (ex.fair_split, of_combinations(all_but_the_first_of_each)),
]


@pytest.mark.parametrize(("exercise", "answer"), ALSO_RIGHT, ids=lambda e: getattr(e, "name", ""))
def test_another_right_way_is_right(exercise, answer):
    for seed in range(3):
        verdict = judge(exercise, answer, seed)
        assert verdict.state == RIGHT, verdict


ALSO_WRONG = [
    (ex.next_pair, lambda words: ("o", "h"), "not the expected ones"),
    (ex.first_step, lambda strength, num_steps: round(strength * num_steps), "Rounded up"),
    (ex.latent_mask, lambda mask: F.interpolate(mask, size=(8, 8)), "thin strokes"),
    (ex.latent_mask, lambda mask: F.max_pool2d(mask, 8) > 0, "torch.bool came"),
    (
        ex.scaling,
        lambda latents: (1 / latents.flatten(1).std(dim=1)).mean(),
        "not the expected ones",
    ),
]


@pytest.mark.parametrize(("exercise", "answer", "said"), ALSO_WRONG)
def test_another_wrong_way_is_told_what_is_wrong(exercise, answer, said):
    for seed in range(3):
        verdict = judge(exercise, answer, seed)
        assert verdict.state == NOT_YET
        assert said in verdict.message
