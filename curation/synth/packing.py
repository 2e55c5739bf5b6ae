"""Where files lie in a delivery, and the archives some of them come in. Same content, same bytes.

What belongs here: paths, zip and tar. What does not: what the files hold.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Sequence

from curation.synth.case import Case, Made
from curation.synth.identity import Planted

_ZIP_TIME = (2023, 12, 30, 12, 0, 0)


def place(case: Case, made: Made) -> tuple[str, tuple[Planted, ...]]:
    """Path of a file in the site's habit, and the identities that stand in it."""
    dialect, person, study = case.dialect, case.person, case.study
    series, instance, ending = made.series_number, made.instance_number, dialect.extension
    if dialect.path == "named":
        owner = f"{person.name.family.upper()}_{person.patient_id}"
        path = f"images/{owner}/{study.accession}/S{series:02d}/IM{instance:04d}{ending}"
        values = [
            ("person_name", person.name.family.upper()),
            ("patient_id", person.patient_id),
            ("accession", study.accession),
        ]
    elif dialect.path == "tree":
        path = f"DICOM/{person.patient_id}/ST{case.number:05d}/SE{series:03d}/IM{instance:05d}{ending}"
        values = [("patient_id", person.patient_id)]
    elif dialect.path == "uid":
        path = f"{study.uid}/{made.sop_uid}{ending}"
        values = [("uid", study.uid), ("uid", made.sop_uid)]
    else:
        path = f"export/{study.accession}/{series:02d}{instance:05d}{ending}"
        values = [("accession", study.accession)]
    return path, tuple(Planted("file name", kind, value) for kind, value in values)


def pack(members: Sequence[tuple[str, bytes]], packing: str) -> bytes:
    """An archive of (member name, bytes): zip, tar or tar.gz, with fixed times and owners."""
    buffer = io.BytesIO()
    if packing == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return (
        gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)
        if packing == "tar.gz"
        else buffer.getvalue()
    )
