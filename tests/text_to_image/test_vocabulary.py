"""Words to numbers: merges against counting everything anew, tokenizers against each other."""

import json
import random
from collections import Counter
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPTokenizer

from course_utils.text_to_image import (
    learn_merges,
    make_tokenizer,
    merge,
    save_tokenizer,
    spell,
    words_of,
)
from course_utils.text_to_image.vocabulary import BYTES

TEXTS = (
    *("red heart", "yellow heart", "heart with arrow", "woman firefighter: medium skin tone"),
    *("man firefighter: dark skin tone", "woman firefighter", "Red apple", "green apple"),
    *("빨간 하트", "노란 하트", "여자 소방관", "남자 소방관: 갈색 피부", "빨간 사과", "초록 사과"),
)


def counted_anew(texts: tuple[str, ...], num_merges: int) -> list[tuple[str, str]]:
    """Every pair of every word counted after each merge, words not even counted together."""
    words, merges = [spell(word) for text in texts for word in words_of(text)], []
    for _ in range(num_merges):
        counts = Counter(pair for word in words for pair in pairwise(word))
        most = max(counts.values(), default=0)
        if most < 2:
            break
        merges.append(max(pair for pair in counts if counts[pair] == most))
        words = [merge(word, merges[-1]) for word in words]
    return merges


def test_a_word_is_its_bytes():
    assert spell("cat") == ["c", "a", "t</w>"]
    assert len(spell("하트")) == 6
    assert set(BYTES.values()) == set(pre_tokenizers.ByteLevel.alphabet())


def test_a_text_is_divided_as_clips_tokenizer_divides_it():
    backend = make_tokenizer([]).backend_tokenizer
    for text in (*TEXTS, "It's 12 o'clock!", "a_b--c", "Å e\u0301te\u0301 \u1112\u1161", ""):
        divided = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        ours = ["".join(spell(word)).removesuffix("</w>") for word in words_of(text)]
        assert ours == [piece for piece, _ in divided]


def test_merging_goes_from_the_left_and_once():
    assert merge(["a", "a", "a"], ("a", "a")) == ["aa", "a"]
    assert merge(["a", "b", "a", "b</w>"], ("a", "b")) == ["ab", "a", "b</w>"]
    assert merge(["ab", "c"], ("a", "b")) == ["ab", "c"]


@pytest.mark.parametrize("seed", range(20))
def test_merges_are_those_of_counting_everything_anew(seed):
    chance = random.Random(seed)
    texts = tuple("".join(chance.choices("aab 하", k=chance.randint(1, 12))) for _ in range(12))
    assert learn_merges(texts, 30) == counted_anew(texts, 30)


def test_so_are_those_of_real_names_until_no_pair_occurs_twice():
    merges = learn_merges(TEXTS, 500)
    assert merges == counted_anew(TEXTS, 500)
    assert 50 < len(merges) < 500
    assert learn_merges(TEXTS, 10) == merges[:10]


def test_the_most_frequent_pair_comes_first_and_pairs_do_not_cross_words():
    assert learn_merges(["ab ab ab", "cd cd"], 9) == [("a", "b</w>"), ("c", "d</w>")]
    assert learn_merges(["a b a b a b"], 9) == []
    assert learn_merges([], 9) == []


def test_every_number_is_the_merges_applied_in_their_order():
    merges = learn_merges(TEXTS, 40)
    tokenizer = make_tokenizer(merges)
    for text in (*TEXTS, "a heartless 하마"):
        pieces = []
        for word in words_of(text):
            split = spell(word)
            for pair in merges:
                split = merge(split, pair)
            pieces += split
        assert tokenizer.tokenize(text) == pieces


def test_a_library_that_is_told_the_merges_numbers_alike():
    merges = learn_merges(TEXTS, 40)
    ours = make_tokenizer(merges)
    theirs = Tokenizer(models.BPE(ours.get_vocab(), merges, end_of_word_suffix="</w>"))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    for text in ("red heart", "빨간 하트"):
        assert ours(text, add_special_tokens=False).input_ids == theirs.encode(text).ids


def test_the_vocabulary_is_bytes_ends_merges_and_the_two_special_ones():
    merges = learn_merges(TEXTS, 40)
    tokenizer = make_tokenizer(merges, 10)
    assert len(tokenizer) == 256 + 256 + 40 + 2
    assert tokenizer.convert_ids_to_tokens([0, 256, 512]) == ["!", "!</w>", "".join(merges[0])]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (552, 553)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    numbers = tokenizer("heart " * 20, padding="max_length", truncation=True).input_ids
    assert (len(numbers), numbers[0], numbers[-1]) == (10, 552, 553)
    assert tokenizer("", padding="max_length").input_ids == [552, *[553] * 9]


def test_two_ways_to_one_piece_give_one_number():
    tokenizer = make_tokenizer([("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")])
    assert len(tokenizer) == 512 + 3 + 2
    assert sorted(tokenizer.get_vocab().values()) == [*range(len(tokenizer))]


def test_a_saved_tokenizer_comes_back_with_the_lists_of_older_releases(tmp_path):
    merges = learn_merges(TEXTS, 40)
    tokenizer = make_tokenizer(merges, 12)
    save_tokenizer(tokenizer, tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again(list(TEXTS)).input_ids == tokenizer(list(TEXTS)).input_ids
    assert again.model_max_length == 12
    assert json.loads((tmp_path / "vocab.json").read_text("utf-8")) == tokenizer.get_vocab()
    lines = (tmp_path / "merges.txt").read_text("utf-8").splitlines()
    assert [tuple(line.split()) for line in lines[1:]] == merges
    save_tokenizer(again, tmp_path / "twice")
    assert (tmp_path / "twice/merges.txt").read_bytes() == (tmp_path / "merges.txt").read_bytes()


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_merges"):
        learn_merges(TEXTS, -1)
    with pytest.raises(ValueError, match="max_length"):
        make_tokenizer([], 2)
