"""The C structures of ``kernels/include/arguments.h``, field for field."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import ClassVar, Self, cast

from torch import Tensor

_INT, _REAL, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class Sequence(ctypes.Structure):
    """``DynlabSequence``: where element (t, b, u) stands."""

    _fields_ = (("data", _POINTER), ("time", _INT), ("batch", _INT))

    @classmethod
    def of(cls, tensor: Tensor | None) -> Sequence:
        """A (time, batch, unit) tensor whose last axis is contiguous, or nothing."""
        if tensor is None or tensor.numel() == 0:
            return cls(None, 0, 0)
        return cls(tensor.data_ptr(), tensor.stride(0), tensor.stride(1))


class Arguments(ctypes.Structure):
    """A structure filled from tensors and numbers by name; what is not given is null, absent or 0."""

    recurrence: ClassVar[str]
    owners: list[Tensor]

    @classmethod
    def of(cls, **values: Tensor | float | None) -> Self:
        """The tensors must have been checked, and made contiguous where the header says so; they are kept alive."""
        arguments = cls()
        arguments.owners = []
        arguments.own(**values)
        return arguments

    def own(self, **values: Tensor | float | None) -> None:
        """Fill further fields."""
        kinds = cast(Mapping[str, type], dict(self._fields_))  # type: ignore[arg-type]
        for name, value in values.items():
            if isinstance(value, Tensor):
                self.owners.append(value)
            if kinds[name] is Sequence:
                setattr(self, name, Sequence.of(cast("Tensor | None", value)))
            elif kinds[name] is _POINTER:
                tensor = cast("Tensor | None", value)
                setattr(self, name, None if tensor is None or tensor.numel() == 0 else tensor.data_ptr())
            else:
                setattr(self, name, value)


class Unicornn(Arguments):
    """``DynlabUnicornn``."""

    recurrence = "unicornn"
    _fields_ = (
        *((name, _INT) for name in ("steps", "batch", "units")),
        ("alpha", _REAL),
        *((name, _POINTER) for name in ("w", "h", "state", "last")),
        *((name, Sequence) for name in ("x", "y", "z", "grad_y", "grad_z")),
        ("grad_last", _POINTER),
        ("grad_x", Sequence),
        *((name, _POINTER) for name in ("grad_w", "grad_h", "grad_state")),
        ("adjoint", Sequence),
    )


class Indrnn(Arguments):
    """``DynlabIndrnn``."""

    recurrence = "indrnn"
    _fields_ = (
        *((name, _INT) for name in ("steps", "batch", "units", "phi")),
        *((name, _POINTER) for name in ("u", "state", "last")),
        *((name, Sequence) for name in ("x", "h", "grad_h")),
        ("grad_last", _POINTER),
        ("grad_x", Sequence),
        *((name, _POINTER) for name in ("grad_u", "grad_state")),
        ("adjoint", Sequence),
    )


class Antisymmetric(Arguments):
    """``DynlabAntisymmetric``."""

    recurrence = "antisymmetric"
    _fields_ = (
        *((name, _INT) for name in ("steps", "batch", "units", "gated", "slices")),
        ("epsilon", _REAL),
        *((name, _POINTER) for name in ("matrix", "state", "last", "scratch")),
        *((name, Sequence) for name in ("x", "h", "pre", "grad_h")),
        ("grad_last", _POINTER),
        *((name, Sequence) for name in ("grad_x", "delta")),
        ("grad_state", _POINTER),
        ("adjoint", Sequence),
    )


class Incremental(Arguments):
    """``DynlabIncremental``."""

    recurrence = "incremental"
    _fields_ = (
        *((name, _INT) for name in ("steps", "batch", "units", "inner", "rank", "phi", "sign", "zero")),
        *((name, _INT) for name in ("slices", "chunk")),
        ("alpha", _REAL),
        *((name, _POINTER) for name in ("weight", "left", "right", "eta")),
        ("eta_time", _INT),
        *((name, _POINTER) for name in ("state", "last", "scratch")),
        *((name, Sequence) for name in ("x", "h")),
        ("pre", _POINTER),
        ("grad_h", Sequence),
        ("grad_last", _POINTER),
        ("grad_x", Sequence),
        *((name, _POINTER) for name in ("grad_weight", "delta", "sums", "grad_eta", "grad_state")),
        ("adjoint", Sequence),
    )


class Shears(Arguments):
    """``DynlabShears``."""

    recurrence = "shear"
    _fields_ = (
        *((name, _INT) for name in ("steps", "batch", "rows", "units")),
        ("drift", _POINTER),
        ("kick", Sequence),
        ("products", _POINTER),
    )


PHI = {"tanh": 0, "relu": 1, "sigmoid": 2}
