"""The report's sections about the parts beyond the paper; each number in them comes from judged claims."""

from dataclasses import dataclass

from bnopt.latex import escape, estimate, verdict
from bnopt.study import names
from bnopt.verdicts import VERDICTS

# Prototypes showed what is claimed about VGGs at this scale, and about deep linear nets at these seeds.
PROTOTYPE_SCALE, PROTOTYPE_SEEDS = "digits", {0, 1, 2}


@dataclass(frozen=True)
class Family:
    """A family of claims: what follows if all its claims are supported, or if any is contradicted.

    only: names of its claims, if others of the family belong elsewhere
    """

    name: str
    supported: str
    contradicted: str
    only: tuple = ()

    def of(self, claims):
        """Return the rows of the claims of this family."""
        own = claims["family"] == self.name
        return claims[own & claims["claim"].isin(self.only) if self.only else own]


@dataclass(frozen=True)
class Topic:
    """A subsection: its title and figure, what is measured, families of claims, and what it cannot show.

    table: name of a table of numbers that are not judged, `about_table` the text about it
    """

    title: str
    figure: str
    measured: str
    families: tuple
    limits: str
    table: str = ""
    about_table: str = ""


TITLES = {"mechanism": "What the two measures measure", "norms": "The norms since"}
ALTERNATIVES = "alternatives"
PARTLY = "No claim is contradicted, but not all are supported: only the supported ones can be relied on."
OPEN = "The verdicts leave the question open."
EDGE = Topic(
    title="Curvature and the edge of stability",
    figure="edge",
    measured=r"""
Gradient descent at the rate lr tends to raise the largest eigenvalue $\lambda_{\max}$ of the Hessian
$H$ to 2/lr and to keep it there: the edge of stability (Cohen et al., 2021, arXiv 2103.00065). With
gradients of batches, what settles there is the mean of $\kappa=g^\top Hg/\lVert g\rVert^2$ over batches
(Andreyev and Beneventano, arXiv 2412.20553). We measure both, in units of 2/lr, on batch $t$ in training
mode. Values of the deep linear network are means over two successive steps, because its runs may
oscillate with a period of two steps. On such an oscillation $\beta$ at the step size lr is 2/lr,
whatever the norm. Below, an effect on $\kappa$ is its difference from the edge: $-1$ where there is no
curvature.""",
    families=(
        Family(
            "edge_dln",
            supported=r"""
All these claims are supported: late in training every one of these deep linear networks sits at the edge,
with a norm and without. There $\beta$ at the step size lr says what the learning rate is. A plateau of
$\beta$ at 2/lr, as in the paper's Figure~10(c), is then no evidence that a norm smooths the landscape.""",
            contradicted=r"""
Some of these claims are contradicted: not all of these deep linear networks stay at the edge, so a plateau
at 2/lr needs another explanation where they do not. A net that has stopped learning leaves it: its gradient
no longer points along the sharpest direction, whose curvature $\lambda_{\max}$ may still be 2/lr.""",
        ),
        Family(
            "edge_vgg",
            supported=r"""
All these claims are supported: the VGGs too settle at the edge, so their curvature along the gradient says
what the learning rate is, with every norm. At equal loss, BatchNorm and larger rates are flatter.""",
            contradicted=r"""
Some of these claims are contradicted: VGGs do not all stay at the edge, or neither BatchNorm nor a larger
rate always makes them flatter. Gradients of batches, and nets that have learnt their training images, may
leave the edge. Where a net is not at the edge, its curvature is no copy of the learning rate.""",
        ),
        Family(
            "edge_start",
            supported=r"""
All these claims are supported: before training BatchNorm is the sharper net, from all of these initial
weights. The paper's argument is then about training, not about the start.""",
            contradicted=r"""
Some of these claims are contradicted: whether BatchNorm starts flatter or sharper than the plain net
depends on the scale of the plain net's initial weights. A comparison at the start is therefore a
comparison of initial scales too.""",
        ),
    ),
    table="smoothness",
    about_table=r"""
\emph{$\beta$ beside the Hessian.} The table has both in units of 2/lr, without a verdict: $\beta$ over the
step lr, and $\lVert Hg\rVert/\lVert g\rVert$, to which $\beta$ tends in a smooth net as the step gets short.
Over the steps of training they need not agree even there. In a ReLU net they are different things: the
gradient jumps at kinks, and only steps too short to cross one see the Hessian alone. Over longer steps, a
large $\beta$ need not be curvature, and a small Hessian does not make gradients predictable. The
``smoothness'' of such a net is a property of the net and of a length of step. The paper's argument is about
$\beta$ over the steps that training takes; a bound on the Hessian, as theorems about gradient descent have
it, is another statement. Start: the first step. Late: means over the second half of the run. Cells: mean
over seeds, smallest and largest. For the deep linear network, the columns of the Hessian are means over two
successive steps.""",
    limits=r"""
The Hessian is blind to the kinks of ReLU and max-pooling. In the VGG, $\beta$ over a step of finite size
and the Hessian are different things, and neither is the smoothness of the other. Curvature at the start
depends on the scale of the initial weights.""",
)
SHIFT = Topic(
    title="Covariate shift is curvature",
    figure="shift",
    measured=r"""
In a smooth net, Definition~2.1 is a block of the Hessian: to first order in lr,
$G'-G=-\mathrm{lr}\,H_{i,<i}\,g_{<i}$, where $g_{<i}$ is the gradient of all that lies before layer~$i$.
If $H$ has nearly rank one along the gradient, $G'\approx(1-\mathrm{lr}\,\kappa s_i)\,G$ with
$s_i=\lVert g_{<i}\rVert^2/\lVert g\rVert^2$. The cosine of $G$ and $G'$ then turns from $1$ to $-1$
where $\mathrm{lr}\,\kappa s_i$ passes~1. Where $\mathrm{lr}\,\kappa\geq1$, the law can give both signs. There
it has to beat the sign that most cosines of a layer have in the run, which is known only afterwards.""",
    families=(
        Family(
            "shift_is_curvature",
            supported=r"""
All these claims are supported. In these nets, the paper's measure of covariate shift follows from
curvature, the learning rate and the layer's place in the net: its two measures are one. That BatchNorm
improves one and does not reduce the other is then a statement about the steps at which they are taken.""",
            contradicted=r"""
Some of these claims are contradicted: the first order, rank one or its sign does not describe the shift in
all of these nets. There the two measures of the paper are not one.""",
        ),
    ),
    limits=r"""
The claims are about deep linear networks. For the VGG the figure shows the same numbers without a
verdict: a step of finite size crosses kinks, which the Hessian does not see. Most layers lie far from where
the cosine turns; there a constant sign is right as well, and the law cannot gain.""",
)
UNITS = Topic(
    title="Units",
    figure="",
    measured=r"""
A layer followed by BatchNorm does not change its function with the length $\lVert w\rVert$ of its weights,
up to $\epsilon$. Weights of half the length have twice the gradient and a block of the Hessian that is four
times as large. So $\beta$ and the change of the gradient of a plain and of a normalised net are in
different units. We judge the paper's three claims about smoothness again, in units that are free of
the length: the slope $\lVert g_i\rVert\lVert w_i\rVert$ of the loss per relative change of a layer's
weights, the change of the gradient times the mean of $\lVert w_i\rVert$, and $\beta$ times the mean of
$\lVert w_i\rVert^2$.""",
    families=(
        Family(
            ALTERNATIVES,
            only=(
                "smooths_loss_times_weights",
                "smooths_gradients_times_weights",
                "smooths_beta_times_weights",
            ),
            supported=r"""
All three are supported: that the net with BatchNorm is smoother does not come from the length of its
weights.""",
            contradicted=r"""
At least one of the three is contradicted: in these units the net with BatchNorm is not smoother by every
measure, so the paper's comparison depends on the length of the weights.""",
        ),
    ),
    limits=r"""
These alternatives are exploratory. The last two mix layers: $\beta$ and the change of the gradient are those
of the whole net, and the lengths are means over the measured layers. The steps of the probe are not
rescaled. The function of the plain net does change with the length of its weights, so no unit is right for
both nets.""",
)
START = Topic(
    title="At the start",
    figure="",
    measured=r"""
We measure, before the first step, how the gradient in the layers' linear outputs grows towards the
input, and the stable rank $\lVert Y\rVert_F^2/\lVert Y\rVert^2$ of these outputs over the batch. The growth
is a factor per layer.
\ofstudy{gradients_grow_with_bn.estimate}{With BatchNorm it is \result{gradients_grow_with_bn.estimate} in
the VGG. Beside it stands the constant $\sqrt{\pi/(\pi-1)}\approx\result{growth.wide}$, the factor per layer
for ReLU networks with BatchNorm as reported in Theorem~8 of a mean field theory (Yang et al., 2019, arXiv
1902.08129); there it is squared, for squared lengths. Its conditions: fully connected layers of infinite
width, random Gaussian weights, large batches, many layers. Our VGG is convolutional and narrow, with pooling
and few layers, so agreement with the constant is no test of the theory, nor is disagreement. For linear
networks, the same theorem has no growth under the same conditions.}""",
    families=(
        Family(
            "propagation",
            supported=r"""
All these claims are supported: before any training, BatchNorm changes both as expected. What follows for
training, these claims do not say.""",
            contradicted=r"""
Some of these claims are contradicted: BatchNorm does not change both as expected.""",
        ),
    ),
    limits=r"""
That gradients shrink in the plain VGG is a property of the scale of its initial weights.""",
)
NORMS = Topic(
    title="Does smoothness go with training?",
    figure="norms",
    measured=r"""
The paper's argument is about BatchNorm and three $\ell_p$ norms. Here the VGG is trained with norms that
were invented since, with norms that only centre or only divide, and without a norm but with a warm-up. If
smoothness explains training, smoother nets train better over the norms too: Kendall's $\tau_b$ between
accuracy and each measure is clearly negative, which we take to mean below $-1/2$. Effects are differences
from that boundary: $\tau_b$ itself is the effect minus $1/2$. We rank all norms, and those alone that
train beyond chance. At equal loss the two are often the same, because a norm that does not train may
share no loss with BatchNorm.""",
    families=(
        Family(
            "norms",
            supported=r"""
All these claims are supported: over these norms, smoother nets train better, as the paper's argument
predicts.""",
            contradicted=r"""
Some of these claims are contradicted: by such a measure, $\tau_b$ lies above $-1/2$, so smoothness ranks
these norms weakly by how well they train, or not at all. It may still be one of several causes, but it is
not sufficient as the explanation.""",
        ),
        Family(
            "norms_trained",
            supported=r"""
All these claims are supported: among norms that train at all, smoother nets train better.""",
            contradicted=r"""
Some of these claims are contradicted: among norms that train at all, too, smoothness by such a measure ranks
them weakly, or not at all. Nets that do not train, and are therefore flat, are not the reason.""",
        ),
    ),
    limits=r"""
The norms are not a random sample, and a correlation over them is no cause. A net that does not train
stays where the landscape is flat. Norms of the weights have other coordinates: their measures are shown,
but not ranked. A layer followed by a norm does not change its function with the length of its weights, so
measures of plain and normalised nets are in different units.""",
)
TOPICS = {"mechanism": (EDGE, SHIFT, UNITS, START), "norms": (NORMS,)}


