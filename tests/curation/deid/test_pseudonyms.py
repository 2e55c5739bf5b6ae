"""Pseudonyms are a keyed function: the same everywhere, different for everything else, silent about the key."""

import pickle
from uuid import UUID

import pytest

from curation.deid.pseudonyms import OFFSET_DAYS_MAX, OFFSET_DAYS_MIN, Pseudonyms, dicom_uid

KEY = b"a key for tests only, 32 bytes.."


def test_the_same_key_gives_the_same_ids_in_any_process_and_order() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(KEY)
    uids = [f"1.2.{n}" for n in range(50)]
    assert [one.uid(u) for u in uids] == [other.uid(u) for u in reversed(uids)][::-1]
    assert pickle.loads(pickle.dumps(one)).uid("1.2.3") == one.uid("1.2.3")


def test_the_ids_are_pinned() -> None:
    # lakes live longer than releases: another value here breaks every lake
    pseudonyms = Pseudonyms(KEY)
    patient = pseudonyms.patient("site", "1")
    assert str(pseudonyms.uid("1.2.3")) == PINNED_UID
    assert (str(patient), pseudonyms.offset_days(patient), pseudonyms.split_bucket(patient)) == PINNED_PATIENT


PINNED_UID = "04e97a53-c348-854b-83be-f6c3d261cfac"
PINNED_PATIENT = ("5c3b968d-0a0a-892f-8ea7-2e4b2733b711", -3211, 854)


def test_another_key_gives_other_ids() -> None:
    assert Pseudonyms(KEY).uid("1.2.3") != Pseudonyms(KEY[::-1]).uid("1.2.3")
    assert Pseudonyms(KEY).key_id != Pseudonyms(KEY[::-1]).key_id


def test_domains_and_fields_do_not_run_into_each_other() -> None:
    p = Pseudonyms(KEY)
    ids = [
        p.uid("1"), p.patient("1", ""), p.patient("", "1"), p.patient("", "", "1"), p.accession("1", ""),
        p.accession("", "1"), p.identifier("1", ""), p.identifier("", "1"), p.identifier("uid", "1"),
        p.patient("ab", "c"), p.patient("a", "bc"), p.patient("a", "b", "c"),
    ]  # fmt: skip
    assert len(set(ids)) == len(ids)


def test_padding_does_not_make_another_person() -> None:
    p = Pseudonyms(KEY)
    assert p.patient("s", "123 ") == p.patient("s", "123") == p.patient("s", "123\0")
    assert p.patient("s", "123") != p.patient("t", "123")


def test_uids_are_valid_and_uuids_are_of_version_8() -> None:
    for n in range(200):
        found = Pseudonyms(KEY).uid(f"1.2.{n}")
        uid = dicom_uid(found)
        assert len(uid) <= 64 and uid.startswith("2.25.") and UUID(int=int(uid[5:])) == found
        assert found.version == 8 and found.variant == "specified in RFC 4122"


def test_offsets_are_between_one_and_ten_years_and_spread() -> None:
    p = Pseudonyms(KEY)
    offsets = [p.offset_days(p.patient("s", str(n))) for n in range(2000)]
    assert all(-OFFSET_DAYS_MAX <= o <= -OFFSET_DAYS_MIN for o in offsets)
    assert len(set(offsets)) > 1000
    buckets = [p.split_bucket(p.patient("s", str(n))) for n in range(2000)]
    assert min(buckets) >= 0 and max(buckets) <= 999 and len(set(buckets)) > 800


def test_digests_are_keyed_and_take_any_buffer() -> None:
    p = Pseudonyms(KEY)
    assert p.digest(b"abc") == p.digest(memoryview(b"abc")) == p.digest(bytearray(b"abc"))
    assert len(p.digest(b"")) == 32 and p.digest(b"abc") != Pseudonyms(KEY[::-1]).digest(b"abc")


def test_the_key_is_not_shown() -> None:
    p = Pseudonyms(KEY)
    assert KEY.hex() not in repr(p) and "key for tests" not in repr(p)
    assert p.key_id in repr(p) and len(p.key_id) == 8


def test_a_short_key_is_wrong_use() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        Pseudonyms(b"short")
