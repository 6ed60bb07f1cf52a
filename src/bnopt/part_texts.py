"""The report's sections about the parts beyond the paper; each number in them comes from judged claims."""

from dataclasses import dataclass

from bnopt.latex import escape, estimate, verdict
from bnopt.verdicts import VERDICTS

# Prototypes showed what is claimed about VGGs at this scale, and about deep linear nets at these seeds.
PROTOTYPE_SCALE, PROTOTYPE_SEEDS = "digits", {0, 1, 2}


@dataclass(frozen=True)
class Topic:
    """A subsection: its title, figure and families of claims, what is measured, and what it cannot show.

    supported, contradicted: what follows if every claim of the families is supported, or any contradicted.
    """

    title: str
    figure: str
    families: tuple
    measured: str
    supported: str
    contradicted: str
    limits: str


TITLES = {"mechanism": "What the two measures measure", "norms": "The norms since"}
TOPICS = {
    "mechanism": (
        Topic(
            title="Curvature and the edge of stability",
            figure="edge",
            families=("edge_dln", "edge_vgg", "edge_start"),
            measured=r"""
Gradient descent at the rate lr tends to raise the largest eigenvalue $\lambda_{\max}$ of the Hessian
$H$ to 2/lr and to keep it there: the edge of stability (Cohen et al., 2021, arXiv 2103.00065). With
gradients of batches, what settles there is the mean of $\kappa=g^\top Hg/\lVert g\rVert^2$ over batches
(Andreyev and Beneventano, arXiv 2412.20553). We measure both, in units of 2/lr, on batch $t$ in training
mode. Values of the deep linear network are means over two successive steps, because its runs may
oscillate with a period of two steps. On such an oscillation $\beta$ at the step size lr is 2/lr,
whatever the norm.""",
            supported=r"""
All these claims are supported. A plateau of $\beta$ at 2/lr is then a trait of gradient descent at this
rate. It is no evidence that a norm smooths the landscape.""",
            contradicted=r"""
Some of these claims are contradicted: not every net settles at the edge, or starts where we expected.""",
            limits=r"""
The Hessian is blind to the kinks of ReLU and max-pooling. In the VGG, $\beta$ over a step of finite size
and the Hessian are different things, and neither is the smoothness of the other. Curvature at the start
depends on the scale of the initial weights. A claim that BatchNorm starts flatter or sharper is
therefore a claim about that scale too.""",
        ),
        Topic(
            title="Covariate shift is curvature",
            figure="shift",
            families=("shift_is_curvature",),
            measured=r"""
In a smooth net, Definition~2.1 is a block of the Hessian: to first order in lr,
$G'-G=-\mathrm{lr}\,H_{i,<i}\,g_{<i}$, where $g_{<i}$ is the gradient of all that lies before layer~$i$.
If $H$ has nearly rank one along the gradient, $G'\approx(1-\mathrm{lr}\,\kappa s_i)\,G$ with
$s_i=\lVert g_{<i}\rVert^2/\lVert g\rVert^2$. The cosine of $G$ and $G'$ then turns from $1$ to $-1$
where $\mathrm{lr}\,\kappa s_i$ passes~1.""",
            supported=r"""
All these claims are supported. In these nets, the paper's measure of covariate shift follows from
curvature, the learning rate and the layer's place in the net: its two measures are one.""",
            contradicted=r"""
Some of these claims are contradicted: the first order, or rank one, does not describe the shift here.""",
            limits=r"""
The claims are about deep linear networks. For the VGG the figure shows the same numbers without a
verdict: a step of finite size crosses kinks, which the Hessian does not see.""",
        ),
        Topic(
            title="At the start",
            figure="",
            families=("propagation",),
            measured=r"""
We measure, before the first step, how the gradient in the layers' linear outputs grows towards the
input, and the stable rank $\lVert Y\rVert_F^2/\lVert Y\rVert^2$ of these outputs over the batch.""",
            supported=r"""
All these claims are supported: before any training, BatchNorm changes both as expected.""",
            contradicted=r"""
Some of these claims are contradicted: BatchNorm does not change both as expected.""",
            limits=r"""
That gradients shrink in the plain VGG is a property of the scale of its initial weights.""",
        ),
    ),
    "norms": (
        Topic(
            title="Does smoothness go with training?",
            figure="norms",
            families=("norms", "norms_trained"),
            measured=r"""
The paper's argument is about BatchNorm and three $\ell_p$ norms. Here the VGG is trained with norms that
were invented since, with norms that only centre or only divide, and without a norm but with a warm-up. If
smoothness explains training, smoother nets train better over the norms too: Kendall's $\tau_b$ between
accuracy and each measure is clearly negative. We rank all norms, and those
alone that train beyond chance.""",
            supported=r"""
All these claims are supported: over these norms, smoother nets train better, as the paper's argument
predicts.""",
            contradicted=r"""
Some of these claims are contradicted: smoothness does not rank these norms by how well they train.""",
            limits=r"""
The norms are not a random sample, and a correlation over them is no cause. A net that does not train
stays where the landscape is flat. Norms of the weights have other coordinates: their measures are shown,
but not ranked. A layer followed by a norm does not change its function with the length of its weights, so
measures of plain and normalised nets are in different units.""",
        ),
    ),
}


