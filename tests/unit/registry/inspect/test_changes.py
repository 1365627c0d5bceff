from __future__ import annotations

from lumper.registry.inspect.changes import Changed, Fate, changes
from lumper.registry.inspect.image import Inspection, Platform, Settings, Step
from parts.suite.pace import takes_less_than

BASE, OLD, NEW = (Step(f"RUN {name}", f"sha256:{name}", size) for name, size in (("base", 100), ("old", 7), ("new", 9)))
LINE = Step("ENV A=1")


def test_layers_stay_go_and_come_in_the_order_of_the_recipe() -> None:
    found = changes(Inspection(steps=(BASE, LINE, OLD)), Inspection(steps=(BASE, LINE, NEW)))
    assert found.steps == ((Fate.STAYS, BASE), (Fate.STAYS, LINE), (Fate.GOES, OLD), (Fate.COMES, NEW))
    assert (found.kept, found.new) == (100, 9)


def test_a_layer_that_is_there_elsewhere_need_not_be_pulled_and_counts_once() -> None:
    found = changes(Inspection(steps=(BASE, OLD)), Inspection(steps=(NEW, BASE, BASE)))
    assert (found.kept, found.new) == (100, 9)


def test_layers_that_repeat_themselves_are_compared_at_once() -> None:
    before, after = (tuple((OLD, NEW)[number % every == 0] for number in range(500)) for every in (2, 3))
    with takes_less_than(1):  # it was four, and the server did nothing else
        found = changes(Inspection(steps=before), Inspection(steps=after))
    assert {fate for fate, _ in found.steps} == {Fate.STAYS, Fate.GOES, Fate.COMES}


def test_settings_are_told_where_they_differ_and_variables_by_name() -> None:
    before = Settings(user="1", entrypoint=("a", "b"), environment=("A=1", "B=2", "E="), labels={"v": "1", "s": "same"})
    after = Settings(user="1", entrypoint=("a",), environment=("B=3", "A=1", "C"), labels={"v": "2", "s": "same"})
    found = changes(Inspection(settings=before, annotations={"x": "y"}), Inspection(settings=after))
    assert found.settings == (
        Changed("Entrypoint", "a b", "a"),
        Changed("$B", "2", "3"),
        Changed("Label v", "1", "2"),
        Changed("Annotation x", "y", ""),
    )


def test_platforms_are_paired_by_name_without_attestations() -> None:
    amd, arm = Platform("sha256:1", "linux/amd64", 1), Platform("sha256:2", "linux/arm64", 1)
    newer, told = Platform("sha256:3", "linux/amd64", 1), Platform("sha256:4", "attestation", 1, about="sha256:1")
    found = changes(Inspection(platforms=(amd, arm, told)), Inspection(platforms=(newer, arm)))
    assert [(pair.name, pair.before, pair.after, pair.same) for pair in found.platforms] == [
        ("linux/amd64", amd, newer, False),
        ("linux/arm64", arm, arm, True),
    ]
    assert [pair.after for pair in changes(Inspection(platforms=(amd,)), Inspection()).platforms] == [None]


def test_images_of_which_nothing_can_be_read_do_not_differ() -> None:
    found = changes(Inspection(), Inspection())
    assert (found.platforms, found.settings, found.steps, found.kept, found.new) == ((), (), (), 0, 0)
