"""Words: the next pair to merge, and the bytes of Hangul."""

from itertools import chain, pairwise

from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def my_next_pair(words):
    """{("h", "o", "t</w>"): 4, …}, words and how often → the most frequent pair of neighbours."""
    counts = {}
    for word, count in words.items():
        for i in range(len(word) - 1):
            pair = word[i : i + 2]
            counts[pair] = counts.get(pair, 0) + count
    return max(counts, key=counts.get)


def _vocabularies(draw):
    texts = {"hot": 4, "host": 2, "hat": 1, "hut": 1, "heat": 1, "bat": 1}
    yield ({_spell(text): count for text, count in texts.items()},)
    yield ({_spell(text): count for text, count in {"shot": 3, "chop": 2, "on": 1}.items()},)
    for size in (6, 10):
        yield (_untied(draw, size),)


def _spell(text):
    return *text[:-1], text[-1] + "</w>"


def _untied(draw, size):
    """Words of which one pair alone is the most frequent; no letter stands twice in a row."""
    while True:
        lengths, counts = draw.integers(2, 6, size).tolist(), draw.integers(1, 10, size).tolist()
        letters = [draw.integers(1, 5, length).cumsum(0).tolist() for length in lengths]
        texts = ("".join("aeort"[n % 5] for n in numbers) for numbers in letters)
        words = dict(zip(map(_spell, texts), counts, strict=True))
        *_, second, first = sorted(_counted(words).values())
        if first > second:
            return words


def _counted(words, pairs=pairwise, times=lambda count: count):
    """How often each pair occurs, by other pairs of a word, or other weights of it."""
    counts = {}
    for word, count in words.items():
        for pair in pairs(word):
            counts[pair] = counts.get(pair, 0) + times(count)
    return counts


def _most(counts):
    return max(counts, key=counts.get)


def _across(words):
    text = chain.from_iterable(word * count for word, count in words.items())
    return _most(_counted({tuple(text): 1}))


def _side_by_side(word):
    return zip(word[::2], word[1::2])  # noqa: B905 - the last symbol may be left over


def _with_count(words):
    return max(_counted(words).items(), key=lambda item: item[1])


next_pair = Exercise(
    name="next_pair",
    answer=my_next_pair,
    cases=_vocabularies,
    slips=(
        Slip(
            _across,
            N_(
                "This pair crosses from one word into the next. Count within each word: a token "
                "never holds the end of one and the beginning of another."
            ),
        ),
        Slip(
            lambda words: _most(_counted(words, times=lambda count: 1)),
            N_("Each word was counted once. A pair occurs as often as the words that hold it."),
        ),
        Slip(
            lambda words: min(_counted(words), key=_counted(words).get),
            N_("That is the rarest pair: `max` instead of `min`, or the sort is the other way."),
        ),
        Slip(
            lambda words: _most(_counted(words, pairs=_side_by_side)),
            N_(
                "Pairs overlap: in `h o t` there are two, `h o` and `o t`. Yours jumps by two "
                "symbols, and misses every other pair."
            ),
        ),
        Slip(
            lambda words: "".join(my_next_pair(words)),
            N_("That is the new token, already merged. The pair itself is asked for, a tuple."),
        ),
        Slip(
            _with_count,
            N_("The pair and its count: the pair alone is asked for."),
        ),
    ),
    hints=(
        N_("A dictionary from pairs to counts; one loop over the words, in it one over its pairs."),
        N_("`word[i : i + 2]` is a pair. It counts as often as its word."),
        N_("Of the finished dictionary, `max(counts, key=counts.get)`."),
    ),
    why=N_(
        "The pair that occurs most often saves the most tokens when it becomes one. Counted by "
        "words and not in the running text, no pair can cross a space, and each word is read once."
    ),
    notice=N_(
        "Merge that pair everywhere, count again, and go on until the vocabulary is large enough: "
        "that is all of byte-pair encoding (Sennrich et al. 2016)."
    ),
)


def count_bytes():
    """The word as it lies in a file."""
    return len("하트".encode())


bytes_of = Prediction(
    name="bytes_of",
    answer=count_bytes,
    slips=(
        Slip(
            2,
            N_(
                "Two syllables, which Python's `len` counts. A byte has 256 values, and there are "
                "11,172 syllables: one byte for each is not enough."
            ),
        ),
        Slip(
            4,
            N_(
                "Two bytes for a syllable: so does UTF-16. UTF-8 also spends bits on saying how "
                "many bytes belong together."
            ),
        ),
        Slip(3, N_("That is one syllable. How many has the word?")),
        Slip(
            12,
            N_(
                "So it is where each of the four letters, ㅎㅏㅌㅡ, stands by itself. Keyboards "
                "write whole syllables, one character each."
            ),
        ),
    ),
    hints=(
        N_("UTF-8 takes one byte for a Latin letter, and two to four for all else."),
        N_('Ask Python for a single syllable: `len("하".encode())`.'),
        N_("Twice that, since there are two."),
    ),
    why=N_(
        "In UTF-8 a character beyond the first 2,048 and below 65,536 takes three bytes, and all "
        "syllables of Hangul lie there. Their bytes are the letters that the merges start from."
    ),
    notice=N_(
        "With 256 bytes every language can be spelled, and no word is unknown. Frequent syllables "
        "are merged back into one token, if the training texts hold enough of them."
    ),
)