def sections(claims, study):
    """Return part -> LaTeX text of its section, for every part of which the study has a claim or a figure.

    claims: judged claims; study: the settings of the report, of which scale, seeds, conditions and captions
    are used.
    """
    found = {}
    for part, topics in TOPICS.items():
        texts = [topic_text(topic, claims, study) for topic in topics if _of_study(topic, claims, study)]
        if texts:
            title = rf"\FloatBarrier\Needspace{{16\baselineskip}}\section{{{TITLES[part]}}}"
            found[part] = "\n\n".join([title, *texts]) + "\n"
    return found


def _of_study(topic, claims, study):
    return topic.figure in study["captions"] or claims["family"].isin(topic.families).any()


def topic_text(topic, claims, study):
    """Return the LaTeX text of a subsection: measures, verdicts, what follows, figure, tables, limits."""
    own = claims[claims["family"].isin(topic.families)]
    judged = verdicts_text(own, study) if len(own) else "No claim about it belongs to this study."
    parts = [rf"\results{{{topic.title}}}", topic.measured, judged, _conclusion(topic, own)]
    if topic.figure in study["captions"]:
        parts.append(rf"\shown{{{topic.figure}}}{{}}")
    parts += [rf"\family{{{family}}}" for family in topic.families if (own["family"] == family).any()]
    return "\n".join(text.strip() for text in [*parts, topic.limits] if text)


def _conclusion(topic, claims):
    """Return what follows from the verdicts; an open question if none is contradicted and one is open."""
    found = set(claims["verdict"])
    if "contradicted" in found:
        return topic.contradicted
    if found == {"supported"}:
        return topic.supported
    return "The verdicts leave the question open." if found else ""


def verdicts_text(claims, study):
    """Return how many claims have which verdict, and a list: label, effect, verdict, and its standing."""
    counts = {word: int((claims["verdict"] == word).sum()) for word in VERDICTS}
    shown = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    items = [
        rf"\item {escape(claim['label'])}: {estimate(claim)}, \emph{{{verdict(claim)}}} "
        rf"({standing(claim, study)})"
        for claim in claims.to_dict("records")
    ]
    return "\n".join(
        [
            f"Of {len(claims)} claims: {shown}.",
            r"\begin{itemize}\setlength{\itemsep}{0pt}",
            *items,
            r"\end{itemize}",
        ]
    )


def standing(claim, study):
    """Return whether a claim was fixed before its data were seen: exploratory, confirmatory, or in part.

    Prototypes had shown VGGs at the scale digits, and deep linear networks at seeds 0 to 2: these begin with
    the same steps at every scale. A claim whose margin comes from a prototype is confirmatory on other data.
    """
    # A claim about all norms together names no condition; these are VGGs.
    task = study["conditions"].get(claim["condition_a"], {"task": "vgg"})["task"]
    if task == "vgg":
        return "exploratory" if study["scale"] == PROTOTYPE_SCALE else "confirmatory"
    seen = PROTOTYPE_SEEDS & set(study["seeds"])
    if not seen:
        return "confirmatory"
    if seen == set(study["seeds"]):
        return "exploratory"
    return f"exploratory at {len(seen)} of {len(study['seeds'])} seeds"
