"""Finding what repeats in a report, so that it need be shown only once."""

from lamina.inspection.folding.folded import fold as fold
from lamina.inspection.folding.tree import Group as Group
from lamina.inspection.folding.tree import Item as Item
from lamina.inspection.folding.tree import members as members
