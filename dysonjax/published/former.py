"""Variables of figures that had another name: files hold them under both for a version."""

import xarray as xr

NEW = "former_name_of"  # the attribute of a variable that stands for another one
# figure: the name of a variable now, and the former one
FORMER: dict[str, dict[str, str]] = {
    "rbm-repulsion": {"relative_level": "ratio", "relative_level_err": "ratio_err"},
    "rbm-repulsion-centres": {"relative_centre": "ratio", "relative_centre_err": "ratio_err"},
    "rbm-evolution": {"levels_mean_err": "levels_err"},
    "rbm-semicircle": {"peak_density_err": "peak_err"},
    "rbm-surmise-collapse": {"collapsed_density_err": "collapsed_err"},
    "linear-relaxation": {"mean_err": "sem"},
    "phase-diagram": {"log2_noise_line_err": "noise_line_error"},
    "gpt-mp-fit": {
        f"{name}_{of}_err": f"{name}_err_{of}"
        for name in ("area", "sigma2")
        for of in ("common_scale", "head1")
    },
}


def with_former(figure: str, data: xr.Dataset) -> xr.Dataset:
    """The data with every variable that had another name under that one, too."""
    names = {new: old for new, old in FORMER.get(figure, {}).items() if new in data}
    return data.assign({old: data[new].assign_attrs({NEW: new}) for new, old in names.items()})


def without_former(figure: str, data: xr.Dataset) -> xr.Dataset:
    """The data by the present names alone, also those of a file of before."""
    names = {old: new for new, old in FORMER.get(figure, {}).items() if old in data}
    both = [old for old, new in names.items() if new in data]
    return data.drop_vars(both).rename({old: new for old, new in names.items() if new not in data})
