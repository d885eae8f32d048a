"""Files of Keras 1.2, Keras 2 and tf.keras: whole models, weights, and architectures as JSON and YAML."""

from lamina.saving.legacy.reading import is_legacy_config as is_legacy_config
from lamina.saving.legacy.reading import load_h5 as load_h5
from lamina.saving.legacy.reading import load_h5_weights as load_h5_weights
from lamina.saving.legacy.reading import model_from_legacy_json as model_from_legacy_json
from lamina.saving.legacy.report import LoadReport as LoadReport
from lamina.saving.legacy.writing import save_h5 as save_h5
from lamina.saving.legacy.writing import save_h5_weights as save_h5_weights
from lamina.saving.legacy.yaml_text import model_from_legacy_yaml as model_from_legacy_yaml
