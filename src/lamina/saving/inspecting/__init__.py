"""Looking into files of models without building or running anything: what they hold, and what is dangerous in them."""

from lamina.saving.inspecting.reading import inspect_model as inspect_model
from lamina.saving.inspecting.records import Inspection as Inspection
from lamina.saving.inspecting.records import LayerRecord as LayerRecord
from lamina.saving.inspecting.records import Risk as Risk
from lamina.saving.inspecting.records import WeightRecord as WeightRecord
