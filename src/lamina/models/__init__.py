"""Models: layers that join others, and that can be trained."""

from lamina.models import conversion as conversion
from lamina.models.cloning import clone_model as clone_model
from lamina.models.functional import Functional as Functional
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
from lamina.saving.archive import save_model as save_model
from lamina.saving.loading import load_model as load_model
from lamina.saving.loading import model_from_json as model_from_json
from lamina.saving.loading import model_from_yaml as model_from_yaml
