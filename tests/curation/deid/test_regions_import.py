"""A hospital's CTP script or deid recipe becomes rules that blank the same boxes, or says which sections did not."""

import pytest
from pydicom import Dataset

from curation.deid.regions import Box
from curation.deid.regions_import import import_regions
from curation.records import ConfigurationError

CTP = """
Acme ultrasound, any software
  { Modality.equals("US") * Manufacturer.containsIgnoreCase("acme") * !Rows.equals("600") }
  (0,0,640,40) (600,100,40,20)

Two models of Zenith
  { Manufacturer.contains("zenith") * (ManufacturerModelName.equals("Z1") + ManufacturerModelName.startsWith("Z2")) }
  (10,20,30,40)

By the patient
  { PatientName.contains("TEST") } (0,0,10,10)

Broken box
  { Modality.equals("CT") } (0,0,10)
"""

DEID = """FORMAT dicom

%filter graylist

LABEL Acme screens # where the banner is
  contains Manufacturer Acme
  + equals Modality US
  coordinates 0,0,640,40

LABEL Zenith keeps its fan
  equals ManufacturerModelName Z9
  keepcoordinates 100,100,300,300

%filter blacklist

LABEL never
  contains ImageType REPORT

%filter whitelist

LABEL Trusted
  equals Modality CT
"""


def header(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_a_ctp_script_blanks_the_boxes_of_the_devices_that_it_names() -> None:
    acme, z1, z2 = import_regions(CTP).rules
    assert acme.boxes(640, 480) == [Box(0, 0, 640, 40), Box(600, 100, 40, 20)]
    assert acme.matches(header(Modality="US", Manufacturer="ACME Medical", Rows=480))
    assert not acme.matches(header(Modality="US", Manufacturer="ACME Medical", Rows=600))
    assert not acme.matches(header(Modality="CT", Manufacturer="ACME Medical", Rows=480))
    assert z1.matches(header(Manufacturer="Zenith", ManufacturerModelName="Z1"))
    assert not z1.matches(header(Manufacturer="Zenith", ManufacturerModelName="Z2 pro"))
    assert z2.matches(header(Manufacturer="Zenith", ManufacturerModelName="Z2 pro"))


def test_a_section_that_cannot_be_taken_over_is_named_with_its_line_and_why() -> None:
    patient, broken = import_regions(CTP).left_out
    assert patient.startswith("line 11: By the patient") and "PatientName" in patient
    assert broken.startswith("line 14: Broken box") and "four numbers" in broken


def test_a_deid_recipe_blanks_keeps_and_withholds() -> None:
    imported = import_regions(DEID)
    acme, zenith, never = imported.rules
    assert acme.matches(header(Manufacturer="ACME", Modality="US"))
    assert not acme.matches(header(Manufacturer="ACME", Modality="CT"))
    assert acme.boxes(800, 600) == [Box(0, 0, 640, 40)]  # a recipe's box is left, top, right, bottom
    assert Box(0, 0, 400, 100) in zenith.boxes(400, 400)
    assert not any(box.overlaps(Box(100, 100, 200, 200)) for box in zenith.boxes(400, 400))
    assert never.otherwise == "withhold"
    assert len(imported.left_out) == 1 and "whitelist" in imported.left_out[0]


def test_a_file_that_is_neither_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="FORMAT dicom"):
        import_regions("just a page of text")
