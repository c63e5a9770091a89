"""Measures of accuracy, each with a 95 % interval: against labels, or against the float network."""

from bfpc.comparison import Score
from bfpc.measures.choose import choose_measures
from bfpc.measures.hook import load_hook
from bfpc.measures.measure import AGREEMENT, Item, Measure

__all__ = ["AGREEMENT", "Item", "Measure", "Score", "choose_measures", "load_hook"]
