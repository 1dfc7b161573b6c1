"""Text to picture: the parts of a small Stable Diffusion, trained here, that diffusers loads."""

from course_utils.runtime import quiet_loading

with quiet_loading():  # else each of its imports says that there is no torchvision
    from diffusers import StableDiffusionPipeline

from course_utils.text_to_image.assembling import (
    assemble,
    draw_by_hand,
    make_latent_unet,
    make_scheduler,
    save_pipeline,
    save_text_encoder,
)
from course_utils.text_to_image.attention import (
    attention_maps,
    attention_weights,
    cross_attention,
    word_maps,
)
from course_utils.text_to_image.autoencoder import (
    AutoencoderLoss,
    autoencoder_loss,
    latents_of,
    make_autoencoder,
    pictures_of,
    psnr,
    scaling_factor,
)
from course_utils.text_to_image.captions import CaptionedLatents, Wordings, pick, wordings
from course_utils.text_to_image.matching import (
    Matcher,
    PictureTower,
    contrastive_loss,
    disturbed,
    encode_texts,
    make_text_encoder,
    small,
    train_matcher,
)
from course_utils.text_to_image.vocabulary import (
    learn_merges,
    make_tokenizer,
    merge,
    save_tokenizer,
    spell,
    words_of,
)
