"""Models: layers that join others, and that can be trained."""

from lamina.models import conversion as conversion
from lamina.models.functional import Functional as Functional
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
