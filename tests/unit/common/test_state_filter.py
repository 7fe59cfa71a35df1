from manta_common.state_filter import StateFilter, all_pass


def test_case_does_not_count() -> None:
    assert StateFilter("state", "alive").passes("ALIVE")
    assert not StateFilter("state", "alive", unequal=True).passes("ALIVE")


def test_numbers_and_truth_values_are_compared_with_their_texts() -> None:
    assert StateFilter("pid", "12").passes(12)
    assert StateFilter("is_alive", "True").passes(True)
    assert StateFilter("is_alive", "0").passes(False)
    assert not StateFilter("is_alive", "maybe").passes(True)


def test_what_is_not_there_equals_the_empty_text_only() -> None:
    assert StateFilter("name", "").passes(None)
    assert not StateFilter("name", "none").passes(None)


def test_all_conditions_must_hold() -> None:
    row = {"name": "f", "state": "FAILED"}
    assert all_pass([StateFilter("name", "f"), StateFilter("state", "FINISHED", unequal=True)], row.get)
    assert not all_pass([StateFilter("name", "f"), StateFilter("state", "FINISHED")], row.get)