def listed():
    """Return the names of the alternatives that the sections list."""
    families = [family for topics in TOPICS.values() for topic in topics for family in topic.families]
    return [name for family in families for name in family.only]


def sections(claims, study):
    """Return part -> LaTeX text of its section, for every part of which the study has a claim or a figure.

    claims: judged claims, alternatives among them; study: the settings of the report, of which scale, seeds,
    conditions and captions are used.
    """
    judged = claims.fillna({"flips_under": "", "grade": "", "diverged": ""})
    found = {}
    for part, topics in TOPICS.items():
        texts = [topic_text(topic, judged, study) for topic in topics if _of_study(topic, judged, study)]
        if texts:
            title = rf"\FloatBarrier\Needspace{{16\baselineskip}}\section{{{TITLES[part]}}}"
            found[part] = "\n\n".join([title, *texts]) + "\n"
    return found


def _of_study(topic, claims, study):
    return topic.figure in study["captions"] or any(len(family.of(claims)) for family in topic.families)


def topic_text(topic, claims, study):
    """Return the LaTeX text of a subsection: measures, figure, families of claims, and limits."""
    parts = [rf"\results{{{topic.title}}}", topic.measured]
    if topic.figure in study["captions"]:
        parts.append(rf"\shown{{{topic.figure}}}{{}}")
    families = [family for family in topic.families if len(family.of(claims))]
    parts += [family_text(family, family.of(claims), study) for family in families]
    parts += [] if families else ["No claim about it belongs to this study."]
    parts += [rf"\tabled{{{topic.table}}}{{{topic.about_table.strip()}}}"] if topic.table else []
    return "\n\n".join(text.strip() for text in [*parts, topic.limits])


