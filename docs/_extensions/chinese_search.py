"""Search for Chinese words on English and Chinese pages.

Sphinx takes a run of Chinese letters for one word, so that no word inside it is found. Here a run is its pairs of letters, in
the index and in what is searched for: 生成的权重 is 生成, 成的, 的权 and 权重, so that 权重 is found.
"""

import re

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

HAN = "\u4e00-\u9fff"
WORD = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")


def pairs(run: str) -> list[str]:
    """The neighbouring pairs of a run of letters, or the only letter."""
    return [run[k : k + 2] for k in range(max(1, len(run) - 1))]


class SearchBoth(SearchEnglish):
    """English words, and pairs of Chinese letters."""

    # "en" keeps the stemmer and the stop words of English
    js_splitter_code = r"""
const HAN = /^[\u4e00-\u9fff]/;
const pairs = (run) => Array.from({ length: Math.max(1, run.length - 1) }, (_, k) => run.slice(k, k + 2));
function splitQuery(query) {
  const words = query.match(/[\u4e00-\u9fff]+|[\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu) ?? [];
  return words.flatMap((word) => (HAN.test(word) ? pairs(word) : [word]));
}
"""

    def split(self, input: str) -> list[str]:
        """The words of a text."""
        return [
            part for word in WORD.findall(input) for part in (pairs(word) if re.match(f"[{HAN}]", word) else [word])
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it for the pages, whose language is English where nothing else is said."""
    app.add_search_language(SearchBoth)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
