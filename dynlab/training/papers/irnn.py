"""iRNN (Kag, Zhang & Saligrama, ICLR 2020): section 4.1, Tables 1 to 5, appendix A.4."""

from __future__ import annotations

from dynlab.training.presets import OURS, Preset, Sourced

_PROTOCOL = "iRNN section 4.1"
_COMMON = {
    "batch": Sourced(128, _PROTOCOL),
    "optimizer": Sourced("adam", _PROTOCOL),
    "lr": Sourced(1e-2, f"{_PROTOCOL}: learning rate and eta were initialized to 1e-2"),
    "schedule": Sourced("constant", f"{OURS}; the paper gives only the initial learning rate"),
}
"""ReLU and eta = 0.01, which 4.1 also says, are the cell's defaults."""

_EQUATION = f"U = I + V H of Eq. (9) without its projection, g_0 = h_(m-1) of Fig. 1; rank {OURS}"
_TRIALS = f"{OURS}, benchmarks/results/adding.md"
_SMALLER = f"{OURS}: with section 4.1's 0.01 for every K a step's gain grows with K, and learning diverges"
_ADDING_LENGTH = "iRNN section 4.2: 1000 iterations"


def _adding(K: int) -> Preset:
    eta = (f",eta={0.01 / K:g}", f"; eta = 0.01 / K {_SMALLER}") if K > 1 else ("", "")
    return Preset(
        f"irnn-adding-K{K}",
        f"adding, T = 200, K = {K}, with what had to be chosen for it to learn; published: MSE near 0 (Fig. 3a)",
        {
            "task": Sourced("adding:T=200", "iRNN section 4.2"),
            "cell": Sourced(f"irnn:K={K},rank=16{eta[0]}", f"iRNN section 4.2; {_EQUATION}{eta[1]}"),
            "hidden_size": Sourced(128, "iRNN Table 5"),
            "iterations": Sourced(1000, _ADDING_LENGTH),
            **_COMMON,
            "lr_of": Sourced({"eta": 1e-4}, _TRIALS),
            "clip": Sourced(1.0, _TRIALS),
            "schedule": Sourced("drop:at=0.6,factor=0.1", _TRIALS),
        },
    )


def _as_published(
    name: str, summary: str, task: tuple[str, str], cell: tuple[str, str], units: int, epochs: int
) -> Preset:
    return Preset(
        name,
        summary,
        {
            "task": Sourced(*task),
            "cell": Sourced(*cell),
            "hidden_size": Sourced(units, "iRNN Table 5"),
            "epochs": Sourced(epochs, f"{OURS}; the paper gives no number of epochs"),
            **_COMMON,
        },
    )


def _rank(K: int, rank: int, count: str) -> tuple[str, str]:
    return f"irnn:K={K},rank={rank}", f"{_EQUATION}, which {count}"


_HAR2 = ("har2", "iRNN A.4")

PRESETS = (
    *(_adding(K) for K in (1, 5, 10)),
    Preset(
        "irnn-adding-paper",
        "adding, T = 200, K = 5, section 4.1 to the letter; it does not learn here, see the trials",
        {
            "task": Sourced("adding:T=200", "iRNN section 4.2"),
            "cell": Sourced("irnn:K=5,projection=true,rank=16", f"{_PROTOCOL}: Eq. (9); rank {OURS}"),
            "hidden_size": Sourced(128, "iRNN Table 5"),
            "iterations": Sourced(1000, _ADDING_LENGTH),
            **_COMMON,
        },
    ),
    Preset(
        "irnn-copying",
        "copying, T = 200, K = 5; published: cross-entropy 0 (Fig. 4a)",
        {
            "task": Sourced("copying:T=200", "iRNN section 4.3.1"),
            "cell": Sourced("irnn:K=5,rank=16", f"iRNN section 4.3.1: K = 5; {_EQUATION}"),
            "hidden_size": Sourced(128, "iRNN Table 5"),
            "iterations": Sourced(2000, "iRNN section 4.3.1, footnote 4: 2k iterations"),
            **_COMMON,
        },
    ),
    _as_published("irnn-har2-K1", "HAR-2, K = 1; published accuracy 95.32 % (Table 3)", _HAR2,
                  _rank(1, 20, "makes Table 3's 4k parameters"), 80, 100),
    _as_published("irnn-har2-K5", "HAR-2, K = 5; published accuracy 96.30 % (Table 3)", _HAR2,
                  _rank(5, 20, "makes Table 3's 4k parameters"), 80, 100),
    _as_published("irnn-mnist_pixel", "pixel MNIST, K = 1; published accuracy 97.73 % (Table 1)",
                  ("mnist_pixel", "iRNN A.4"), _rank(1, 10, "makes Table 1's 4k parameters"), 128, 100),
    _as_published("irnn-mnist_permuted", "permuted MNIST, K = 1; published accuracy 95.62 % (Table 1)",
                  ("mnist_permuted:permutation=irnn", "iRNN A.4: seed 42; its generator is our choice"),
                  _rank(1, 25, "makes Table 1's 8k parameters"), 128, 100),
    _as_published("irnn-mnist", "Noisy-MNIST, K = 1; published accuracy 98.48 % (Table 2)", ("mnist", "iRNN A.4"),
                  _rank(1, 4, "makes Table 2's 6k parameters"), 128, 100),
    _as_published("irnn-cifar10", "Noisy-CIFAR, K = 1; published accuracy 54.50 % (Table 2)", ("cifar10", "iRNN A.4"),
                  _rank(1, 4, "is Noisy-MNIST's: W alone has 12,288 numbers, Table 2 says 11.5k"), 128, 100),
)  # fmt: skip
