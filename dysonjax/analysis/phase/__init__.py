"""Phases of the teacher-student network: observables with errors, classification, boundary lines.

Everything here works on the dataset of a run, wherever it was computed. Temperatures are T = lr/batch_size;
the seeds of a grid point are the unit of averaging and of resampling. [C]; arXiv 2509.01349.
"""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.analysis.phase.averages import mean_of_members, observables
    from dysonjax.analysis.phase.classification import (
        DEFAULT_THRESHOLDS,
        PHASES,
        UNDECIDED,
        Thresholds,
        classify,
        convergence_line,
        count,
        typical_members,
    )
    from dysonjax.analysis.phase.disorder import disorder
    from dysonjax.analysis.phase.jamming import (
        JAMMING_VARIANCE,
        Jamming,
        jamming_line,
        tanh_density,
    )
    from dysonjax.analysis.phase.matrix import main_matrix
    from dysonjax.analysis.phase.networks import (
        epoch_gradient_norm,
        features,
        full_gradient_norm,
        model_of,
        two_time_correlation,
    )
    from dysonjax.analysis.phase.noise import (
        CONTOURS,
        CRITERIA,
        criteria,
        falling_line,
        noise_fraction,
        noise_line,
        noise_line_error,
        noise_passes,
        noise_threshold,
    )

__all__ = [
    "CONTOURS",
    "CRITERIA",
    "DEFAULT_THRESHOLDS",
    "JAMMING_VARIANCE",
    "PHASES",
    "UNDECIDED",
    "Jamming",
    "Thresholds",
    "classify",
    "convergence_line",
    "count",
    "criteria",
    "disorder",
    "epoch_gradient_norm",
    "falling_line",
    "features",
    "full_gradient_norm",
    "jamming_line",
    "main_matrix",
    "mean_of_members",
    "model_of",
    "noise_fraction",
    "noise_line",
    "noise_line_error",
    "noise_passes",
    "noise_threshold",
    "observables",
    "tanh_density",
    "two_time_correlation",
    "typical_members",
]

lazy.attach(__name__)
