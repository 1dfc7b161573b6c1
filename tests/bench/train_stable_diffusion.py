"""Trains the Stable Diffusion that ships: `python tests/bench/train_stable_diffusion.py PART`.

One part after the other, since each needs those before it: `words`, a tokenizer and a mini-CLIP,
whose text encoder is the pipeline's; `autoencoder`; `unet`. At last `card` writes the page that
tells what the folder is. All see the training part of the emoji only, but the tokenizer counts all
names. What is there so far is saved every 500 steps, the average of the weights in half precision;
`--from FOLDER` goes on from it, its learning rate beginning anew.
"""

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from emoji_card import write_card
from torch import Generator, Tensor, nn
from tqdm import tqdm
from train_pretrained import in_bfloat16

from course_utils import (
    EMA,
    PRETRAINED,
    NoiseSchedule,
    Sampler,
    TrainStep,
    cycle,
    load_emoji,
    make_loader,
    make_optimizer,
    pick_device,
    seed_everything,
    train,
)
from course_utils.data.emoji import EmojiData
from course_utils.evaluation.benchmarks import COMPOSING
from course_utils.runtime import quiet_loading, trained_folder
from course_utils.text_to_image import (
    CaptionedLatents,
    Matcher,
    assemble,
    autoencoder_loss,
    encode_texts,
    latents_of,
    learn_merges,
    make_autoencoder,
    make_latent_unet,
    make_scheduler,
    make_text_encoder,
    make_tokenizer,
    save_pipeline,
    scaling_factor,
    train_matcher,
    wordings,
)
from course_utils.trained import NOTE
from course_utils.training.loop import learning_rate, update

FOLDER, MATCHER = PRETRAINED / "emoji-stable-diffusion", "emoji_matcher.safetensors"
SAMPLER = Sampler(num_steps=12, order=1, guidance=3.0)
NUM_MERGES, SAVED_EVERY = 1534, 500
DEVICE = pick_device()
Training = tuple[Iterator[TrainStep], Callable[[], None]]  # and what puts the weights in place


@dataclass
class Parts:
    """All that is trained: the pipeline's parts, and the matcher, which shares two of them."""

    pipeline: StableDiffusionPipeline
    matcher: Matcher

    @classmethod
    def untrained(cls) -> "Parts":
        emoji = load_emoji(32)
        names = chain(*emoji.captions.values(), *emoji.aliases)
        tokenizer = make_tokenizer(learn_merges(names, NUM_MERGES))
        texts = make_text_encoder(tokenizer), tokenizer
        unet = make_latent_unet()
        return cls(assemble(make_autoencoder(), *texts, unet, make_scheduler()), Matcher(*texts))

    @classmethod
    def load(cls, folder: Path) -> "Parts":
        with quiet_loading():
            pipeline = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
        texts = pipeline.text_encoder, pipeline.tokenizer
        return cls(pipeline, Matcher.load(folder.with_name(MATCHER), *texts))

    def save(self, folder: Path) -> None:
        """The pipeline with how it draws well, and beside the folder what sees pictures."""
        with quiet_loading():
            save_pipeline(self.pipeline, folder)
        note = json.dumps({"sampler": asdict(SAMPLER)}, indent=1)
        (folder / NOTE).write_text(note, encoding="utf-8")
        copy.deepcopy(self.matcher).half().save(folder.with_name(MATCHER))


def words(begin: Parts, kept: Parts, emoji: EmojiData, steps: int, chance: Generator) -> Training:
    """A tokenizer and a mini-CLIP. A UNet that reads other words has to be trained anew."""
    matcher = begin.matcher.to(DEVICE)
    options = {"num_steps": steps, "aliases": {"en": emoji.aliases}, "generator": chance}

    def keep() -> None:
        kept.matcher = learned = copy.deepcopy(matcher).cpu().eval()
        texts = {"text_encoder": learned.text_encoder, "tokenizer": learned.tokenizer}
        kept.pipeline.register_modules(**texts)

    return train_matcher(matcher, emoji.images, emoji.captions, **options), keep


