"""Settings and options that make no sense."""

from __future__ import annotations

from ..sources import RUN
from .cases import Place, Words, case


# -------------------------------------------------------------------- settings
@case(2, "run.tmol")
def settings_file_that_is_not_there(p: Place) -> Words:
    return ["fit", p.store, "-c", p.folder / "run.tmol"]


@case(2, "folder")
def settings_file_is_a_folder(p: Place) -> Words:
    return ["fit", p.store, "-c", p.folder]


@case(1, "bad.toml", "line 3", "TOML")
def settings_not_toml(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed('type = "snap"', "type = snap")]


@case(1, "bad.toml", "UTF-8")
def settings_of_bytes(p: Place) -> Words:
    path = p.file("bad.toml", b"\xff\xfe\x00[fit]")
    return ["fit", p.store, "-c", path]


@case(2, "line 6", "rcutfact", "rcutfac")
def settings_unknown_key(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac", "rcutfact")]


@case(2, "fti", "fit")
def settings_unknown_table(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("[fit]", "[fti]")]


@case(2, "line 20", "fit.default", "energie", "energy")
def settings_unknown_weight(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("energy = 10.0", "energie = 10.0")]


@case(2, "line 18", "train", "expected a number")
def settings_wrong_type(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("train = 0.8", 'train = "most"')]


@case(2, "no [fit] table")
def settings_without_fit(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN[: RUN.index("[fit]")])]


@case(2, "[descriptor]", "[baseline]")
def settings_without_descriptor(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.toml(RUN[RUN.index("[fit]") :])]


@case(2, "surfce", "g0")
def settings_unknown_group(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN + "[fit.groups.surfce]\nenergy = 1.0\n")]


@case(2, "unlisted_groups", "default")
def settings_unlisted_group(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("[fit]", '[fit]\nunlisted_groups = "error"')]


@case(2, "rosw", "rows")
def settings_unknown_features(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--features", "rosw"]


@case(2, "zlb", "zbl")
def settings_unknown_baseline(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("[fit]", '[fit]\nbaseline = "zlb"')]


@case(2, "svdd", "svd")
def settings_unknown_solver(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--solver", "svdd"]


@case(2, "line 20", "Weight", "at least 0")
def settings_negative_weight(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("energy = 10.0", "energy = -1.0")]


@case(2, "weight", "zero")
def settings_all_weights_zero(p: Place) -> Words:
    text = RUN.replace("energy = 10.0", "energy = 0.0").replace("force = 1.0", "force = 0.0")
    return ["fit", p.store, "-c", p.toml(text.replace("stress = 0.1", "stress = 0.0"))]


@case(2, "train", "1.5")
def settings_train_above_one(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("train = 0.8", "train = 1.5")]


@case(2, "train", "test", "1.2")
def settings_train_and_test_above_one(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("train = 0.8", "train = 1.0")]


@case(2, "Be", "elements")
def settings_shift_of_an_element_not_there(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN + "[fit.element_shifts]\nBe = 1.0\n")]


@case(2, "Xy", "element")
def settings_shift_of_no_element(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN + "[fit.element_shifts]\nXy = 1.0\n")]


@case(2, "rcutfac", "positive")
def descriptor_negative_cutoff(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac = 4.6", "rcutfac = -4.6")]


@case(2, "radelem", "3 values")
def descriptor_wrong_list_length(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac = 4.6", "rcutfac = 4.6\nradelem = [0.5, 0.5, 0.5]")]


@case(2, "twojmax", "20")
def descriptor_twojmax_too_large(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("twojmax = 2", "twojmax = 60")]


@case(2, "snapp", "snap")
def descriptor_unknown(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed('type = "snap"', 'type = "snapp"')]


@case(2, "rcutfac")
def descriptor_without_a_cutoff(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac = 4.6\n", "")]


@case(2, "holds W", "elements")
def descriptor_lacks_an_element(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.toml(RUN[: RUN.index("[baseline]")].replace('["Ta", "W"]', '["Ta"]'))]


@case(2, "zbll")
def baseline_of_no_pair_style(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("zbl 4.0 4.8", "zbll 4.0 4.8"), "--executor", "serial"]


@case(2, "zbll")
def baseline_of_no_pair_style_in_workers(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("zbl 4.0 4.8", "zbll 4.0 4.8"), "-j", "2"]


@case(1, "good.xyz, frame 0", "pair coeffs are not set")
def baseline_without_coefficients(p: Place) -> Words:
    return [
        "featurize",
        p.store,
        "-d",
        p.changed('["1 1 73 73", "1 2 73 74", "2 2 74 74"]', '["1 1 73 73"]'),
        "--executor",
        "serial",
    ]


# -------------------------------------------------------------- options of fit
@case(2, "--weight", "GROUP.kind=VALUE")
def weight_without_a_value(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g0.energy"]


@case(2, "--weight", "energy")
def weight_of_no_kind(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g0.enrgy=1"]


@case(2, "--weight", "not a number")
def weight_is_a_word(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g0.energy=much"]


@case(2, "no group", "g9", "g0")
def weight_of_no_group(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g9.energy=1"]


@case(1, "memory", "exceeds")
def memory_too_small(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--memory", "1MB"]


@case(2, "much", "4GB")
def memory_is_a_word(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--memory", "much"]
