"""YAML <-> the plan of a run. Every fault is found, named and placed at once.

Read in this order: `yaml_nodes` (text -> nodes with places), `rules` (what a value may be), `schema` (every key and its
default), `reader` (nodes -> values), `networks` (-> teachers and student), `sections` (-> the whole plan), `load`,
`dump`.
"""

from distill.config.dump import as_dict, dump
from distill.config.load import load
from distill.config.schema import Config

__all__ = ["Config", "as_dict", "dump", "load"]