def family_text(family, claims, study):
    """Return the LaTeX text of a family: verdicts, what follows, and its table, which alternatives lack."""
    parts = [verdicts_text(claims, study), _diverged(claims, study), _conclusion(family, claims)]
    parts += [] if family.name == ALTERNATIVES else [rf"\family{{{family.name}}}"]
    return "\n".join(text.strip() for text in parts)


def _diverged(claims, study):
    """Return in a sentence of which conditions runs diverged; an empty text if none did."""
    lost = dict.fromkeys(name for of in claims["diverged"] for name in of.split(";") if name)
    named = "; ".join(escape(names.run(study["conditions"][name])) for name in lost)
    return rf"A dagger marks claims with diverged runs, here of: {named}." if named else ""


def _conclusion(family, claims):
    """Return what follows from the verdicts, those of all claims of the family."""
    found = set(claims["verdict"])
    if "contradicted" in found:
        return family.contradicted
    if found == {"supported"}:
        return family.supported
    return PARTLY if "supported" in found else OPEN


def verdicts_text(claims, study):
    """Return how many claims have which verdict, and a list: label, effect, verdict, and its standing."""
    counts = {word: int((claims["verdict"] == word).sum()) for word in VERDICTS}
    shown = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    rows = claims.to_dict("records")
    tasks = {name: condition["task"] for name, condition in study["conditions"].items()}
    standings = [standing(row, tasks, study["scale"], study["seeds"]) for row in rows]
    same = len(set(standings)) == 1
    items = [
        rf"\item {escape(row['label'])}: {estimate(row)}, \emph{{{verdict(row)}}}"
        + ("" if same else f" ({standing})")
        for row, standing in zip(rows, standings, strict=True)
    ]
    return "\n".join(
        [
            f"Of {len(claims)} claims{f' ({standings[0]})' if same else ''}: {shown}.",
            r"\begin{itemize}\setlength{\itemsep}{0pt}",
            *items,
            r"\end{itemize}",
        ]
    )


def standing(claim, tasks, scale, seeds):
    """Return whether a claim was fixed before its data were seen: exploratory, confirmatory, or in part.

    Prototypes had shown VGGs at the scale digits, and deep linear networks at seeds 0 to 2: these begin with
    the same steps at every scale. A claim whose margin comes from a prototype is confirmatory on other data.
    Alternatives are exploratory on all data.

    tasks: condition -> its task
    """
    if claim["family"] == ALTERNATIVES:
        return "exploratory"
    # A claim about all norms together names no condition; these are VGGs.
    if tasks.get(claim["condition_a"], "vgg") == "vgg":
        return "exploratory" if scale == PROTOTYPE_SCALE else "confirmatory"
    seen = PROTOTYPE_SEEDS & set(seeds)
    if not seen:
        return "confirmatory"
    if seen == set(seeds):
        return "exploratory"
    return f"exploratory at {len(seen)} of {len(seeds)} seeds"
