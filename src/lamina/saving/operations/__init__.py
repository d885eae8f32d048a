"""Operations of Keras's functional models as calls of torch functions, and back."""

from lamina.saving.operations.lookup import keras_operation as keras_operation
from lamina.saving.operations.lookup import operation_from as operation_from
from lamina.saving.operations.written import Written as Written
