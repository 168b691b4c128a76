"""Files of a plan -> Data: read, checked, classes numbered, rows split by class, features scaled.

Read in this order: `labels` (which labels are one class), `table` (what a file becomes), `columns` (which may be no
features), `sheet`, `csvfile`, `npz`, `npy`, `idx` (the kinds of files), `source`, `classes`, `split`, `scaling`,
`prepare`, `ondisk` (rows that are too many for memory), `rows`, `load`, `new_rows`.
"""

from distill.data.classes import class_numbers
from distill.data.labels import spelled
from distill.data.load import load, split
from distill.data.new_rows import read_new
from distill.data.rows import Data, Rows
from distill.data.scaling import Scaling
from distill.data.source import locate, read

__all__ = ["Data", "Rows", "Scaling", "class_numbers", "load", "locate", "read", "read_new", "spelled", "split"]
