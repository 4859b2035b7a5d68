"""Plain next-token training on the same positions of a text (cross-entropy): the control of the methods that think."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="plain",
    stages=("pretrain",),
    trainer="pretrain-plain",
    summary="plain next-token training on the same positions of a text (cross-entropy): the control of the methods that think",
    formula="loss = -mean over the tokens of the continuation of log pi(x_t | x_<t)",
    page="docs/guides/pretrain.md",
    paper="Brown et al. 2020, arXiv 2005.14165",
)
