"""The plan of a run: read from YAML with every fault named and placed at once, and written back as YAML.

Read in this order: `faults` (what is wrong, and where), `yaml_nodes` (text to nodes), `rules` (what a value may be),
`schema` (every key and its default), `terms` (the losses), `reader` (nodes to values), `objectives`, `networks`,
`sections` (nodes to terms, to teachers and student, to the whole plan), `load`, `dump`.
"""

from distill.config.dump import as_dict, dump
from distill.config.load import load
from distill.config.schema import Config

__all__ = ["Config", "as_dict", "dump", "load"]
