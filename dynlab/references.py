"""The papers that dynlab rests on, as BibTeX."""

from __future__ import annotations

# One entry a paper, its key as in the ``bibtex`` attribute of cells. Capitals that must stay are in braces.
_ENTRIES = (
    r"""@inproceedings{rusch2021unicornn,
  author    = {Rusch, T. Konstantin and Mishra, Siddhartha},
  title     = {{UnICORNN}: A recurrent model for learning very long time dependencies},
  booktitle = {Proceedings of the 38th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {139},
  pages     = {9168--9178},
  publisher = {PMLR},
  year      = {2021},
  url       = {https://proceedings.mlr.press/v139/rusch21a.html}
}""",
    r"""@inproceedings{kag2020rnns,
  author    = {Kag, Anil and Zhang, Ziming and Saligrama, Venkatesh},
  title     = {{RNN}s Incrementally Evolving on an Equilibrium Manifold: A Panacea for Vanishing and Exploding
               Gradients?},
  booktitle = {International Conference on Learning Representations},
  year      = {2020},
  url       = {https://openreview.net/forum?id=HylpqA4FwS}
}""",
    r"""@inproceedings{chang2019antisymmetricrnn,
  author    = {Chang, Bo and Chen, Minmin and Haber, Eldad and Chi, Ed H.},
  title     = {{AntisymmetricRNN}: A Dynamical System View on Recurrent Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year      = {2019},
  url       = {https://openreview.net/forum?id=ryxepo0cFX}
}""",
    r"""@article{elman1990finding,
  author    = {Elman, Jeffrey L.},
  title     = {Finding Structure in Time},
  journal   = {Cognitive Science},
  volume    = {14},
  number    = {2},
  pages     = {179--211},
  year      = {1990},
  doi       = {10.1207/s15516709cog1402_1}
}""",
    r"""@article{hochreiter1997lstm,
  author    = {Hochreiter, Sepp and Schmidhuber, J{\"u}rgen},
  title     = {Long Short-Term Memory},
  journal   = {Neural Computation},
  volume    = {9},
  number    = {8},
  pages     = {1735--1780},
  year      = {1997},
  doi       = {10.1162/neco.1997.9.8.1735}
}""",
    r"""@inproceedings{cho2014gru,
  author    = {Cho, Kyunghyun and van Merri{\"e}nboer, Bart and G{\"u}l{\c{c}}ehre, {\c{C}}a{\u{g}}lar and
               Bahdanau, Dzmitry and Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua},
  title     = {Learning Phrase Representations using {RNN} Encoder--Decoder for Statistical Machine Translation},
  booktitle = {Proceedings of the 2014 Conference on Empirical Methods in Natural Language Processing (EMNLP)},
  pages     = {1724--1734},
  publisher = {Association for Computational Linguistics},
  year      = {2014},
  doi       = {10.3115/v1/D14-1179}
}""",
    r"""@inproceedings{kusupati2018fastgrnn,
  author    = {Kusupati, Aditya and Singh, Manish and Bhatia, Kush and Kumar, Ashish and Jain, Prateek and
               Varma, Manik},
  title     = {{FastGRNN}: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural Network},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  pages     = {9017--9028},
  year      = {2018}
}""",
    r"""@inproceedings{rusch2021cornn,
  author    = {Rusch, T. Konstantin and Mishra, Siddhartha},
  title     = {Coupled Oscillatory Recurrent Neural Network ({coRNN}): An accurate and (gradient) stable architecture
               for learning long time dependencies},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
  url       = {https://openreview.net/forum?id=F3s69XzWOia}
}""",
    r"""@inproceedings{lezcano2019exprnn,
  author    = {Lezcano-Casado, Mario and Mart{\'i}nez-Rubio, David},
  title     = {Cheap Orthogonal Constraints in Neural Networks: A Simple Parametrization of the Orthogonal and
               Unitary Group},
  booktitle = {Proceedings of the 36th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {97},
  pages     = {3794--3803},
  publisher = {PMLR},
  year      = {2019},
  url       = {https://proceedings.mlr.press/v97/lezcano-casado19a.html}
}""",
    r"""@inproceedings{li2018indrnn,
  author    = {Li, Shuai and Li, Wanqing and Cook, Chris and Zhu, Ce and Gao, Yanbo},
  title     = {Independently Recurrent Neural Network ({IndRNN}): Building A Longer and Deeper {RNN}},
  booktitle = {2018 IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages     = {5457--5466},
  year      = {2018},
  doi       = {10.1109/CVPR.2018.00572}
}""",
    r"""@inproceedings{erichson2021lipschitz,
  author    = {Erichson, N. Benjamin and Azencot, Omri and Queiruga, Alejandro and Hodgkinson, Liam and
               Mahoney, Michael W.},
  title     = {{L}ipschitz Recurrent Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
  url       = {https://openreview.net/forum?id=-N7PBXqOUJZ}
}""",
    r"""@inproceedings{collins2017capacity,
  author    = {Collins, Jasmine and Sohl-Dickstein, Jascha and Sussillo, David},
  title     = {Capacity and Trainability in Recurrent Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year      = {2017},
  url       = {https://openreview.net/forum?id=BydARw9ex}
}""",
    r"""@inproceedings{pascanu2013difficulty,
  author    = {Pascanu, Razvan and Mikolov, Tomas and Bengio, Yoshua},
  title     = {On the difficulty of training recurrent neural networks},
  booktitle = {Proceedings of the 30th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {28},
  number    = {3},
  pages     = {1310--1318},
  publisher = {PMLR},
  year      = {2013},
  url       = {https://proceedings.mlr.press/v28/pascanu13.html}
}""",
    r"""@article{benettin1980lyapunov,
  author    = {Benettin, Giancarlo and Galgani, Luigi and Giorgilli, Antonio and Strelcyn, Jean-Marie},
  title     = {{L}yapunov Characteristic Exponents for smooth dynamical systems and for {H}amiltonian systems; a method
               for computing all of them. Part 1: Theory},
  journal   = {Meccanica},
  volume    = {15},
  number    = {1},
  pages     = {9--20},
  year      = {1980},
  doi       = {10.1007/BF02128236},
  note      = {Part 2: Numerical application, pages 21--30, doi 10.1007/BF02128237}
}""",
    r"""@inproceedings{tallec2018warp,
  author    = {Tallec, Corentin and Ollivier, Yann},
  title     = {Can recurrent neural networks warp time?},
  booktitle = {International Conference on Learning Representations},
  year      = {2018},
  url       = {https://openreview.net/forum?id=SJcKhk-Ab}
}""",
)

BIBTEX: dict[str, str] = {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in _ENTRIES}
"""BibTeX entries by their keys."""


def cite(name: str) -> str:
    """The BibTeX of a paper, or of the papers behind a cell.

    Arguments:
        name: a key of ``BIBTEX``, or of ``dynlab.registry``.

    Returns:
        One entry or more, an empty line between them.

    Raises:
        ValueError: for a name that is neither.
    """
    if name in BIBTEX:
        return BIBTEX[name]
    from dynlab.cells import registry

    if name in registry:
        return "\n\n".join(BIBTEX[key] for key in registry[name].cls.bibtex)
    raise ValueError(f"cite: expected a cell ({', '.join(registry)}) or a paper ({', '.join(BIBTEX)}); got {name!r}")
