"""The second development side: gold spans index the text, and a seed says which corpus."""

from benchmarks.deid.text import corpora, dev_author2_generator
from benchmarks.deid.text.dev_author2_generator import CATEGORY, SLOT, templates


def test_spans_index_the_text() -> None:
    texts = {name: text for name, _, text in templates()}
    for row in dev_author2_generator.make_reports(60, 7):
        wanted = [
            CATEGORY[k]
            for k in (m[1].split("_")[0] for m in SLOT.finditer(texts[row["template"]]))
            if k in CATEGORY
        ]
        assert [s["category"] for s in row["spans"]] == wanted
        rest, pos = "", 0
        for span in row["spans"]:
            value = row["text"][span["start"] : span["end"]]
            assert value and value == value.strip()
            rest, pos = rest + row["text"][pos : span["start"]], span["end"]
        assert "{" not in rest + row["text"][pos:]


def test_a_seed_gives_the_same_corpus() -> None:
    first = corpora.synthetic("dev2", 40, 3)
    assert first == corpora.synthetic("dev2", 40, 3)
    assert [r["text"] for r in first] != [r["text"] for r in corpora.synthetic("dev2", 40, 4)]
