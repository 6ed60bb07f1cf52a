"""The names of the configuration as readers see them: norms, tasks, quantities, choices and families."""

import re

NORMS = {
    "none": "no norm",
    "batch": "BatchNorm",
    "noisy_batch": "“Noisy” BatchNorm",
    "noisy_batch_variance": "“Noisy” BatchNorm (0.1 as variance)",
    "noise": "noise",
    "l1": "L₁",
    "l2": "L₂",
    "linf": "L∞",
    "ghost": "Ghost BatchNorm",
    "frozen": "Frozen BatchNorm",
    "centre": "centring",
    "divide": "division",
    "layer": "LayerNorm",
    "group": "GroupNorm",
    "instance": "InstanceNorm",
    "rms": "RMSNorm",
    "dyt": "DyT",
    "dyt_alpha1": "DyT (α = 1)",
    "weight_norm": "WeightNorm",
    "weight_standard": "standardised weights",
}
TASKS = {"vgg": "VGG", "deep_linear": "deep linear network"}
QUANTITIES = {
    "beta": "effective β",
    "effective_beta": "effective β",
    "predictiveness": "gradient predictiveness",
    "sharpness": "largest eigenvalue",
}
# How values at many steps become one number, and which steps and step sizes count.
CHOICES = {
    "equal_loss": "at equal loss",
    "until_converged": "until either converges",
    "up_to_lr": "step sizes up to lr",
    "lr": "lr alone",
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# A number with an exponent, as claims.yaml writes it: 1e-7, 2.5e6.
POWER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]?\d+)\b")
WORDS = NORMS | TASKS | QUANTITIES | CHOICES
FAMILIES = {
    "edge_dln": "Beyond the paper: the edge of stability, deep linear network",
    "edge_vgg": "Beyond the paper: the edge of stability, VGG",
    "edge_start": "Beyond the paper: curvature at the start",
    "shift_is_curvature": "Beyond the paper: covariate shift is curvature",
    "propagation": "Beyond the paper: gradients and outputs at the start",
    "norms": "Beyond the paper: the smoother the norm, the better it trains",
    "norms_trained": "Beyond the paper: the same without norms that stay at chance",
    "random_directions": "Section 3.2: random directions",
}


def words(name):
    """Return a name in words; one that begins with an underscore stands after a space."""
    bare = name.removeprefix("_")
    return " " * (bare != name) + WORDS.get(bare, bare.replace("_", " "))


def condition(settings):
    """Return the settings of a condition in words, without its task: BatchNorm, rate 0.01."""
    return ", ".join([words(settings["norm"]), f"rate {number(settings['lr'])}", *extras(settings)])


def run(settings):
    """Return the settings of a condition in words, after its task: VGG, BatchNorm, rate 0.01."""
    return f"{words(settings['task'])}, {condition(settings)}"


def extras(settings):
    """Return in words the settings that few conditions have."""
    found = ["warm-up"] if "warmup" in settings else []
    if settings.get("initial_scale", 1) != 1:
        found.append(f"weights × {settings['initial_scale']:.3g}")
    return found


def number(value):
    """Return a number as claims.yaml writes it: 0.01, 1e-7, 1e10."""
    return re.sub("e([+-])0*", lambda sign: "e" + sign[1].strip("+"), f"{value:g}")


def with_powers(text):
    """Return a text whose numbers with an exponent are powers of ten: 1e-7 becomes 10⁻⁷, 2.5e6 2.5·10⁶."""
    return POWER.sub(_power, text)


def _power(found):
    digits, exponent = found.groups()
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if digits == "1" else f"{digits}·{power}"


def family(name):
    """Return the heading of a family of claims: fig3a -> Figure 3(a)."""
    figure = re.fullmatch(r"fig(\d+)([a-z]?)", name)
    if not figure:
        return FAMILIES.get(name, words(name).capitalize())
    return f"Figure {figure[1]}" + (f"({figure[2]})" if figure[2] else "")
