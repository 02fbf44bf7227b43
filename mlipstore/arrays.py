"""Arrays and attributes as they are stored: named axes, units, crc32c, a digest of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from .layout import FIXED_AXES, ArraySpec, chunk_shape
from .provenance import content_id
from .schema import canonical

#: Attribute of a group that is the digest of the others.
DIGEST = "digest"


def sealed(attributes: Mapping[str, Any], plain: bool = False) -> dict[str, Any]:
    """Attributes with their digest: unlike chunks, they are stored without a checksum.

    :param plain: they are what JSON knows, texts as keys: long ones take a tenth of the time
    """
    out = {k: v for k, v in attributes.items() if k != DIGEST}
    return {**out, DIGEST: content_id(canonical(out, plain))}


def fixed_axes(spec: ArraySpec) -> tuple[int, ...]:
    """Length of each axis of an array that has always the same one, else 0."""
    return tuple(FIXED_AXES.get(d, 0) for d in spec.dims)


def create_array(
    group: zarr.Group,
    spec: ArraySpec,
    shape: tuple[int, ...],
    row_multiple: int = 1,
    dtype: str | None = None,
    chunk_rows: int | None = None,
    compressed: bool = False,
) -> zarr.Array[Any]:
    """An empty array of the layout: named axes, unit, crc32c, NaN where nothing was written.

    :param compressed: by Zstandard, for an array that grows: what its last chunk does not hold yet takes no room
    """
    kind = dtype or spec.dtype
    chunks = chunk_shape(spec, shape, row_multiple)
    if chunk_rows is not None:
        chunks = (chunk_rows, *chunks[1:])
    return group.create_array(
        spec.name,
        shape=shape,
        dtype=str if kind == "str" else kind,
        chunks=chunks,
        compressors=[*([ZstdCodec(level=1)] if compressed else []), Crc32cCodec()],
        fill_value=spec.fill_value,
        dimension_names=spec.dims,
        attributes=dict(spec.attributes()),
        config={"write_empty_chunks": True},
        overwrite=True,
    )


def write_array(group: zarr.Group, spec: ArraySpec, data: NDArray[Any], row_multiple: int = 1) -> None:
    """Store one whole array of the layout."""
    array = create_array(group, spec, data.shape, row_multiple)
    if data.size:
        array[...] = data


def append_rows(group: zarr.Group, name: str, data: NDArray[Any]) -> None:
    """Add rows at the end of a growing array (only the index grows; everything else is written once)."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    n = array.shape[0]
    array.resize((n + len(data), *array.shape[1:]))
    array.with_config({"write_empty_chunks": True})[n:] = data  # zeros are data: a chunk that is not there is lost


def overwrite(group: zarr.Group, name: str, data: NDArray[Any], first: int = 0) -> None:
    """Replace all rows of a growing array, or those from ``first`` on, by others, as many."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    if len(data):
        array.with_config({"write_empty_chunks": True})[first:] = data
