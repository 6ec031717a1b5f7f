"""The native entropy coder. docs/entropy-coding.md describes the bytes.

Arrays are one-dimensional and C-contiguous, of exactly the types given; anything else raises
TypeError. In `indexes` every element is a row of the tables, or 65535 for a position that is not
coded: it costs nothing and its symbol is read as 0. An index that is neither, or lengths that
differ, raise ValueError. The heavy calls release the GIL. Different objects may be used on
different threads at once, one object on one thread at a time; Tables may be shared.
"""

import numpy as np
from numpy.typing import NDArray

class Tables:
    """Integer cumulative tables, as in `neuvid.entropy.tables.EntropyTables`."""

    def __init__(
        self,
        cumulative: NDArray[np.uint16],
        starts: NDArray[np.uint32],
        offsets: NDArray[np.int16],
    ) -> None:
        """Copy n <= 65535 rows: `starts` has n + 1 elements, `offsets` n.

        Row r, cumulative[starts[r]:starts[r + 1]], rises strictly from 0 to 16384 over two or more
        bins. Raise ValueError where the tables break a rule.
        """

    def bits(self, symbols: NDArray[np.int16], indexes: NDArray[np.uint16]) -> float:
        """Return the ideal cost of the symbols: -log2 of their probabilities, and escaped bits."""

class SymbolEncoder:
    """Collects symbols, then codes them all."""

    def __init__(self, tables: Tables) -> None: ...
    def append(self, symbols: NDArray[np.int16], indexes: NDArray[np.uint16]) -> None:
        """Add symbols, each coded with the row at its place in `indexes`."""

    def finish(self, streams: int) -> bytes:
        """Return the payload of all symbols appended, and forget them.

        `streams` in 1..16 gives that many independent streams, coded on as many threads where it
        pays; 0 gives the compact form, the shortest for small frames. Raise ValueError for others.
        """

class SymbolDecoder:
    """Decodes a payload by the calls that made it."""

    def __init__(self, tables: Tables, data: bytes, compact: bool) -> None:
        """Open a payload in the compact form or in streams.

        Raise Truncated where bytes are missing, CorruptStream where no encoder wrote them; so does
        `decode`.
        """

    def decode(self, indexes: NDArray[np.uint16]) -> NDArray[np.int16]:
        """Return the symbols of one `append`; `indexes` are those it was given."""

    def finish(self) -> None:
        """Check that all streams end here.

        Raise Desynchronised if a state is not the one that encoding began with, CorruptStream if
        bytes are left over.
        """
