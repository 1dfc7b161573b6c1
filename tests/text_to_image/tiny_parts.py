"""The smallest parts of a Stable Diffusion, with random weights."""

import torch

from course_utils import text_to_image as tti

TEXTS = ("red heart", "yellow heart", "red apple", "빨간 하트", "노란 하트", "빨간 사과")


def tokenizer(max_length=10):
    return tti.make_tokenizer(tti.learn_merges(TEXTS, 20), max_length)


def text_encoder(tokens, seed=0):
    torch.manual_seed(seed)
    return tti.make_text_encoder(tokens, width=16, num_heads=2).eval()


def matcher(seed=0):
    tokens = tokenizer()
    return tti.Matcher(text_encoder(tokens, seed), tokens, width=8).eval()


def colours(num_images=6, size=32):
    """One plain colour each."""
    chance = torch.Generator().manual_seed(0)
    colour = torch.randint(256, (num_images, 3, 1, 1), generator=chance, dtype=torch.uint8)
    return colour.expand(-1, -1, size, size).contiguous()


def autoencoder(seed=0):
    torch.manual_seed(seed)
    return tti.make_autoencoder((8, 8, 8), 4, 32).eval()


def unet(seed=0):
    torch.manual_seed(seed)
    options = {"context_width": 16, "num_heads": 2, "latent_channels": 4, "size": 8}
    return tti.make_latent_unet((16, 24), **options).eval()


def pipeline(seed=0):
    tokens, vae = tokenizer(), autoencoder(seed)
    vae.register_to_config(scaling_factor=0.7)
    parts = (vae, text_encoder(tokens, seed), tokens, unet(seed), tti.make_scheduler())
    made = tti.assemble(*parts)
    made.set_progress_bar_config(disable=True)
    return made
