"""The peers' side of bench_corpus: runs in a peer's own interpreter. JSON of [source, target] pairs in; seconds, version, problems out.

What belongs here: how each peer is asked, at its defaults or with the options nearest to `research`. What does not: judging.
It imports nothing of rwid and nothing that the peer does not bring.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path


def dicognito():
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer(seed="bench")

    def one(source, target):
        with pydicom.dcmread(source, force=True) as dataset:
            anonymizer.anonymize(dataset)
            dataset.save_as(target)

    return "dicognito", one


def dicom_anonymizer():
    from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file

    return "dicom-anonymizer", lambda source, target: anonymize_dicom_file(source, target)


def dicom_anonymizer_latest():
    """With the newest table that it ships, which is not its default."""
    from dicomanonymizer import simpledicomanonymizer as peer

    editions = sorted(p.stem for p in Path(peer.__file__).parent.rglob("dicomfields_2*.py"))

    def one(source, target):
        peer.anonymize_dicom_file(
            source, target, base_rules_gen=lambda: peer.initialize_actions(editions[-1])
        )

    return "dicom-anonymizer", one


def deid():
    from deid.config import DeidRecipe
    from deid.dicom import get_identifiers, replace_identifiers

    recipe = DeidRecipe()

    def one(source, target):
        items = get_identifiers([source])
        (done,) = replace_identifiers([source], deid=recipe, ids=items, save=False, force=True)
        done.save_as(target)

    return "deid", one


def dcm_anonymizer():
    from dcm_anon import UIDMapper, anonymize_file

    mapper = UIDMapper()
    return "dcm-anonymizer", lambda source, target: anonymize_file(Path(source), Path(target), mapper)


def dentdeid():
    from dentdeid import DeIdentifier

    peer = DeIdentifier("research", key=b"a key of the benchmark, 32 bytes")

    def one(source, target):
        with tempfile.TemporaryDirectory() as out:
            peer.run([source], out)
            written = [
                p
                for part in ("clean", "review")
                for p in Path(out, part).rglob("*")
                if p.suffix.lower() in (".dcm", "")
            ]
            written = [p for p in written if p.is_file()]
            if len(written) != 1:
                raise ValueError("withheld")
            shutil.copyfile(written[0], target)

    return "dentdeid", one


def pydcm_basic():
    import pydcm

    return "pydcm", lambda source, target: Path(target).write_bytes(pydcm.deidentify(source))


def pydcm_options():
    """With the options nearest to `research`."""
    import pydcm

    options = {
        "retain_safe_private": True, "clean_descriptors": True, "retain_device_id": True, "retain_patient_chars": True,
        "clean_graphics": True, "clean_struct_content": True, "clean_pixel": True, "shift_dates_days": -1000,
    }  # fmt: skip
    return "pydcm", lambda source, target: Path(target).write_bytes(pydcm.deidentify(source, **options))


PEERS = {
    f.__name__: f
    for f in (
        dicognito,
        dicom_anonymizer,
        dicom_anonymizer_latest,
        deid,
        dcm_anonymizer,
        dentdeid,
        pydcm_basic,
        pydcm_options,
    )
}


def main():
    jobs = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    package, one = PEERS[sys.argv[1]]()
    problems, seconds = [], 0.0
    for source, target in jobs:
        begin = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                one(source, target)
                problem = ""
            except (Exception, SystemExit) as error:
                problem = type(error).__name__
        seconds += time.perf_counter() - begin
        if problem and os.path.exists(target):
            os.unlink(target)
        problems.append(problem)
    version = f"{package} {importlib.metadata.version(package)}"
    print(json.dumps({"seconds": seconds, "version": version, "problems": problems}), file=out)


if __name__ == "__main__":
    main()
