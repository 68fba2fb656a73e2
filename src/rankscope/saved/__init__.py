"""Results that were saved: read back from JSON, CSV and Parquet, and put together into one."""

from rankscope.saved.merging import merged as merged
from rankscope.saved.reading import read as read
