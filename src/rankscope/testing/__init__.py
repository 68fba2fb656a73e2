"""The contract batteries: what every mask, position, kernel and measure must satisfy, ours and yours.

    import rankscope as rs
    rs.testing.check_mask(my_mask(3))

Each battery raises an AssertionError that says what was broken and where. They compare with slow definitions that
share no code with what they check.
"""

from rankscope.testing.kernels import check_kernel as check_kernel
from rankscope.testing.masks import check_mask as check_mask
from rankscope.testing.measures import check_measure as check_measure
from rankscope.testing.positions import check_position as check_position