def autoencoder(
    begin: Parts, kept: Parts, emoji: EmojiData, steps: int, chance: Generator
) -> Training:
    """Mirrored pictures and other colours make the few into more."""
    model = begin.pipeline.vae.to(DEVICE, memory_format=torch.channels_last)
    ema = EMA(model, decay=0.995)

    def keep() -> None:
        average = averaged(model, ema)
        average.register_to_config(scaling_factor=1.0)
        factor = scaling_factor(latents_of(average, emoji.images))
        average.register_to_config(scaling_factor=factor)
        kept.pipeline.register_modules(vae=average)

    return compress(model, emoji.images, ema, steps, chance), keep


def compress(
    model: nn.Module, images: Tensor, ema: EMA, steps: int, chance: Generator, lr: float = 6e-3
) -> Iterator[TrainStep]:
    """The updates of an autoencoder, 16 pictures each."""
    optimizer = make_optimizer(model, lr, "muon")
    loader = make_loader(images, 16, flip=True, generator=chance, device=DEVICE)
    for step, x0 in zip(range(steps), cycle(loader), strict=False):
        model.train()
        loss = autoencoder_loss(model, recoloured(x0, chance), chance).total
        rate = learning_rate(step, steps, lr)
        value = update(model, [loss], optimizer, rate, step=step, max_grad_norm=1.0, ema=ema)
        yield TrainStep(step + 1, value, rate)


def recoloured(x0: Tensor, chance: Generator, share: float = 0.2) -> Tensor:
    """In a share of the pictures red, green and blue change places."""
    chosen = (torch.rand(len(x0), 1, 1, 1, generator=chance) < share).to(x0.device)
    return torch.where(chosen, x0[:, torch.randperm(3, generator=chance)], x0)


def unet(begin: Parts, kept: Parts, emoji: EmojiData, steps: int, chance: Generator) -> Training:
    """What draws: latents of the autoencoder that is there, told by the text encoder that is."""
    model = begin.pipeline.unet.to(DEVICE, memory_format=torch.channels_last)
    names = wordings(emoji.captions, {"en": emoji.aliases})
    encode = partial(encode_texts, kept.pipeline.text_encoder, kept.pipeline.tokenizer)
    latents = latents_of(kept.pipeline.vae, emoji.images).to(DEVICE)
    told, nothing = encode(names.texts).to(DEVICE), encode([""]).to(DEVICE)
    loader = CaptionedLatents(latents, told, names.choices, nothing, 64, chance, drop=0.1)
    ema, options = EMA(model, decay=0.998), {"num_steps": steps, "lr": 5e-3, "generator": chance}
    options |= {"prediction_type": "v_prediction", "optimizer": "muon", "ema": ema}

    def keep() -> None:
        kept.pipeline.register_modules(unet=averaged(model, ema))

    return train(model, loader, NoiseSchedule.cosine(1000), **options), keep


def averaged(model: nn.Module, ema: EMA) -> nn.Module:
    """A copy at rest, on the CPU, that holds the average of the weights."""
    average = copy.deepcopy(model)
    ema.copy_to(average)
    return average.to("cpu", memory_format=torch.contiguous_format).eval()


PARTS = {"words": (words, 1_100), "autoencoder": (autoencoder, 2_100), "unet": (unet, 4_000)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("part", choices=[*PARTS, "card"])
    options.add_argument("--steps", type=int)
    options.add_argument("--from", dest="start", type=Path, help="a folder, or one that ships")
    options.add_argument("--folder", type=Path, default=FOLDER)
    options.add_argument("--pictures", type=int, help="the first so many")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    if args.part == "card":
        return print(write_card(args.folder, COMPOSING))
    chance, (teach, usual) = seed_everything(args.seed), PARTS[args.part]
    begin = Parts.load(trained_folder(args.start)) if args.start else Parts.untrained()
    there = (args.folder / "model_index.json").is_file()
    kept = Parts.load(args.folder) if there else Parts.untrained()
    num_steps = usual if args.steps is None else args.steps
    emoji = load_emoji(64).part("training").first(args.pictures)
    steps, keep = teach(begin, kept, emoji, num_steps, chance)
    for done in tqdm(in_bfloat16(steps), args.part, num_steps, disable=None):
        if done.step % SAVED_EVERY == 0 or done.step == num_steps:
            with torch.autocast(DEVICE.type, enabled=False):
                keep()
            kept.save(args.folder)
            tqdm.write(f"step {done.step}, loss {done.loss:.4f}, saved in {args.folder}")


if __name__ == "__main__":
    main()
