from canopy.explore.palette import class_colors


def test_colours_are_distinct_for_any_number_of_classes():
    colors = class_colors(40)
    assert len(set(colors)) == len(colors) == 40
    assert class_colors(7) == colors[:7]
