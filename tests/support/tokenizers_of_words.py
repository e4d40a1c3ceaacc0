"""Tokenizers for networks that nobody trained."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

#: Beginning, padding, end, and what is no known word.
SPECIALS = {"<s>": 0, "[PAD]": 1, "</s>": 2, "[UNK]": 3}


def tokenizer_of(words: Iterable[str]) -> Tokenizer:
    """Words to numbers, in lower case, with a special token before and behind."""
    vocabulary = SPECIALS | {word: index for index, word in enumerate(words, start=len(SPECIALS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer
