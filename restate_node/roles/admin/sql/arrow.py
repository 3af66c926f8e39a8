"""pyarrow, for the modules beside: it has no type information, so its objects are Any here.

Imported by threads of queries only: it is large, and a node without queries never loads it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as _pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.compute as _compute  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.dataset as _dataset  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.fs as _fs  # pyright: ignore[reportMissingTypeStubs]

pa: Any = _pyarrow
pc: Any = _compute
ds: Any = _dataset
fs: Any = _fs

Schema: TypeAlias = Any
"""pyarrow.Schema"""
DataType: TypeAlias = Any
"""pyarrow.DataType"""
RecordBatch: TypeAlias = Any
"""pyarrow.RecordBatch"""
Expression: TypeAlias = Any
"""pyarrow.compute.Expression"""
