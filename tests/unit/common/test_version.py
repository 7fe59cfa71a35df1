import pickle

import pytest
from manta_common.version import PROTOCOL, Version, VersionMismatch, check


@pytest.mark.parametrize("minor", [2, 3, 4])
def test_a_peer_at_most_one_minor_away_is_accepted(minor: int) -> None:
    check(Version(0, minor), Version(0, 3), peer="raylet")


@pytest.mark.parametrize("theirs", [Version(0, 1), Version(0, 5), Version(1, 3)])
def test_any_other_version_is_refused_with_both_named(theirs: Version) -> None:
    with pytest.raises(VersionMismatch) as refusal:
        check(theirs, Version(0, 3), peer="raylet 10.0.0.1")
    assert str(theirs) in str(refusal.value)
    assert "0.3" in str(refusal.value)
    assert "raylet 10.0.0.1" in str(refusal.value)


def test_a_mismatch_survives_pickling() -> None:
    error = VersionMismatch(Version(0, 1), PROTOCOL, "gcs")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_versions_are_read_back_from_their_text() -> None:
    assert Version.parse(str(PROTOCOL)) == PROTOCOL


@pytest.mark.parametrize("text", ["", "0", "0.3.1", "a.b", "-1.2", "0.3\n", "999999.0", "٣.١"])
def test_what_is_no_version_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="not a protocol version"):
        Version.parse(text)
